"""How long a client waited until its operation was done, tries and pauses counted in. Pure.

A stream is acknowledged again as soon as *one* of its clients is; each client's own wait may be longer: its
first request may have gone to an edge that is cut off, and it asks again after its time-out and a pause.
"""

from __future__ import annotations

from collections.abc import Iterable

from lab.drill.matrix_edges import CANARY
from lab.drill.measure import stream_name
from lab.drill.operations import Attempt, Operation, Outcome, operations


def slowest_wait(attempts: Iterable[Attempt], start: float, stop: float) -> float | None:
    """Seconds from an operation's first request to its answer; of those under way in [start, stop), the most.

    Asked of clients that insist: one that was never answered waited until its last try ended. A canary is
    sent once, so one without an answer waited for nothing: it counts as a failed request. None without any.
    """
    waits = (
        done - operation.sent_at
        for operation in operations(attempts)
        if operation.sent_at < stop and (done := done_at(operation)) is not None and done > start
    )
    return max(waits, default=None)


def done_at(operation: Operation) -> float | None:
    """When its client had no more to wait for; None for a canary that was not acknowledged."""
    if operation.outcome is Outcome.ACKNOWLEDGED:
        return operation.ended_at
    if stream_name(operation.stream).startswith(CANARY):
        return None
    return max(each.ended_at or each.sent_at for each in operation.attempts)
