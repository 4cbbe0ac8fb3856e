"""What an observer publishes, as text: a verdict (the reach of each host) and a pulse (all the rest).

The verdict is written only when a reach changes, so that its revision stands still while the opinion does,
and a takeover can compare it. The pulse is written several times a second. Both are bound to the
observer's lease. Durations are the observer's own; no time of day is in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from failover.etcd_json import Entry
from failover.transaction import VERDICT, Put, Transaction, unchanged
from failover.view import HostSeen, Reach, Role

PULSE = "hanbat/pulse/"  # + observer


@dataclass(frozen=True, slots=True)
class Detail:
    """What people want to know of a host besides; no decision rests on it."""

    why: str = ""  # of a reach that is not reachable: silent, refused, starting, ...
    replayed_lsn: int | None = None
    primary_lsn: int | None = None  # on a primary: how far its WAL is flushed; kept while it is silent
    xid: int | None = None  # a primary: above all that have ended; a standby: at most the first it lacks
    timeline: int | None = None
    commit_ms: int | None = None  # how long the last canary commit took
    patroni: str = ""  # answers, stuck, silent, refused, unknown; "": not asked
    patroni_mute_ms: int | None = None  # for how long it has been silent or refused
    primary_age_ms: int | None = None  # since primary_lsn and its xid were asked for


class EdgeState(StrEnum):
    OK = "ok"  # a commit through it was acknowledged
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EdgeSeen:
    """What one observer saw of one site's edge; for people, no decision rests on it.

    `for_ms`: how long the state has been what it is. `took_ms`: the last commit. `age_ms`: since the last
    answer. All on the observer's clock.
    """

    site: str
    state: EdgeState
    for_ms: int = 0
    took_ms: int | None = None
    age_ms: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class MemberSeen:
    """What one observer saw of one member of the DCS; for people, no decision rests on it.

    Reachable: it answers, has a leader and no alarm. `for_ms`: how long the reach has been what it is.
    `age_ms`: since the last question ended.
    """

    name: str
    reach: Reach
    for_ms: int = 0
    age_ms: int | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Remembered:
    """For how long this observer has known a key's present revision; for people."""

    revision: int
    age_ms: int


@dataclass(frozen=True, slots=True)
class Pulse:
    """One publication of one observer. `offer`: in /failover, None while nothing is offered."""

    observer: str
    site: str
    sequence: int
    hosts: tuple[HostSeen, ...]
    details: Mapping[str, Detail]
    edges: tuple[EdgeSeen, ...] = ()
    operation: Remembered | None = None
    members: tuple[MemberSeen, ...] = ()
    offer: Remembered | None = None


def encode(pulse: Pulse) -> str:
    rows = [
        {
            "host": seen.host,
            "reach": seen.reach,
            "for_ms": seen.for_ms,
            "role": seen.role,
            "received_lsn": seen.received_lsn,
            "sync_lsn": seen.sync_lsn,
            **_known(pulse.details.get(seen.host, Detail())),
        }
        for seen in pulse.hosts
    ]
    word: dict[str, Any] = {"site": pulse.site, "sequence": pulse.sequence, "hosts": rows}
    if pulse.edges:
        word["edges"] = [asdict(edge) for edge in pulse.edges]
    if pulse.operation is not None:
        word["operation"] = asdict(pulse.operation)
    if pulse.members:
        word["members"] = [asdict(member) for member in pulse.members]
    if pulse.offer is not None:
        word["offer"] = asdict(pulse.offer)
    return json.dumps(word)


def _known(detail: Detail) -> dict[str, Any]:
    fields = {
        "why": detail.why,
        "replayed_lsn": detail.replayed_lsn,
        "primary_lsn": detail.primary_lsn,
        "xid": detail.xid,
        "timeline": detail.timeline,
        "commit_ms": detail.commit_ms,
        "patroni": detail.patroni,
        "patroni_mute_ms": detail.patroni_mute_ms,
        "primary_age_ms": detail.primary_age_ms,
    }
    return {name: value for name, value in fields.items() if value not in (None, "")}


def decode(observer: str, text: str) -> Pulse:
    """Raises ValueError, KeyError or TypeError for what `encode` did not write."""
    read = json.loads(text)
    rows: Sequence[dict[str, Any]] = read["hosts"]
    hosts = tuple(
        HostSeen(
            row["host"],
            Reach(row["reach"]),
            int(row["for_ms"]),
            Role(row["role"]),
            _whole(row["received_lsn"]),
            _whole(row["sync_lsn"]),
        )
        for row in rows
    )
    details = {
        row["host"]: Detail(
            str(row.get("why", "")),
            _whole(row.get("replayed_lsn")),
            _whole(row.get("primary_lsn")),
            _whole(row.get("xid")),
            _whole(row.get("timeline")),
            _whole(row.get("commit_ms")),
            str(row.get("patroni", "")),
            _whole(row.get("patroni_mute_ms")),
            _whole(row.get("primary_age_ms")),
        )
        for row in rows
    }
    edges = tuple(_edge(row) for row in read.get("edges", ()))
    members = tuple(_member(row) for row in read.get("members", ()))
    operation, offer = _remembered(read.get("operation")), _remembered(read.get("offer"))
    return Pulse(
        observer, str(read["site"]), int(read["sequence"]), hosts, details, edges, operation, members, offer
    )


def _edge(row: dict[str, Any]) -> EdgeSeen:
    return EdgeSeen(
        str(row["site"]),
        EdgeState(row["state"]),
        int(row["for_ms"]),
        _whole(row.get("took_ms")),
        _whole(row.get("age_ms")),
        str(row.get("why", "")),
    )


def _member(row: dict[str, Any]) -> MemberSeen:
    return MemberSeen(
        str(row["name"]),
        Reach(row["reach"]),
        int(row["for_ms"]),
        _whole(row.get("age_ms")),
        str(row.get("why", "")),
    )


def _remembered(row: dict[str, Any] | None) -> Remembered | None:
    return None if row is None else Remembered(int(row["revision"]), int(row["age_ms"]))


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)


def verdict(pulse: Pulse) -> str:
    return json.dumps({seen.host: seen.reach for seen in pulse.hosts}, sort_keys=True)


def publish(pulse: Pulse, lease: int, last_revision: int, last_verdict: str | None) -> Transaction:
    """Write the pulse, and the verdict if it is not `last_verdict`.

    `last_revision` is that of the pulse as this observer knows it (0: absent): an older word of its own
    that was long under way must not stand in the place of a newer one.
    """
    changes = [Put(PULSE + pulse.observer, encode(pulse), lease)]
    words = verdict(pulse)
    if words != last_verdict:
        changes.append(Put(VERDICT + pulse.observer, words, lease))
    return Transaction((unchanged(PULSE + pulse.observer, last_revision),), tuple(changes))


def pulses(read: Mapping[str, Entry]) -> tuple[dict[str, Pulse], tuple[str, ...]]:
    """All pulses of a snapshot, and the observers whose pulse cannot be read."""
    found: dict[str, Pulse] = {}
    unreadable: list[str] = []
    for key, entry in read.items():
        if not key.startswith(PULSE):
            continue
        name = key.removeprefix(PULSE)
        try:
            found[name] = decode(name, entry.value)
        except (ValueError, KeyError, TypeError):
            unreadable.append(name)
    return found, tuple(unreadable)
