"""The LSN ring: what would be lost if the primary's site vanished now, in bytes and in seconds.

A bounded row of samples (clock, LSN of the primary), one a second. The rule (field notes, "RPO and
RTO"): RPO is now minus the first sample whose LSN is above what the remote received; 0 when the
remote received the newest one. It is right when the system is idle, and grows in a partition.
Positions are bytes of WAL, clocks are seconds; nothing in here reads a clock.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """Where the primary's flushed WAL ended at a moment."""

    at_s: float
    lsn: int


@dataclass(frozen=True, slots=True)
class Exposure:
    """What a loss of the primary would cost.

    `seconds` is None when it is unknown; `at_least_s` is then a lower bound, if the ring knows one:
    everything in it is above what was received, so the first lost write is older than the ring.
    """

    lag_bytes: int
    seconds: float | None
    at_least_s: float | None = None


class LsnRing:
    """Samples of one primary after another; clocks and positions never fall within it."""

    def __init__(self, window_s: float, limit: int = 100_000) -> None:
        self._window_s = window_s
        self._limit = limit
        self._times: list[float] = []
        self._lsns: list[int] = []

    def __len__(self) -> int:
        return len(self._times)

    @property
    def newest(self) -> Sample | None:
        """The last sample, None before the first."""
        return Sample(self._times[-1], self._lsns[-1]) if self._times else None

    def add(self, sample: Sample) -> None:
        """Takes a sample in.

        A lower position than before is a new primary that did not have the end of the old one's
        WAL: what lies above it is no longer anyone's. A clock that went back drops what it has not
        reached yet, because those ages would be wrong.
        """
        keep = min(bisect_right(self._lsns, sample.lsn), bisect_right(self._times, sample.at_s))
        del self._times[keep:], self._lsns[keep:]
        self._times.append(sample.at_s)
        self._lsns.append(sample.lsn)
        self._forget(sample.at_s)

    def _forget(self, now_s: float) -> None:
        old = bisect_right(self._times, now_s - self._window_s)
        old = max(old, len(self._times) - self._limit)
        if old > 0:
            del self._times[:old], self._lsns[:old]

    def exposure(self, received: int, now_s: float) -> Exposure | None:
        """What is exposed when `received` is the remote's last position; None without any sample."""
        if not self._times:
            return None
        lag = max(0, self._lsns[-1] - received)
        if lag == 0:
            return Exposure(0, 0.0)
        first = bisect_right(self._lsns, received)
        age = max(0.0, now_s - self._times[first])
        if first == 0:
            return Exposure(lag, None, age)
        return Exposure(lag, age)
