"""What can go wrong, with a stable code, the fact and a hint (principle 9).

``Refusal`` is a deterministic *no*; ``NotWritten`` says that this attempt wrote nothing;
``OutcomeUnknown`` is the third outcome: the effect may or may not be in the database.
"""

from __future__ import annotations


class AppError(Exception):
    """Base of every error that is answered to a caller."""

    status = 500
    code = "internal"
    hint = ""
    retry_after_s: int | None = None

    def __init__(self, message: str, *, detail: str = "") -> None:
        """``detail`` is for the log and for readiness only: it may name hosts."""
        super().__init__(message)
        self.detail = detail

    def body(self) -> dict[str, dict[str, str]]:
        return {"error": {"code": self.code, "message": str(self), "hint": self.hint}}


class Refusal(AppError):
    """The request is refused; nothing was written and asking again the same way changes nothing."""

    def __init__(self, status: int, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.hint = hint


class NotWritten(AppError):
    """The database could not take this attempt; this attempt wrote nothing.

    It speaks of one attempt only: an earlier attempt with the same key may still be unknown.
    """

    status = 503
    code = "not_written"
    hint = "try again with the same Idempotency-Key"
    retry_after_s = 1


class OutcomeUnknown(AppError):
    """COMMIT was sent and its answer was lost, or was not to be trusted."""

    status = 503
    code = "outcome_unknown"
    hint = "retry with the same Idempotency-Key: it gives the one true answer"
    retry_after_s = 1


class ReadUnconfirmed(AppError):
    """What was read could not be confirmed as replicated, or could not be read at all."""

    status = 503
    code = "unavailable"
    hint = "read again in a moment"
    retry_after_s = 1


def not_found(what: str) -> Refusal:
    return Refusal(404, "not_found", f"there is no such {what}, or it is not yours", "check the id")


def not_yours(message: str) -> Refusal:
    return Refusal(403, "not_yours", message, "use the key of the party that this belongs to")
