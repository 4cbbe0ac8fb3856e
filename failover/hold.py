"""A person's hold on the controllers, as it stands in etcd (`hanbat/hold`), and in words. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

LONGEST = 200  # of what is told: anything may stand there


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person wrote. `at` is UTC; everything is "" in a hold that no `hanbat hold` wrote."""

    by: str
    reason: str
    at: str


def encode(asked: Asked) -> str:
    """As stored under `hanbat/hold`."""
    return json.dumps(asdict(asked), ensure_ascii=False)


def decode(text: str) -> Asked:
    """Never raises: whatever stands there is a hold."""
    try:
        read: Any = json.loads(text)
        return Asked(str(read["by"]), str(read["reason"]), str(read["at"]))
    except (ValueError, KeyError, TypeError):
        return Asked("", "", "")


def told(text: str) -> str:
    """Who set it, since when, and why, as far as it is known; in one line."""
    asked = decode(text)
    if not asked.by:
        words = f"a hold is set, not by this command: {text!r}"
    else:
        why = f": {asked.reason}" if asked.reason else ""
        words = f"a hold is set by {asked.by} since {asked.at}{why}"
    return " ".join(words.split())[:LONGEST]
