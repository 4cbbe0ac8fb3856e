"""What a takeover does beyond the DCS.

Routing and old sessions need nothing here: the gatekeeper of each application host follows the lock in etcd
by itself, opens the new primary and cuts the sessions to the old one (ADR 7). What is left is to tell people.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from failover.commands import HELD, NO_PROOF, WAITS

QUIET_MS = 5000  # the same words again only after so long
PATIENCE_MS = 1500  # what holds a takeover up may be over in a second: then nobody is called
PATIENT = (NO_PROOF, WAITS, HELD)

logger = logging.getLogger("effects")


class Journal:
    """`failover.executor.Effects`: everything goes to the journal."""

    def __init__(self, clock_ms: Callable[[], int]) -> None:
        self._clock_ms = clock_ms
        self._told: dict[str, int] = {}
        self._heard: dict[str, tuple[int, int]] = {}  # topic -> when it began, when it was last said

    def tell(self, text: str, *, urgent: bool) -> None:
        topic, now = text.split(":")[0], self._clock_ms()
        began, heard = self._heard.get(topic, (now, now))
        began = began if now - heard < PATIENCE_MS else now
        self._heard[topic] = (began, now)
        if topic in PATIENT and now - began < PATIENCE_MS:
            return
        last = self._told.get(topic)
        if last is not None and now - last < QUIET_MS:
            return
        self._told[topic] = now
        logger.log(logging.ERROR if urgent else logging.WARNING, "%s", text)
