"""Who could take over, in which order, and what kind of move it would be."""

from __future__ import annotations

from failover.policy import MoveKind
from failover.view import DcsState, Reach, View
from failover.votes import fresh, votes


def received_lsn(view: View, host: str) -> int | None:
    """The highest position that a fresh observer saw on a standby; None when nobody saw one."""
    known = [lsn for seen in fresh(view) if (lsn := seen.of(host).received_lsn) is not None]
    return max(known, default=None)


def acknowledged_lsn(view: View) -> int | None:
    """The highest position known to be flushed by a whole sync set. Old observations count too.

    It only serves as a lower bound: every standby in /sync must have come at least so far. So the last
    word of an observer that is silent by now (the lost site's own) is worth as much as a fresh one.
    """
    known = [seen.sync_lsn for one in view.observations for seen in one.hosts if seen.sync_lsn is not None]
    return max(known, default=None)


def choose(view: View, dcs: DcsState) -> tuple[str, MoveKind] | None:
    """The best sync standby: the old primary's own site first, else the highest received position.

    Any member of /sync has every acknowledged commit; the position only saves replay, and the name
    breaks a tie so that two controllers choose the same one. None: no reachable sync standby.
    """
    if dcs.lock is None or dcs.sync is None:
        return None
    home = view.site_of(dcs.lock.holder)
    reachable = [
        name
        for name in dcs.sync.members
        if name != dcs.lock.holder and Reach.REACHABLE in votes(view, name).values()
    ]
    if not reachable:
        return None

    def rank(name: str) -> tuple[bool, int, str]:
        return (view.site_of(name) != home, -(received_lsn(view, name) or 0), name)

    best = min(reachable, key=rank)
    return best, MoveKind.IN_SITE if view.site_of(best) == home else MoveKind.CROSS_SITE
