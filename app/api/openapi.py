"""The OpenAPI 3.1 description, assembled by apispec from app/operations.py and the pydantic models."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from apispec import APISpec

from app import operations

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "hint"],
            "properties": {name: {"type": "string"} for name in ("code", "message", "hint")},
        }
    },
}
REFUSALS = {
    "400": "the Idempotency-Key or the JSON is missing or malformed",
    "401": "no key, or an unknown one",
    "403": "this belongs to another party",
    "404": "there is none, or it is not yours",
    "409": "the facts do not allow it (code says which)",
    "422": "the body is not valid, or the Idempotency-Key was used for another request",
    "503": "not_written: nothing was written; outcome_unknown: retry with the same Idempotency-Key;"
    " unavailable: the answer to a read could not be confirmed",
}


@cache
def description() -> dict[str, Any]:
    """The whole description; it never changes while the process runs."""
    spec = APISpec(
        title="Hanbat procurement",
        version="1",
        openapi_version="3.1.0",
        info={
            "description": "Amounts are integer won; times are ISO 8601 with offset. Every POST takes an"
            " Idempotency-Key: the same key and body gives the same answer for ever."
        },
        security=[{"key": []}],
    )
    spec.components.security_scheme("key", {"type": "http", "scheme": "bearer"})
    spec.components.schema("Error", ERROR)
    for write in operations.WRITES.values():
        _model(spec, write.model)
        spec.path(operations.PREFIX + write.path, operations={"post": _post(write)})
    for read in operations.READS.values():
        spec.path(operations.PREFIX + read.path, operations={"get": _get(read)})
    _public(spec, "/time", "time", "the database's clock")
    _public(spec, "/openapi.json", "openapi", "this description")
    return spec.to_dict()


def _public(spec: APISpec, path: str, name: str, summary: str) -> None:
    operation = {
        "operationId": name,
        "summary": summary,
        "security": [],
        "responses": _responses("200", "503"),
    }
    spec.path(operations.PREFIX + path, operations={"get": operation})


def _model(spec: APISpec, model: type) -> None:
    if model.__name__ in spec.components.schemas:
        return
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    for name, part in schema.pop("$defs", {}).items():
        if name not in spec.components.schemas:
            spec.components.schema(name, part)
    spec.components.schema(model.__name__, schema)


def _post(write: operations.Write) -> dict[str, Any]:
    key = {
        "name": "Idempotency-Key", "in": "header", "required": True,
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    }  # fmt: skip
    return {
        "operationId": write.name,
        "summary": write.summary,
        "description": f"For: {', '.join(write.roles)}.",
        "parameters": [*_ids(write.path), key],
        "requestBody": {
            "required": bool(write.model.model_fields),
            "content": {
                "application/json": {"schema": {"$ref": f"#/components/schemas/{write.model.__name__}"}}
            },
        },
        "responses": _responses(str(write.status), *REFUSALS),
    }


def _get(read: operations.Read) -> dict[str, Any]:
    return {
        "operationId": read.name,
        "summary": read.summary,
        "description": f"For: {', '.join(read.roles)}; each sees only what is its own.",
        "parameters": _ids(read.path),
        "responses": _responses("200", "401", "403", "404", "503"),
    }


def _ids(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _responses(good: str, *bad: str) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    answers: dict[str, Any] = {
        good: {"description": "done", "content": {"application/json": {"schema": {"type": "object"}}}}
    }
    return answers | {status: {"description": REFUSALS[status], "content": error} for status in bad}
