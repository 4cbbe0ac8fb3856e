"""Values in a fault's target: `TARGET:key=value,key=value`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hanbat import durations
from lab.errors import BadTarget


def split(text: str, known: Mapping[str, Callable[[str], float]], given: Mapping[str, float]) -> tuple[
    str, dict[str, float]
]:  # fmt: skip
    """The target without its values, and the values: `given` where the text is silent. Raises BadTarget."""
    target, sign, rest = text.partition(":")
    values = dict(given)
    for part in rest.split(",") if sign else ():
        key, equals, value = part.partition("=")
        if key not in known or not equals:
            raise BadTarget(f"{text}: {part!r} is no value", hint=f"values: {', '.join(known)}")
        try:
            values[key] = known[key](value)
        except ValueError as error:
            raise BadTarget(f"{text}: {key} {error}") from error
    return target, values


def milliseconds(text: str) -> float:
    """Raises ValueError."""
    return durations.parse(text).total_seconds() * 1000


def percent(text: str) -> float:
    """Raises ValueError."""
    value = float(text)
    if not 0 <= value <= 50:
        raise ValueError("is not from 0 to 50 %")
    return value
