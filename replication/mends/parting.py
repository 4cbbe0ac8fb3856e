"""A kept member streams from the candidate as soon as the old primary has ended (ADR 9).

Before the handover, so that it follows the new history at once, and has nothing that the candidate does not
have. Not while the old primary still streams: transactions are under way that wait for it. The old primary
ends when its standbys have all its WAL, and its Patroni gives the lock back a moment later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import psycopg2

from replication.local_sql import Local
from replication.mends.kept_offer import OFFERS, Offers
from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

LIMIT_S = 15.0
LOOK_S = 0.04
NUDGES = 10
NUDGE = "SELECT pg_reload_conf()"
STREAMS = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"


class Parting:
    """`watched`: the offer whose old primary is waited for to end. `parted`: the one whose has ended."""

    def __init__(self, offers: Offers) -> None:
        self.offers = offers
        self.watched: Any = None
        self.parted: Any = None


def look_for_the_end(ha: Any, parting: Parting, beside: Callable[[Callable[[], None]], None]) -> None:
    """While an offer stands that keeps this member, look for the end of its stream from the old primary."""
    offer = ha.cluster.failover if ha.cluster else None
    if offer is None or offer.version == parting.watched or ha.state_handler.role != "replica":
        return
    if ha.state_handler.name.lower() in parting.offers.kept_by(offer):
        parting.watched = offer.version
        beside(lambda: until_parted(ha.wakeup, parting, offer.version, time.sleep, time.monotonic))


def until_parted(
    wakeup: Callable[[], None],
    parting: Parting,
    version: Any,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
    new: Callable[[], Local] = Local,
) -> None:
    """Wake Patroni once nothing streams to here; ends with the offer, and after LIMIT_S.

    Patroni then names the candidate to PostgreSQL, which may have just begun to wait before it tries the old
    primary again (`wal_retrieve_retry_interval`, 1 s). To be told once more ends that wait.
    """
    local, end_s = new(), clock() + LIMIT_S
    try:
        while parting.offers.last.version == version and clock() < end_s:
            if not local.ask(STREAMS):
                parting.parted = version
                wakeup()
                return nudged(local, sleep)
            sleep(LOOK_S)
    except (psycopg2.Error, TimeoutError):
        logger.exception("the end of the old primary is not looked for: not kept")
    finally:
        local.close()


def nudged(local: Local, sleep: Callable[[float], None]) -> None:
    """Tell PostgreSQL to read its settings until something streams to here again, NUDGES times at most."""
    for _ in range(NUDGES):
        sleep(LOOK_S)
        if local.ask(STREAMS):
            return
        local.ask(NUDGE)


def _beside(work: Callable[[], None]) -> None:
    Thread(target=work, name="looks for the end of the old primary", daemon=True).start()


def touch_member(original: Callable[[Any], bool], parting: Parting) -> Callable[[Any], bool]:
    """In the place of the function of that name, which each loop calls."""

    def touch(self: Any) -> bool:
        try:
            look_for_the_end(self, parting, _beside)
        except Exception:  # of Patroni's many kinds
            logger.exception("the end of the old primary is not looked for")
        return original(self)

    return touch


def node_to_follow(original: Callable[[Any, Any], Any], parting: Parting) -> Callable[[Any, Any], Any]:
    """In the place of `_get_node_to_follow`: a kept member streams from the candidate of a standing offer."""

    def _get_node_to_follow(self: Any, cluster: Any) -> Any:
        return original(self, _as_if_handed_over(self, cluster, parting) or cluster)

    return _get_node_to_follow


def _as_if_handed_over(ha: Any, cluster: Any, parting: Parting) -> Any:
    """The cluster with the candidate as its leader, None where this member is not one that is kept."""
    offer, holder = cluster.failover, cluster.leader and cluster.leader.name
    mine = ha.state_handler.name
    if mine.lower() not in parting.offers.kept_by(offer) or offer.version != parting.parted:
        return None
    if mine in (offer.leader, offer.candidate) or (holder and holder != offer.leader):
        return None
    candidate = cluster.get_member(offer.candidate, False)
    if candidate is None:
        return None
    leader = cluster.leader
    changed = leader._replace(member=candidate) if leader else _leader(candidate)
    return type(cluster)(**{**cluster._asdict(), "leader": changed})


def _leader(member: Any) -> Any:
    from patroni.dcs import Leader  # pyright: ignore[reportMissingTypeStubs]

    return Leader("", None, member)


def install(offers: Offers = OFFERS) -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `ha` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]

    parting = Parting(offers)
    wrap(Ha, "touch_member", ("self",), lambda original: touch_member(original, parting))
    wrap(Ha, "_get_node_to_follow", ("self", "cluster"), lambda original: node_to_follow(original, parting))
