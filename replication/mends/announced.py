"""A planned handover is announced: its candidate shuts the gate then, and only then (ADR 9).

`hanbat switchover` puts a key beside Patroni's before anything else, bound to a lease of its own. Patroni's
loop reads all keys there anyway: ours is noted where they are taken apart. The candidate shows that its gate
is in force by the name of the session that has seen it so: whoever asks its PostgreSQL sees that, and it is
gone with the session.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from replication.mends.wrapping import wrap

KEY = "hanbat_announced"  # below Patroni's prefix
SESSION = "hanbat_gate_"  # + the announcement's id: the name of the session that has seen the gate in force
ID = re.compile(r"[0-9a-z-]{1,32}")


@dataclass(frozen=True, slots=True)
class Announcement:
    """`id`: of the handover."""

    id: str
    candidate: str


def encode(word: Announcement) -> str:
    return json.dumps(asdict(word))


def decode(text: str) -> Announcement | None:
    """None for what `encode` did not write."""
    try:
        read: Any = json.loads(text)
        word = Announcement(str(read["id"]), str(read["candidate"]))
    except (ValueError, KeyError, TypeError):
        return None
    return word if ID.fullmatch(word.id) else None


class Announced:
    """The announcement that stood when the keys were read last."""

    def __init__(self) -> None:
        self.last: Announcement | None = None

    def note(self, nodes: Mapping[str, Mapping[str, Any]]) -> None:
        node = nodes.get(KEY)
        self.last = None if node is None else decode(str(node["value"]))

    def to(self, name: str) -> str:
        """The id of the handover that is announced to this member, "" when there is none."""
        return self.last.id if self.last and self.last.candidate == name else ""


ANNOUNCED = Announced()


def cluster_from_nodes(
    original: Callable[[Any, dict[str, Any]], Any], announced: Announced
) -> Callable[[Any, dict[str, Any]], Any]:
    """In the place of the function of that name, which it calls."""

    def _cluster_from_nodes(self: Any, nodes: dict[str, Any]) -> Any:
        announced.note(nodes)
        return original(self, nodes)

    return _cluster_from_nodes


def install(announced: Announced = ANNOUNCED) -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `dcs` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.dcs.etcd3 import Etcd3  # pyright: ignore[reportMissingTypeStubs]

    given = ("self", "nodes")
    wrap(Etcd3, "_cluster_from_nodes", given, lambda original: cluster_from_nodes(original, announced))
