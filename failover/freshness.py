"""Ages by one's own clock: how long ago did *I* see this change?

A publisher's clock is never read. What is published carries a number that changes (an observer's sequence,
a key's revision); the reader notes on its own monotonic clock when it saw each number for the first time.
A reader that was paused finds everything old, which is the safe side: old observations do not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

NEVER_MS = 10**12  # older than any limit


@dataclass(frozen=True, slots=True)
class _Seen:
    number: int
    at_ms: int
    advanced: bool
    doubted: bool = False  # not read since a break: the next number may have been there for most of it


@dataclass(slots=True)
class Freshness:
    """One reader's memory. Not shared, not persisted: a restarted reader has seen nothing."""

    _seen: dict[str, _Seen] = field(default_factory=dict[str, _Seen])

    def note(self, what: str, number: int, now_ms: int) -> None:
        """The number was read just now."""
        known = self._seen.get(what)
        if known is None or known.number != number:
            self._seen[what] = _Seen(number, now_ms, advanced=known is not None and not known.doubted)
        elif known.doubted:
            self._seen[what] = replace(known, doubted=False)

    def doubt(self) -> None:
        """Nothing was read for long: what has changed meanwhile may have done so at the break's beginning.

        So it counts as the first word does: a publisher is heard again once its number advances once more.
        """
        self._seen = {what: replace(one, advanced=False, doubted=True) for what, one in self._seen.items()}

    def since_change_ms(self, what: str, now_ms: int) -> int:
        """Since the present number was first seen here: a block begins when one learns of its cause."""
        seen = self._seen.get(what)
        return now_ms - seen.at_ms if seen is not None else 0

    def since_advance_ms(self, what: str, now_ms: int) -> int:
        """Since the number was seen to change. The first one seen may be a dead publisher's last: never."""
        seen = self._seen.get(what)
        return now_ms - seen.at_ms if seen is not None and seen.advanced else NEVER_MS
