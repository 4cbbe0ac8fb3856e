"""What a client did, and what it knows of the outcome.

An *attempt* is one HTTP request. An *operation* is what the client wanted, known by its idempotency
key: all attempts with that key. Outcomes have three values; *unknown* is never folded into another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What the client knows after an attempt."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"  # surely not written
    UNKNOWN = "unknown"  # may be written, may be not


class Stage(StrEnum):
    """How far a request came before it ended."""

    CONNECT = "connect"  # no connection: nothing of the request left the client
    SENT = "sent"  # at least one byte may have left the client
    ANSWERED = "answered"  # a complete answer came back


# 503 answers that promise that nothing was written: the application's own word, and the edge's own
# answer (HAProxy answers 503 only for a request that it could not send; it names itself in "edge").
NOT_WRITTEN_CODES = frozenset({"not_written", "edge:unavailable"})
# 4xx answers that say nothing of the request itself: it came too slowly, or there were too many.
PASSING_STATUSES = frozenset({408, 429})


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request. Times are seconds since the epoch on the drill's clock."""

    stream: str
    kind: str
    key: str
    edge: str
    path: str
    body: dict[str, Any]
    sent_at: float
    ended_at: float | None
    outcome: Outcome
    status: int | None = None
    response: Any = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """All attempts with one key. `sent_at` is the first attempt's, `ended_at` the deciding one's."""

    key: str
    stream: str
    kind: str
    path: str
    body: dict[str, Any]
    outcome: Outcome
    sent_at: float
    ended_at: float | None
    response: Any
    attempts: tuple[Attempt, ...]

    @property
    def retried_unknown(self) -> bool:
        """Whether it was sent again after an attempt whose outcome was unknown: it may have two effects."""
        return any(attempt.outcome is Outcome.UNKNOWN for attempt in self.attempts[:-1])


def classify(stage: Stage, status: int | None, error_code: str | None) -> Outcome:
    """Outcome of an attempt from how far it came, the answer's status and its error code.

    2xx is acknowledged; 4xx is refused; 503 is refused only with a code that promises so. All else
    that was sent (500, 502, 504, a reset, a time-out, a bare 503) is unknown.
    """
    if stage is Stage.CONNECT:
        return Outcome.REFUSED
    if stage is Stage.SENT or status is None:
        return Outcome.UNKNOWN
    if 200 <= status < 300:
        return Outcome.ACKNOWLEDGED
    if 400 <= status < 500:
        return Outcome.REFUSED
    if status == 503 and error_code in NOT_WRITTEN_CODES:
        return Outcome.REFUSED
    return Outcome.UNKNOWN


def error_code(response: Any) -> str | None:
    """The code in an error answer; None when there is none. "edge:" stands before the edge's own."""
    error = response.get("error") if isinstance(response, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    if not isinstance(error, dict) or not isinstance(code, str):
        return None
    return f"edge:{code}" if "edge" in error else code


def combine(attempts: Iterable[Attempt]) -> Operation:
    """The operation of attempts with one key: acknowledged if one was, refused if all were, else unknown.

    Raises ValueError for no attempts or for several keys.
    """
    ordered = tuple(sorted(attempts, key=lambda attempt: attempt.sent_at))
    if not ordered or len({attempt.key for attempt in ordered}) != 1:
        raise ValueError("an operation is one or more attempts with one key")
    by_outcome = {outcome: [a for a in ordered if a.outcome is outcome] for outcome in Outcome}
    if by_outcome[Outcome.ACKNOWLEDGED]:
        outcome, deciding = Outcome.ACKNOWLEDGED, by_outcome[Outcome.ACKNOWLEDGED][0]
    elif by_outcome[Outcome.UNKNOWN]:
        outcome, deciding = Outcome.UNKNOWN, by_outcome[Outcome.UNKNOWN][-1]
    else:
        outcome, deciding = Outcome.REFUSED, ordered[-1]
    first = ordered[0]
    return Operation(
        key=first.key,
        stream=first.stream,
        kind=first.kind,
        path=first.path,
        body=first.body,
        outcome=outcome,
        sent_at=first.sent_at,
        ended_at=deciding.ended_at,
        response=deciding.response,
        attempts=ordered,
    )


def operations(attempts: Iterable[Attempt]) -> tuple[Operation, ...]:
    """All operations, in the order of their first attempts."""
    by_key: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_key.setdefault(attempt.key, []).append(attempt)
    made = [combine(group) for group in by_key.values()]
    return tuple(sorted(made, key=lambda operation: operation.sent_at))
