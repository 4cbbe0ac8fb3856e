"""The offer's candidate, when it has won the race, empties `/failover` beside its promotion, not before it.

Patroni 4.1 takes the lock, empties the offer, writes `/sync`, promotes: four steps, one after the other,
while nobody can write. For the candidate nothing rests on when the offer is emptied: if it finds it in its
next loop and holds the lock, it empties it then. So it is done in a thread; on a busy computer that is 0.05 s
of the promotion.

Only the candidate. A primary that was missed by mistake and takes its lock back is whom the offer *names as
the one that hands over*: should its next loop find the offer, it would hand over in good order, and a false
alarm would be a real handover. It waits for the write, as Patroni has it; so does whoever else won.

The write in the thread compares the offer's version: one that is late does not erase a newer offer.

One function is wrapped, `AbstractDCS.manual_failover`. Only the winner calls it with two empty names and no
version: everybody else who empties `/failover` compares what stands there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Thread
from typing import Any

from replication.mends.wrapping import wrap

SIGNATURE = ("self", "leader", "candidate", "scheduled_at", "version")

logger = logging.getLogger(__name__)


def manual_failover(original: Callable[..., bool]) -> Callable[..., bool]:
    """In its place, and calls it: at once, or in a thread for the candidate, who does not use the answer."""

    def write(self: Any, leader: Any, candidate: Any, scheduled_at: Any = None, version: Any = None) -> bool:
        if leader or candidate or scheduled_at or version is not None:
            return original(self, leader, candidate, scheduled_at, version)
        offer = _offer(self)
        if offer is None or offer.candidate != self._name:
            return original(self, leader, candidate)
        Thread(
            target=_quietly, args=(original, self, offer.version), name="empties /failover", daemon=True
        ).start()
        return True

    return write


def _offer(dcs: Any) -> Any:
    """What was read last; None: nothing is offered, or what was read is too old to say."""
    cluster = dcs.cluster
    return None if cluster is None else cluster.failover


def _quietly(original: Callable[..., bool], dcs: Any, version: Any) -> None:
    try:
        emptied = original(dcs, "", "", None, version)
    except Exception:  # of Patroni's many kinds; the next loop empties it
        logger.exception("/failover was not emptied")
        return
    if not emptied:
        logger.warning("/failover was not emptied; the next loop looks at what stands there")


def install() -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    from patroni.dcs import AbstractDCS  # pyright: ignore[reportMissingTypeStubs]

    wrap(AbstractDCS, "manual_failover", SIGNATURE, manual_failover)
