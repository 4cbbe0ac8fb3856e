"""One key, one answer, for ever: at this site and at the other one.

The answer is stored in the same transaction as the effect, in ``procurement.idempotency``. Duplicates that
arrive at once serialize on an advisory lock of the transaction, which PostgreSQL holds until the COMMIT has
been acknowledged by the sync standby; the primary key is the backstop. Refusals are not stored: the same
request is refused the same way again, unless the facts have changed.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from psycopg2 import errors

from app.database import Transaction
from app.errors import OutcomeUnknown, Refusal

KEY = re.compile(r"[\x20-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class Request:
    """What identifies a request: the same key must come with all of this unchanged."""

    party_id: int
    key: str
    method: str
    path: str
    body: Any

    @property
    def digest(self) -> bytes:
        """SHA-256 of method, path and the body as canonical JSON."""
        return hashlib.sha256(f"{self.method}\n{self.path}\n{canonical(self.body)}".encode()).digest()


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered; ``replayed`` is true when it was stored by an earlier request."""

    status: int
    body: dict[str, Any]
    replayed: bool


def canonical(value: Any) -> str:
    """JSON with sorted keys; Decimal as its own text, so no float appears."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)


def checked_key(key: str | None) -> str:
    """The Idempotency-Key of a request; Refusal when it is missing or malformed."""
    if key is None:
        hint = "send a new random key with each new request, the same one with each retry"
        raise Refusal(400, "idempotency_key_missing", "a POST needs an Idempotency-Key", hint)
    if not KEY.fullmatch(key):
        raise Refusal(400, "idempotency_key_malformed", "an Idempotency-Key has 1-200 printable characters")
    return key


def stored_answer(tx: Transaction, request: Request) -> Answer | None:
    """Wait for a twin in flight, then the stored answer if there is one.

    OutcomeUnknown when the twin's transaction does not end in time: it may be waiting for its COMMIT.
    """
    try:
        tx.lock("idempotency", f"{request.party_id}:{request.key}")
    except errors.LockNotAvailable as error:
        raise OutcomeUnknown("an earlier request with this key has not ended yet") from error
    row = tx.maybe(
        "SELECT request_hash, status, response FROM procurement.idempotency"
        " WHERE party_id = %s AND request_key = %s",
        (request.party_id, request.key),
    )
    if row is None:
        return None
    if bytes(row["request_hash"]) != request.digest:
        message = "this Idempotency-Key was used for another request"
        raise Refusal(422, "idempotency_key_reused", message, "use a new key for a new request")
    return Answer(row["status"], row["response"], replayed=True)


def store(tx: Transaction, request: Request, status: int, body: dict[str, Any]) -> Answer:
    """Store the answer beside its effect. It is given out as it was stored."""
    tx.run(
        "INSERT INTO procurement.idempotency (party_id, request_key, method, path, request_hash, status,"
        " response) VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (
            request.party_id,
            request.key,
            request.method,
            request.path,
            request.digest,
            status,
            canonical(body),
        ),
    )
    return Answer(status, body, replayed=False)
