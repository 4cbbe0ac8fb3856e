"""The record of unprotected intervals: from when a dragging standby was left out until /sync named it again.

Two lines of JSON an interval in PATH on the host that was the primary: one at its start (`until` null), one
at its end. A start without an end: the primary's Patroni ended meanwhile, so it lasted at least to there.
The end is when /sync names the standby again, not when it is asked to come back: until then nothing promises
that it has what was acknowledged.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

logger = logging.getLogger(__name__)

PATH = Path("/var/lib/hanbat/unprotected/intervals.jsonl")


@dataclass(frozen=True, slots=True)
class Event:
    """The start or the end of an interval: a line of the record, and the same for the log."""

    line: str
    text: str


@dataclass(frozen=True, slots=True)
class _Open:
    primary: str
    reason: str
    at_s: float  # monotonic
    wall_s: float


@dataclass
class Intervals:
    """The open intervals by standby. Reads no clock."""

    _open: dict[str, _Open] = field(default_factory=dict[str, _Open])

    def take(
        self,
        primary: str,
        left_out: Iterable[str],
        back: Callable[[str], bool],
        reason: str,
        at_s: float,
        wall_s: float,
    ) -> list[Event]:
        """Starts one for each standby newly left out, ends one for each that is back."""
        events = [
            self._ended(name, "in the sync set again", at_s, wall_s)
            for name in sorted(self._open)
            if back(name)
        ]
        for name in sorted(left_out):
            if name not in self._open:
                self._open[name] = begun = _Open(primary, reason, at_s, wall_s)
                text = f"{name} drags commits and is left out of the sync set: {reason}"
                events.append(Event(_line(name, begun, None, None, ""), text))
        return events

    def end(self, why: str, at_s: float, wall_s: float) -> list[Event]:
        """Ends all: this host does not know any more."""
        return [self._ended(name, why, at_s, wall_s) for name in sorted(self._open)]

    def _ended(self, name: str, why: str, at_s: float, wall_s: float) -> Event:
        begun = self._open.pop(name)
        seconds = round(at_s - begun.at_s, 3)
        text = f"{name} was out of the sync set for {seconds:.1f} s: {why}"
        return Event(_line(name, begun, wall_s, seconds, why), text)


def _line(host: str, begun: _Open, until_s: float | None, seconds: float | None, ended: str) -> str:
    row = {
        "host": host,
        "primary": begun.primary,
        "from": _moment(begun.wall_s),
        "until": None if until_s is None else _moment(until_s),
        "seconds": seconds,
        "reason": begun.reason,
    }
    return json.dumps(row | ({"ended": ended} if ended else {}))


def _moment(wall_s: float) -> str:
    return datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds")


def write(line: str, path: Path = PATH) -> None:
    """Appends a line. Never raises: a record that cannot be written is said in the log, which has it too."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        logger.warning("%s cannot be written (%s): %s", path, error, line)
