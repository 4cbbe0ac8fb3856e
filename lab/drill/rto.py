"""Outages as clients saw them, and the phases of a takeover. Pure functions of times.

All times are seconds since the epoch on the drill's clock; durations are in seconds. What cannot be
measured is None, never 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without an acknowledgement."""

    start_at: float
    end_at: float

    @property
    def seconds(self) -> float:
        return self.end_at - self.start_at


def longest_gap(ended: Iterable[float], start_at: float, stop_at: float) -> Gap:
    """The longest stretch without an acknowledgement between two times, the ends counted in."""
    moments = [start_at, *sorted(at for at in ended if start_at < at < stop_at), stop_at]
    return max((Gap(before, after) for before, after in pairwise(moments)), key=lambda gap: gap.seconds)


def outage(ended: Sequence[float], fault_at: float, until: float) -> Gap | None:
    """The outage of one stream: from its last acknowledgement before the service stopped to its first after.

    A fault needs a moment to bite, and a few acknowledgements may still come in; so it is the longest
    gap that begins at or after the last acknowledgement before the fault and ends before `until`.
    None when there was none before the fault, none after it, or a still longer silence at the end:
    then its end was not seen.
    """
    ordered = sorted(ended)
    before = [at for at in ordered if at <= fault_at]
    after = [at for at in ordered if fault_at < at <= until]
    if not before or not after:
        return None
    gaps = [Gap(start, end) for start, end in pairwise([before[-1], *after])]
    longest = max(gaps, key=lambda gap: gap.seconds)
    return longest if until - after[-1] <= longest.seconds else None


def slowest(outages: Mapping[str, Gap | None]) -> Gap | None:
    """The longest outage of all streams; None when there is no stream, or one that was not measured."""
    if not outages or any(gap is None for gap in outages.values()):
        return None
    return max((gap for gap in outages.values() if gap is not None), key=lambda gap: gap.seconds)


def disturbance(streams: Mapping[str, Sequence[float]], start_at: float, stop_at: float) -> float | None:
    """The longest gap of any stream between two times, its normal pacing included. None without streams."""
    if not streams or stop_at <= start_at:
        return None
    gaps = []
    for ended in streams.values():
        before = [at for at in ended if at <= start_at]
        gaps.append(longest_gap(ended, before[-1] if before else start_at, stop_at).seconds)
    return max(gaps)


@dataclass(frozen=True, slots=True)
class Takeover:
    """Moments of a takeover; None for one that nobody saw."""

    fault_at: float
    lock_free_at: float | None
    lock_taken_at: float | None
    writable_at: float | None
    first_acknowledged_at: float | None


@dataclass(frozen=True, slots=True)
class Phases:
    """RTO split in four: they add up to the whole when all moments were seen, in order.

    detect: fault to free lock; decide: to lock taken; promote: to a writable primary; route: to the
    first acknowledgement at the edge.
    """

    detect_s: float | None
    decide_s: float | None
    promote_s: float | None
    route_s: float | None


def phases(takeover: Takeover) -> Phases:
    """The four phases. A moment seen late by a probe is moved to the next one: never a negative phase."""
    moments: list[float | None] = [
        takeover.fault_at,
        takeover.lock_free_at,
        takeover.lock_taken_at,
        takeover.writable_at,
        takeover.first_acknowledged_at,
    ]
    ceiling: float | None = None
    for place in range(len(moments) - 1, 0, -1):
        moment = moments[place]
        if moment is not None:
            ceiling = moment if ceiling is None else min(moment, ceiling)
            moments[place] = ceiling
    spans = [None if a is None or b is None else max(0.0, b - a) for a, b in pairwise(moments)]
    return Phases(*spans)


@dataclass(frozen=True, slots=True)
class RoleSample:
    """What one probe saw of one database host. `role` is primary, standby or unreachable."""

    at: float
    host: str
    role: str
    lock_holder: str | None  # "" when the lock is free; None when this probe cannot tell
    timeline: int | None = None


def takeover_from(
    samples: Iterable[RoleSample], fault_at: float, candidates: frozenset[str], first_ack_at: float | None
) -> Takeover:
    """Finds the moments of a takeover by one of the candidates in what the probes saw after a fault.

    Who had the lock when the fault came is none of them: in a second loss that is the first one's successor.
    """
    ordered = sorted(samples, key=lambda sample: sample.at)
    held = [one.lock_holder for one in ordered if one.at <= fault_at and one.lock_holder]
    candidates -= frozenset(held[-1:])
    lock_free = lock_taken = writable = None
    for sample in ordered:
        if sample.at <= fault_at:
            continue
        if (
            lock_free is None
            and sample.lock_holder is not None
            and (sample.lock_holder == "" or sample.lock_holder in candidates)
        ):
            lock_free = sample.at
        if lock_taken is None and sample.lock_holder in candidates:
            lock_taken = sample.at
        if writable is None and sample.host in candidates and sample.role == "primary":
            writable = sample.at
    return Takeover(fault_at, lock_free, lock_taken, writable, first_ack_at)


@dataclass(frozen=True, slots=True)
class Reign:
    """A stretch of one host in one role."""

    host: str
    role: str
    start_at: float
    end_at: float


def reigns(samples: Iterable[RoleSample], stop_at: float) -> tuple[Reign, ...]:
    """Each host's roles over time, joined into stretches; the last goes on until `stop_at`."""
    by_host: dict[str, list[RoleSample]] = {}
    for sample in sorted(samples, key=lambda sample: sample.at):
        by_host.setdefault(sample.host, []).append(sample)
    made: list[Reign] = []
    for host, seen in by_host.items():
        start = seen[0]
        for sample in seen[1:]:
            if sample.role != start.role:
                made.append(Reign(host, start.role, start.at, sample.at))
                start = sample
        made.append(Reign(host, start.role, start.at, max(stop_at, start.at)))
    return tuple(made)
