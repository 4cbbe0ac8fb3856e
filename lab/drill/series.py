"""Series for the charts, from the journals: rates a second, lag over time, roles. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab.drill.operations import Attempt, Outcome


@dataclass(frozen=True, slots=True)
class Second:
    """Attempts that ended in one second, by outcome; `at` is whole seconds from the zero of the charts."""

    at: int
    acknowledged: int
    refused: int
    unknown: int

    @property
    def total(self) -> int:
        return self.acknowledged + self.refused + self.unknown


def write_rate(attempts: Iterable[Attempt], zero: float, first: int, last: int) -> tuple[Second, ...]:
    """Every second from `first` to `last`, also those in which nothing ended."""
    counted: dict[int, Counter[Outcome]] = {}
    for attempt in attempts:
        ended = attempt.ended_at if attempt.ended_at is not None else attempt.sent_at
        counted.setdefault(int((ended - zero) // 1), Counter())[attempt.outcome] += 1
    empty: Counter[Outcome] = Counter()
    return tuple(
        Second(
            at,
            *(
                counted.get(at, empty)[outcome]
                for outcome in (Outcome.ACKNOWLEDGED, Outcome.REFUSED, Outcome.UNKNOWN)
            ),
        )
        for at in range(first, last + 1)
    )


@dataclass(frozen=True, slots=True)
class Lag:
    """What one host's LSN ring said. `lag_bytes` None: it does not know."""

    at: float
    host: str
    lag_bytes: int | None
    rpo_seconds: float | None
    role: str


def lags(probes: Iterable[Mapping[str, Any]], zero: float) -> tuple[Lag, ...]:
    """Samples of the LSN ring, in the order of time."""
    made = [
        Lag(
            record["seen_at"] - zero,
            record["host"],
            record.get("lag_bytes"),
            record.get("rpo_seconds"),
            record.get("role", "unknown"),
        )
        for record in probes
        if record["probe"] == "ring"
    ]
    return tuple(sorted(made, key=lambda lag: lag.at))
