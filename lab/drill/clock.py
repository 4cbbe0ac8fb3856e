"""One clock for the drill and its load: wall time that cannot jump.

CLOCK_MONOTONIC is the same in all processes and network namespaces of a computer, so both sides
that share the anchor agree on the time to the microsecond.
"""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """`wall` seconds since the epoch belong to `monotonic` seconds of this computer."""

    wall: float
    monotonic: float

    @classmethod
    def anchored_now(cls) -> Clock:
        return cls(time.time(), time.monotonic())

    def now(self) -> float:
        """Seconds since the epoch, never going back."""
        return self.wall + (time.monotonic() - self.monotonic)
