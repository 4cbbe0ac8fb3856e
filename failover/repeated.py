"""Something asked again and again, in a thread of its own (`observer.Watch`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Repeated(Generic[T]):
    """Asks every `period_s`, at once when the last answer took longer, and hands each answer on."""

    name: str
    period_s: float
    ask: Callable[[], T]
    take: Callable[[T], None]

    def run(self, stopped: Callable[[], bool]) -> None:
        while not stopped():
            began = time.monotonic()
            self.take(self.ask())
            time.sleep(max(0.0, self.period_s - (time.monotonic() - began)))
