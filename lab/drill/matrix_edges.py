"""Edges without a way in: closed from the fault to the heal, then a bounded time to come back. Pure.

An edge that was closed counts again from its first acknowledgement after the heal, and after the bound in
any case. Clients of one edge (the canaries) are not counted before; clients that know every edge (bidders,
lives of tenders) always are, but for a request that reached nobody there: they take the next edge at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lab.drill.measure import stream_name
from lab.drill.operations import Attempt, Outcome
from lab.drill.rto import Gap, longest_gap

CANARY = "canary-"
# A check of HAProxy that hangs in the cut (timeout check 1 s), the next one (downinter 0.5 s), and a normal
# gap of a stream (Bounds.normal_gap_s) for its first answer.
CUT_BACK_S = 2.0
# Boot, etcd, PostgreSQL, Patroni, application and edge, all at once on the drill's computer: a third of what
# the lab gives a machine to boot (lifecycle.BOOT_LIMIT_S). Measured 2.2 to 6.7 s.
POWER_BACK_S = 10.0


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges that the fault closed, and when each counts again. Times in seconds since the epoch."""

    heal: float
    back: Mapping[str, float]  # closed edge -> from when on it counts
    late: frozenset[str] = frozenset()  # those that did not come back within the bound

    def counts(self, attempt: Attempt) -> bool:
        """Whether a request says something about the service, not only about the way to it."""
        if attempt.edge not in self.back or attempt.sent_at >= self.back[attempt.edge]:
            return True
        return not stream_name(attempt.stream).startswith(CANARY) and not reached_nobody(attempt)

    def closed_to(self, stream: str) -> bool:
        """Whether a client stream, by its name without the run, has no way in until the heal."""
        return stream.startswith(CANARY) and stream.removeprefix(CANARY) in self.back

    def gap_after(self, stream: str, ended: Sequence[float], stop: float) -> Gap | None:
        """The longest gap of a stream that was closed, from when it counts to `stop`.

        From the heal for an edge that did not come back in time; None when it does not count before `stop`.
        """
        edge = stream.removeprefix(CANARY)
        start = self.heal if edge in self.late else self.back[edge]
        return longest_gap(ended, start, stop) if self.back[edge] < stop else None


def edges_of(
    closed: frozenset[str], streams: Mapping[str, Sequence[float]], heal: float, bound_s: float
) -> Edges:
    """When each closed edge counts again, from the acknowledgements of the canaries (sorted)."""
    back, late = {}, set[str]()
    for edge in closed:
        first = next((at for at in streams.get(CANARY + edge, ()) if at > heal), None)
        if first is None or first > heal + bound_s:
            late.add(edge)
        back[edge] = heal + bound_s if edge in late or first is None else first
    return Edges(heal, back, frozenset(late))


def reached_nobody(attempt: Attempt) -> bool:
    """No connection was made: `classify` refuses without a status only then."""
    return attempt.outcome is Outcome.REFUSED and attempt.status is None
