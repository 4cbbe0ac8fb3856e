"""What a person who must decide is told, found out beside the controller's turns: they never wait for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from failover.view import NotSeen, Prospect, View, Waiting

EVERY_MS = 5000
FORGET_MS = 20_000  # figures that are older say less than "unknown"


@dataclass
class Advisor:
    """`inform`: the view with all that can be found out; it may take seconds, and runs in a thread."""

    inform: Callable[[View], View]
    clock_ms: Callable[[], int]
    _known: tuple[tuple[Prospect, ...], Waiting] | None = None
    _known_ms: int = 0
    _asked_ms: int = field(default=-(10**9))
    _running: threading.Thread | None = None

    def advised(self, view: View) -> View:
        """The view with the last figures, if they are not too old; newer ones are on their way."""
        now = self.clock_ms()
        if now - self._asked_ms >= EVERY_MS and (self._running is None or not self._running.is_alive()):
            self._asked_ms = now
            self._running = threading.Thread(target=self._find_out, args=(view,), name="advisor", daemon=True)
            self._running.start()
        known = self._known
        if known is None or now - self._known_ms > FORGET_MS or isinstance(view.dcs, NotSeen):
            return view
        prospects = {one.candidate: one for one in known[0]}
        since_ms = now - self._known_ms
        return replace(
            view,
            prospects=tuple(
                _with_time(one, prospects.get(one.candidate), since_ms) for one in view.prospects
            ),
            waiting=known[1],
        )

    def _find_out(self, view: View) -> None:
        began = self.clock_ms()
        found = self.inform(view)
        self._known, self._known_ms = (found.prospects, found.waiting), began


def _with_time(one: Prospect, known: Prospect | None, since_ms: int) -> Prospect:
    """What is seen now, with the time that was found out, and what has passed since: it runs until now."""
    if known is None or known.back_ms is None or one.proved or one.primary != known.primary:
        return one
    return replace(one, back_ms=known.back_ms + since_ms)
