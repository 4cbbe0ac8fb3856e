"""The keys of a planned handover: the hold on the poolers, and what each gatekeeper says.

`hanbat/handover` asks every gatekeeper to hold new transactions. It is bound to the lease of the process
that runs the switchover, so it is gone seconds after that process is: a hold never outlives its reason.
`hanbat/pooler/HOST` is what a gatekeeper says of its pooler, bound to a lease of its own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from failover.etcd_json import Entry

HANDOVER = "hanbat/handover"
POOLER = "hanbat/pooler/"  # + application host


class PoolerState(StrEnum):
    OPEN = "open"
    HOLDING = "holding"  # PAUSE was sent; transactions under way are still ending
    HELD = "held"  # no transaction is under way, and none begins


@dataclass(frozen=True, slots=True)
class Handover:
    """A hold. `limit_ms`: a gatekeeper lets go after this by its own clock, whatever stands in etcd."""

    id: str
    old: str
    candidate: str
    limit_ms: int


@dataclass(frozen=True, slots=True)
class Pooler:
    """What a gatekeeper says. `handover`: the hold that it obeys, "" when none."""

    host: str
    state: PoolerState
    handover: str
    primary: str  # where it sends clients; "" when it leaves that to HAProxy's own checks


def encode(word: Handover | Pooler) -> str:
    return json.dumps(asdict(word))


def decode_handover(text: str) -> Handover:
    """Raises ValueError, KeyError or TypeError for what `encode` did not write."""
    read = json.loads(text)
    return Handover(str(read["id"]), str(read["old"]), str(read["candidate"]), int(read["limit_ms"]))


def decode_pooler(text: str) -> Pooler:
    """Raises ValueError, KeyError or TypeError for what `encode` did not write."""
    read = json.loads(text)
    return Pooler(str(read["host"]), PoolerState(read["state"]), str(read["handover"]), str(read["primary"]))


def poolers_of(found: Mapping[str, Entry], hosts: tuple[str, ...]) -> dict[str, Pooler | None]:
    """The last word of each application host's gatekeeper; None when it is silent or unreadable."""
    words: dict[str, Pooler | None] = {}
    for host in hosts:
        entry = found.get(POOLER + host)
        try:
            words[host] = decode_pooler(entry.value) if entry else None
        except (ValueError, KeyError, TypeError):
            words[host] = None
    return words
