"""JSON over HTTP: reads the request, calls app/operations.py, writes the answer."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from flask import Blueprint, Response, current_app, request

from app import operations
from app.api.openapi import description
from app.errors import NotWritten, ReadUnconfirmed, Refusal
from app.idempotency import canonical
from app.parties import Party
from app.working_days import iso

blueprint = Blueprint("api", __name__, url_prefix=operations.PREFIX)
MOST_BYTES = 64 * 1024


def reply(body: Any, status: int = 200) -> Response:
    """JSON in its canonical form: a replay has the very same bytes."""
    return Response(canonical(body) + "\n", status, content_type="application/json; charset=utf-8")


def caller() -> Party:
    """The party of the request's key; Refusal 401 without one."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise Refusal(401, "key_missing", "this needs a party's key", "send Authorization: Bearer KEY")
    return current_app.extensions["parties"].of_key(key.strip())


def writer() -> Party:
    """The caller of a POST: when it cannot be told, nothing was written."""
    try:
        return caller()
    except ReadUnconfirmed as error:
        raise NotWritten(str(error), detail=error.detail) from error


def json_body() -> Any:
    """The request's body; no body counts as {}. Numbers with a point become Decimal, never float."""
    data = request.get_data()
    if not data.strip():
        return {}
    try:
        body = json.loads(data, parse_float=Decimal, parse_constant=_refuse_constant)
        canonical(body).encode()  # a lone surrogate is JSON, but no text
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "invalid_json", f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise Refusal(422, "invalid_body", "the body must be a JSON object")
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _write_view(operation: operations.Write):
    def view(**ids: int) -> Response:
        database = current_app.extensions["database"]
        party = writer()
        key = request.headers.get("Idempotency-Key")
        answer = operations.write(database, party, operation, ids, json_body(), key)
        return reply(answer.body, answer.status)

    return view


def _read_view(operation: operations.Read):
    def view(**ids: int) -> Response:
        return reply(operations.read(current_app.extensions["database"], caller(), operation, ids))

    return view


def _rule(path: str) -> str:
    return path.replace("{", "<int:").replace("}", ">")


for _write in operations.WRITES.values():
    blueprint.add_url_rule(_rule(_write.path), _write.name, _write_view(_write), methods=["POST"])
for _read in operations.READS.values():
    blueprint.add_url_rule(_rule(_read.path), _read.name, _read_view(_read), methods=["GET"])


@blueprint.get("/time")
def time() -> Response:
    """The database's clock: the one that decides deadlines."""
    row = current_app.extensions["database"].peek(lambda tx: tx.one("SELECT clock_timestamp() AS now"))
    return reply({"now": iso(row["now"])})


@blueprint.get("/openapi.json")
def openapi() -> Response:
    return reply(description())
