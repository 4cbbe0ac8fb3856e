"""The primary's own record of unprotected intervals, beside what /sync showed. Pure.

The record is `replication.unprotected.PATH` on the host that was the primary; it goes on over many drills.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lab.drill.matrix_absence import Absence

# /sync is looked at every 0.2 s, the primary's watch runs every 0.1 s and reads /sync from Patroni's view.
TOLERANCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Interval:
    """One standby left out, in seconds since the epoch; `until` is None for one without an end."""

    host: str
    start: float
    until: float | None

    def told(self) -> str:
        return f"{self.host} {'not closed' if self.until is None else f'{self.until - self.start:.1f} s'}"


def intervals(text: str, since: float) -> tuple[Interval, ...]:
    """Those that began at or after `since`, in their order. Raises ValueError or KeyError."""
    found: dict[tuple[str, str], Interval] = {}
    for line in text.splitlines():
        row = json.loads(line)
        start, until = _seconds(row["from"]), row["until"]
        if start >= since:
            ended = None if until is None else _seconds(until)
            found[row["host"], row["from"]] = Interval(row["host"], start, ended)
    return tuple(found.values())


def covers(
    found: Sequence[Interval], absent: Sequence[tuple[str, Absence]], fault: float, heal: float
) -> bool:
    """Whether there is exactly one closed interval for each absence, from its start to its end."""
    by_host = {each.host: each for each in found}
    if len(found) != len(absent) or set(by_host) != {host for host, _ in absent}:
        return False
    return all(_covers(by_host[host], one, fault, heal) for host, one in absent)


def _covers(found: Interval, absence: Absence, fault: float, heal: float) -> bool:
    if found.until is None or absence.left_s is None or absence.back_s is None:
        return False
    left, back = fault + absence.left_s, heal + absence.back_s
    return abs(found.start - left) <= TOLERANCE_S and abs(found.until - back) <= TOLERANCE_S


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
