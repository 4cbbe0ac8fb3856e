"""The drill's canary: the lightest real write there is. (stream, sequence) is unique for ever."""

from __future__ import annotations

from app.database import Transaction
from app.errors import Refusal
from app.models import NewCanary
from app.parties import Ids, Party
from app.working_days import iso


def add_canary(tx: Transaction, party: Party, ids: Ids, body: NewCanary, request_key: str) -> dict:
    row = tx.maybe(
        "INSERT INTO procurement.canary (stream, sequence, request_key) VALUES (%s, %s, %s)"
        " ON CONFLICT (stream, sequence) DO NOTHING RETURNING written_at",
        (body.stream, body.sequence, request_key),
    )
    if row is None:
        message = f"{body.stream} {body.sequence} was written with another Idempotency-Key"
        raise Refusal(409, "already_written", message, "a sequence is written once")
    return {"stream": body.stream, "sequence": body.sequence, "written_at": iso(row["written_at"])}
