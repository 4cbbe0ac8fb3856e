"""What is computed from the journals and the moments of a drill. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lab.drill.operations import Attempt, Outcome
from lab.drill.rto import Gap, Phases, RoleSample, disturbance, outage, phases, slowest, takeover_from

DCS = "dcs"  # the role of a sample that tells the lock holder, not what a host is
CLIENT_STREAMS = (
    "canary",
    "bidders",
)  # RTO is the slowest of these; lives and the official tender pause by design


@dataclass(frozen=True, slots=True)
class Measured:
    """What clients saw. Seconds; None is not measured."""

    outages: dict[str, Gap | None]
    cut_off: dict[str, Gap | None]  # streams whose edge was lost with its site
    rto: Gap | None
    phases: Phases | None
    heal_outage_s: float | None
    switchover_outage_s: float | None


def stream_name(stream: str) -> str:
    """A stream's name without the run before it."""
    return stream.partition(":")[2] or stream


def acknowledgements(attempts: Iterable[Attempt]) -> dict[str, list[float]]:
    """Times of acknowledgement of each client stream, sorted."""
    by_stream: dict[str, list[float]] = {}
    for attempt in attempts:
        name = stream_name(attempt.stream)
        if not name.startswith(CLIENT_STREAMS):
            continue
        times = by_stream.setdefault(name, [])
        if attempt.outcome is Outcome.ACKNOWLEDGED and attempt.ended_at is not None:
            times.append(attempt.ended_at)
    return {name: sorted(times) for name, times in by_stream.items()}


def role_samples(probes: Iterable[Mapping[str, Any]]) -> tuple[RoleSample, ...]:
    """What the probes saw, as samples; a leader probe is a sample of the lock, not of a host's role."""
    samples = []
    for record in probes:
        if record["probe"] == "patroni":
            samples.append(
                RoleSample(record["seen_at"], record["host"], record["role"], None, record.get("timeline"))
            )
        elif record["probe"] == "leader":
            samples.append(RoleSample(record["seen_at"], record["host"], DCS, record["holder"]))
    return tuple(samples)


def measure(
    attempts: Sequence[Attempt],
    probes: Sequence[Mapping[str, Any]],
    moments: Mapping[str, float],
    candidates: frozenset[str],
    lost_edges: frozenset[str],
) -> Measured:
    """RTO, its phases, and the disturbances at the heal and at the switchover.

    The canary of an edge that stood in the lost site has no way in until the power is back: its outage is
    shown, and is not the RTO. Clients that know both edges (the bidders) are counted.
    """
    streams = acknowledgements(attempts)
    fault_at = moments.get("fault")
    if fault_at is None:
        return Measured({}, {}, None, None, None, None)
    end = max(attempt.ended_at or attempt.sent_at for attempt in attempts) if attempts else fault_at
    without_way = frozenset(f"canary-{edge}" for edge in lost_edges)
    served = {name: times for name, times in streams.items() if name not in without_way}
    outages = {name: outage(times, fault_at, moments.get("heal", end)) for name, times in served.items()}
    cut_off = {name: outage(times, fault_at, end) for name, times in streams.items() if name in without_way}
    rto = slowest(outages)
    seen = takeover_from(role_samples(probes), fault_at, candidates, rto.end_at if rto else None)

    def around(start: str, stop: str, watched: Mapping[str, Sequence[float]]) -> float | None:
        if start not in moments or stop not in moments:
            return None
        canaries = {name: times for name, times in watched.items() if name.startswith("canary")}
        return disturbance(canaries, moments[start], moments[stop])

    return Measured(
        outages=outages,
        cut_off=cut_off,
        rto=rto,
        phases=phases(seen),
        heal_outage_s=around("heal", "switchover", served),
        switchover_outage_s=around("switchover", "home", streams),
    )
