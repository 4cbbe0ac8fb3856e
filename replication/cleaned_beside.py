"""The winner of the race empties `/failover` beside its promotion, not before it.

Patroni 4.1 takes the lock, empties the offer, writes `/sync`, promotes: four steps, one after the other,
while nobody can write. Nothing rests on when the offer is emptied (who finds it there and holds the lock
empties it in the next loop), so it is done in a thread; on a busy computer that is 0.05 s of the promotion.

One function is wrapped, `AbstractDCS.manual_failover`. Only the winner calls it with two empty names and no
version: everybody else who empties `/failover` compares what stands there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread
from typing import Any

from replication.wrapping import wrap

SIGNATURE = ("self", "leader", "candidate", "scheduled_at", "version")

logger = logging.getLogger(__name__)


def manual_failover(original: Callable[..., bool]) -> Callable[..., bool]:
    """In its place, and calls it: at once, or in a thread for the winner, who does not look at the answer."""

    def write(self: Any, leader: Any, candidate: Any, scheduled_at: Any = None, version: Any = None) -> bool:
        if leader or candidate or scheduled_at or version is not None:
            return original(self, leader, candidate, scheduled_at, version)
        Thread(target=_quietly, args=(original, self), name="empties /failover", daemon=True).start()
        return True

    return write


def _quietly(original: Callable[..., bool], dcs: Any) -> None:
    try:
        emptied = original(dcs, "", "")
    except Exception:  # of Patroni's many kinds; the next loop empties it
        logger.exception("/failover was not emptied")
        return
    if not emptied:
        logger.warning("/failover was not emptied; the next loop does it")


def install() -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    from patroni.dcs import AbstractDCS  # pyright: ignore[reportMissingTypeStubs]

    wrap(AbstractDCS, "manual_failover", SIGNATURE, manual_failover)
