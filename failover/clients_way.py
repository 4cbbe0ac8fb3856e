"""The clients' way as it is seen: each edge from each site, and each application host's pooler. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from failover.handover import Pooler
from failover.publication import EdgeSeen, EdgeState, Pulse
from failover.view import View
from failover.votes import fresh

SILENT = "silent"  # of a gatekeeper: its word is gone with its lease
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """One site's edge. `seen`: from each site with a fresh observer; `why`: of those that failed.

    `took_ms`: the slowest of the last commits. `age_ms`: the oldest of these figures. `failing_ms`: for
    how long it has failed from the site that noticed first. None: nobody knows.
    """

    site: str
    seen: dict[str, EdgeState]
    took_ms: int | None
    age_ms: int | None
    failing_ms: int | None
    why: dict[str, str]


@dataclass(frozen=True, slots=True)
class PoolerRow:
    """One pooler. `state`: open, holding, held, silent (no gatekeeper speaks), unknown (DCS not seen).

    `primary`: the host that it sends clients to; "" when HAProxy's own checks decide.
    """

    host: str
    state: str
    primary: str = ""
    handover: str = ""


def edge_rows(view: View, pulses: Mapping[str, Pulse]) -> tuple[EdgeRow, ...]:
    """A row for each edge that any observer ever named, in their order."""
    names = dict.fromkeys(edge.site for pulse in pulses.values() for edge in pulse.edges)
    return tuple(_edge_row(view, pulses, name) for name in names)


def _edge_row(view: View, pulses: Mapping[str, Pulse], name: str) -> EdgeRow:
    heard: dict[str, list[tuple[EdgeSeen, int]]] = {}
    for one in fresh(view):
        words = [edge for edge in pulses[one.observer].edges if edge.site == name]
        heard.setdefault(one.site, []).extend((edge, one.age_ms) for edge in words)
    told = {site: _best([edge for edge, _ in words]) for site, words in sorted(heard.items())}
    count = [
        (edge, age_ms) for site, words in heard.items() for edge, age_ms in words if edge.state is told[site]
    ]
    ages = [edge.age_ms + age_ms for edge, age_ms in count if edge.age_ms is not None]
    failed = [(edge, age_ms) for edge, age_ms in count if edge.state is EdgeState.FAILED]
    return EdgeRow(
        site=name,
        seen=told,
        took_ms=max((edge.took_ms for edge, _ in count if edge.took_ms is not None), default=None),
        age_ms=max(ages, default=None),
        failing_ms=max((edge.for_ms + age_ms for edge, age_ms in failed), default=None),
        why=_whys(heard, told),
    )


def _best(words: list[EdgeSeen]) -> EdgeState:
    """A site commits through the edge when any observer there does: a lame observer is not an edge."""
    states = {edge.state for edge in words}
    return next((one for one in (EdgeState.OK, EdgeState.FAILED) if one in states), EdgeState.UNKNOWN)


def _whys(heard: Mapping[str, list[tuple[EdgeSeen, int]]], told: Mapping[str, EdgeState]) -> dict[str, str]:
    return {
        site: next(edge.why for edge, _ in words if edge.state is EdgeState.FAILED)
        for site, words in sorted(heard.items())
        if told[site] is EdgeState.FAILED
    }


def pooler_rows(words: Mapping[str, Pooler | None], *, dcs_seen: bool) -> tuple[PoolerRow, ...]:
    """`words`: of every application host, None when it is silent."""
    return tuple(_pooler_row(host, word, dcs_seen) for host, word in sorted(words.items()))


def _pooler_row(host: str, word: Pooler | None, dcs_seen: bool) -> PoolerRow:
    if not dcs_seen:
        return PoolerRow(host, UNKNOWN)
    if word is None:
        return PoolerRow(host, SILENT)
    return PoolerRow(host, word.state.value, word.primary, word.handover)
