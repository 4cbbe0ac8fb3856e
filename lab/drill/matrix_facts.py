"""What a matrix drill saw, computed from its journals and moments. Pure; None is not known."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lab.drill.matrix_absence import Absence, absences
from lab.drill.matrix_edges import CUT_BACK_S, Edges, edges_of
from lab.drill.matrix_unprotected import Interval
from lab.drill.measure import DCS, acknowledgements, role_samples, stream_name
from lab.drill.operations import Attempt, Outcome
from lab.drill.rto import Gap, RoleSample, longest_gap
from lab.drill.waits import slowest_wait

PRIMARY = "primary"
CANARY = "canary"
INSIDE = "inside:"  # the edge of attempts of clients inside a site
COMMIT = "COMMIT"  # the path of those that write straight to PostgreSQL
READ_ONLY = "read-only transaction"  # in the words of a standby that refuses a write


@dataclass(frozen=True, slots=True)
class Facts:
    """What the expectations of a scenario are held against. Durations in seconds."""

    old: str  # the primary before the fault
    under: str | None  # the primary just before the heal
    takeovers: int | None  # promotions by the timeline, until the cluster was whole
    operations: int | None  # by how much the controllers' epoch rose
    epochs: Mapping[str, tuple[int, ...]]  # what each member of etcd told, in order, without repeats
    stall: Gap | None  # the longest stall of commits, fault to heal: what the canaries with a way in saw
    outage: Gap | None  # the same on the slowest stream, with the pauses of clients that try again
    return_s: float | None  # from the heal to an acknowledgement on every stream
    # who said that it was the primary, from the last fault to the heal; None when nobody was asked
    primaries_under: frozenset[str] | None
    heal_outage_s: float | None  # the longest gap from the heal until all is whole
    heal_requests: int  # requests that counted in that time
    heal_failed: tuple[str, ...]  # requests that failed in that time
    requests: int  # requests that counted from the first fault to the heal
    failed: tuple[str, ...]  # those that failed
    slowest_s: float | None  # the slowest request that was answered in that time
    slowest_wait_s: float | None  # the longest wait of one client for one operation, its tries counted in
    failed_later: tuple[str, ...]  # requests that failed where there is a way in, service back to heal
    way_home: WayHome | None  # None when the primary was at home
    whole: bool  # all machines were whole again
    inside: Inside | None  # None when the scenario has no clients inside a site
    absences: Mapping[str, Absence] = field(default_factory=dict)  # of those that /sync named at the fault
    struck: float = 0.0  # the moments that absences are counted from, seconds since the epoch
    heal: float = 0.0
    unprotected: tuple[Interval, ...] | None = None  # the old primary's own record; None when it was not read


@dataclass(frozen=True, slots=True)
class WayHome:
    """What clients saw of the planned switchover home."""

    requests: int
    failed: tuple[str, ...]
    slowest_s: float | None  # the slowest request that was answered


@dataclass(frozen=True, slots=True)
class Inside:
    """What clients inside a site saw."""

    acknowledged: int
    warned: int  # COMMITs that were cancelled and answered success with a warning
    late: tuple[str, ...]  # acknowledged by one host after another was primary on no earlier timeline
    held: tuple[str, ...] = ()  # those of them that were sent before
    after_heal: int | None = None  # writes sent after the heal that PostgreSQL answered


def inside_of(attempts: Sequence[Attempt], samples: Sequence[RoleSample], heal: float) -> Inside | None:
    """What the clients inside a site saw; None when there were none."""
    mine = [each for each in attempts if each.edge.startswith(INSIDE)]
    if not mine:
        return None
    late, held, acknowledged, warned = [], [], 0, 0
    for each in mine:
        if each.outcome is Outcome.ACKNOWLEDGED:
            acknowledged += 1
        if each.path != COMMIT or not each.error.startswith("{"):
            continue
        said = json.loads(each.error)
        warned += bool(said["notices"])
        if each.outcome is Outcome.ACKNOWLEDGED and _superseded(said, each.ended_at or 0.0, samples):
            late.append(f"{each.key} by {said['host']} on timeline {said['timeline']}")
            if not _superseded(said, each.sent_at, samples):
                held.append(late[-1])
    after = sum(_answered(each) and each.sent_at >= heal for each in mine)
    return Inside(acknowledged, warned, tuple(late), tuple(held), after)


def _answered(attempt: Attempt) -> bool:
    """Whether PostgreSQL answered a write: the COMMIT came back, or it said that it takes none.

    A connection that was refused, broke or met a server that only starts says nothing of what it would do.
    """
    return attempt.path == COMMIT and (attempt.error.startswith("{") or READ_ONLY in attempt.error)


def _superseded(said: Mapping[str, Any], at: float, samples: Sequence[RoleSample]) -> bool:
    """Whether another host had been seen as primary on the same or a later timeline before that time.

    The same is never legitimate: a promotion claims its timeline's number for itself.
    """
    return any(
        sample.role == PRIMARY
        and sample.host != said["host"]
        and sample.timeline is not None
        and sample.timeline >= said["timeline"]
        and sample.at < at
        for sample in samples
    )


def facts(
    attempts: Sequence[Attempt],
    probes: Sequence[Mapping[str, Any]],
    moments: Mapping[str, float],
    old: str,
    under: str | None,
    closed_edges: frozenset[str],
    back_within_s: float = CUT_BACK_S,
) -> Facts | None:
    """None when the drill did not come as far as its fault.

    `closed_edges` have no way in under it, and `back_within_s` after the heal to come back.
    """
    if "fault" not in moments or not attempts:
        return None
    fault, end = moments["fault"], max(each.ended_at or each.sent_at for each in attempts)
    heal = moments.get("heal", end)
    whole = moments.get("rejoined", end)
    samples = role_samples(probes)
    every = acknowledgements(attempts)
    edges = edges_of(closed_edges, every, heal, back_within_s)
    open_way = [each for each in _clients(attempts) if edges.counts(each)]
    epochs = _epochs(probes, whole)
    during = _between(open_way, fault, heal)
    after = _between(open_way, heal, whole)
    streams = {name: at for name, at in every.items() if not edges.closed_to(name)}
    later = _between(
        (each for each in open_way if each.edge not in edges.back), moments.get("resumed", heal), heal
    )
    return Facts(
        old=old,
        under=under,
        takeovers=promotions(samples, fault, whole),
        operations=_rise(epochs, fault),
        epochs={host: _without_repeats(epoch for _, epoch in told) for host, told in epochs.items()},
        stall=_slowest_gap(_canaries(streams) or streams, fault, heal),
        outage=_slowest_gap(streams, fault, heal),
        return_s=_return(every, heal),
        primaries_under=_primaries(samples, moments.get("struck", fault), heal),
        heal_outage_s=_heal_outage(every, edges, whole),
        heal_requests=len(after),
        heal_failed=tuple(describe(each) for each in after if failed(each)),
        requests=len(during),
        failed=tuple(describe(each) for each in during if failed(each)),
        slowest_s=_slowest(during),
        slowest_wait_s=slowest_wait(
            (each for each in _clients(attempts) if not _shut_out(each, edges)), fault, heal
        ),
        failed_later=tuple(describe(each) for each in later if failed(each)),
        way_home=_way_home(open_way, moments),
        whole="rejoined" in moments,
        inside=inside_of(attempts, samples, heal),
        absences=absences(probes, moments.get("struck", fault), heal, whole),
        struck=moments.get("struck", fault),
        heal=heal,
    )


def _clients(attempts: Iterable[Attempt]) -> list[Attempt]:
    """Those at an edge, as users are."""
    return [each for each in attempts if not each.edge.startswith(INSIDE)]


def _shut_out(attempt: Attempt, edges: Edges) -> bool:
    """Whether it comes from a client that knows no edge but one without a way in."""
    return edges.closed_to(stream_name(attempt.stream)) and not edges.counts(attempt)


def _slowest(attempts: Iterable[Attempt]) -> float | None:
    return max((each.ended_at - each.sent_at for each in attempts if each.ended_at), default=None)


def _way_home(attempts: Iterable[Attempt], moments: Mapping[str, float]) -> WayHome | None:
    """From the command to the sight that all is whole at home; to the end when that was not seen."""
    if "switchover" not in moments:
        return None
    sent = _between(attempts, moments["switchover"], moments.get("home", math.inf))
    return WayHome(len(sent), tuple(describe(each) for each in sent if failed(each)), _slowest(sent))


def failed(attempt: Attempt) -> bool:
    """A request that the service failed, not one that it refused by its own rules (4xx).

    No rule refuses a canary: whatever it is answered but 2xx has failed.
    """
    if attempt.outcome is Outcome.ACKNOWLEDGED:
        return False
    return attempt.kind == CANARY or attempt.status is None or attempt.status >= 500


def describe(attempt: Attempt) -> str:
    """One failed request in few words."""
    said = attempt.status if attempt.status is not None else attempt.error
    return f"{stream_name(attempt.stream)} {attempt.kind} at {attempt.edge}: {attempt.outcome}, {said}"


def promotions(samples: Iterable[RoleSample], fault: float, until: float) -> int | None:
    """By how much the primary's timeline rose; None when it was not seen before or not after."""
    ordered = sorted(samples, key=lambda sample: sample.at)
    known = [(s.at, s.timeline) for s in ordered if s.role == PRIMARY and s.timeline is not None]
    before = [timeline for at, timeline in known if at <= fault]
    after = [timeline for at, timeline in known if fault < at <= until]
    return max(after) - before[-1] if before and after else None


def _between(attempts: Iterable[Attempt], start: float, stop: float) -> list[Attempt]:
    return [each for each in attempts if start <= each.sent_at < stop]


def _primaries(samples: Iterable[RoleSample], start: float, stop: float) -> frozenset[str] | None:
    asked = [sample for sample in samples if start < sample.at < stop and sample.role != DCS]
    return frozenset(sample.host for sample in asked if sample.role == PRIMARY) if asked else None


def _heal_outage(streams: Mapping[str, Sequence[float]], edges: Edges, whole: float) -> float | None:
    """The longest gap of any stream from the heal on; a closed edge counts from its return."""
    served = _slowest_gap({n: at for n, at in streams.items() if not edges.closed_to(n)}, edges.heal, whole)
    returned = [edges.gap_after(name, at, whole) for name, at in streams.items() if edges.closed_to(name)]
    return max((gap.seconds for gap in (served, *returned) if gap), default=None)


def _canaries(streams: Mapping[str, list[float]]) -> dict[str, list[float]]:
    return {name: ended for name, ended in streams.items() if name.startswith("canary")}


def _slowest_gap(streams: Mapping[str, Sequence[float]], start: float, stop: float) -> Gap | None:
    """The longest gap of any stream; it begins at the stream's last acknowledgement before `start`."""
    gaps = []
    for ended in streams.values():
        before = [at for at in ended if at <= start]
        gaps.append(longest_gap(ended, before[-1] if before else start, stop))
    return max(gaps, key=lambda gap: gap.seconds, default=None)


def _return(streams: Mapping[str, Sequence[float]], heal: float) -> float | None:
    first = [next((at for at in sorted(ended) if at > heal), None) for ended in streams.values()]
    known = [at for at in first if at is not None]
    return max(known) - heal if known and len(known) == len(first) else None


def _epochs(probes: Iterable[Mapping[str, Any]], until: float) -> dict[str, list[tuple[float, int]]]:
    """By the member that was asked: its answers came one after the other, those of two members cross."""
    told: dict[str, list[tuple[float, int]]] = {}
    for record in probes:
        if record["probe"] == "leader" and "epoch" in record and record["seen_at"] <= until:
            told.setdefault(record["host"], []).append((record["seen_at"], record["epoch"]))
    return {host: sorted(answers) for host, answers in told.items()}


def _rise(epochs: Mapping[str, list[tuple[float, int]]], fault: float) -> int | None:
    every = [answer for told in epochs.values() for answer in told]
    before = [epoch for at, epoch in every if at <= fault]
    after = [epoch for at, epoch in every if at > fault]
    return max(after) - max(before) if before and after else None


def _without_repeats(values: Iterable[int]) -> tuple[int, ...]:
    kept: list[int] = []
    for value in values:
        if not kept or kept[-1] != value:
            kept.append(value)
    return tuple(kept)
