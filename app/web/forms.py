"""From a form's fields to the JSON body of the same operation."""

from __future__ import annotations

from typing import Any

from werkzeug.datastructures import MultiDict

from app.models import Body


def body_of(model: type[Body], form: MultiDict[str, str]) -> dict[str, Any]:
    """The fields that the model knows, typed by its schema; an empty field counts as not given.

    What is no number stays text, so that the model refuses it by name.
    """
    properties = model.model_json_schema().get("properties", {})
    body: dict[str, Any] = {}
    for name, schema in properties.items():
        texts = [text.strip() for text in form.getlist(name) if text.strip()]
        if not texts:
            continue
        types = _types(schema)
        if "array" in types:
            body[name] = [_number(text) for text in texts]
        elif "boolean" in types:
            body[name] = texts[0] == "true"
        elif "integer" in types:
            body[name] = _number(texts[0])
        else:
            body[name] = texts[0]
    return body


def _types(schema: dict[str, Any]) -> set[str]:
    return {part.get("type", "") for part in schema.get("anyOf", [schema])}


def _number(text: str) -> int | str:
    """1,573,662,682 is a number, too."""
    digits = text.replace(",", "")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text
