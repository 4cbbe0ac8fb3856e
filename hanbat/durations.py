"""Lengths of time as people write them: `4h`, `90s`, `1h30m`, `500ms` (Go's notation)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import durationpy
from pydantic import BeforeValidator, PlainSerializer


def parse(text: object) -> timedelta:
    """A length of time from its text; never negative.

    Raises ValueError for anything else: a bare number has no unit, so it is refused too.
    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str):
        raise ValueError("is no duration: write a number with its unit, such as 4h, 90s or 500ms")
    try:
        length = durationpy.from_str(text)
    except durationpy.DurationError as error:
        raise ValueError("is no duration: write a number with its unit, such as 4h, 90s or 500ms") from error
    if length < timedelta(0):
        raise ValueError("is a negative duration: write 0s or more")
    return length


def text(length: timedelta) -> str:
    """The shortest text for a length of time: `4h`, `1m30s`."""
    return durationpy.to_str(length)


Duration = Annotated[timedelta, BeforeValidator(parse), PlainSerializer(text)]
