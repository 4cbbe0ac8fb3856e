"""The reference of all settings, made from the model itself, so that it cannot drift from it."""

# pyright: basic

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from typing import Any, get_args

from annotated_types import Ge, Le
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hanbat import durations
from hanbat.topology import Failover, Host, Objectives, PostgreSQL, Replication, Site, Topology, Wan

SECTIONS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("(top level)", Topology),
    ("objectives", Objectives),
    ("postgresql", PostgreSQL),
    ("replication", Replication),
    ("failover", Failover),
    ("wan", Wan),
    ("sites[]", Site),
    ("sites[].hosts[]", Host),
)


def markdown() -> str:
    """The text of `docs/settings.md`."""
    lines = [
        "# Settings of `sites.yml`",
        "",
        "Made by `hanbat topology settings` from the model in `hanbat/topology.py`;",
        "a test fails when it is stale.",
        "Lengths of time carry their unit: `4h`, `90s`, `500ms`.",
    ]
    for title, model in SECTIONS:
        lines += ["", f"## {title}", "", (model.__doc__ or "").split("\n")[0], ""]
        lines += ["| key | type | default | range | help |", "|---|---|---|---|---|", *_rows(model)]
    return "\n".join(lines) + "\n"


def _rows(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        help_text = field.description or ""
        yield f"| `{name}` | {_type(field)} | {_default(field)} | {_range(field)} | {help_text} |"


def _type(field: FieldInfo) -> str:
    kind: Any = field.annotation
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{member.value}`" for member in kind)
    names = {timedelta: "duration"}
    inner = [part for part in get_args(kind) if part not in (type(None), ...)]
    text = names.get(kind) or (inner[0].__name__ if inner else getattr(kind, "__name__", str(kind)))
    unit = field.json_schema_extra.get("unit") if isinstance(field.json_schema_extra, dict) else ""
    return f"{text}, {unit}" if unit else text


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "see below"
    return f"`{_text(field.default)}`" if field.default not in (None, "") else "none"


def _range(field: FieldInfo) -> str:
    limits = [f"≥ {_text(item.ge)}" for item in field.metadata if isinstance(item, Ge)]
    limits += [f"≤ {_text(item.le)}" for item in field.metadata if isinstance(item, Le)]
    return ", ".join(limits)


def _text(value: Any) -> str:
    if isinstance(value, timedelta):
        return durations.text(value)
    return str(value.value if isinstance(value, Enum) else value)
