"""Who could take over, in which order, and what kind of move it would be."""

from __future__ import annotations

from failover.approvals import standing
from failover.policy import MoveKind
from failover.view import DcsState, Reach, Role, SyncSet, View
from failover.votes import fresh, votes


def received_lsn(view: View, host: str) -> int | None:
    """The highest position that a fresh observer saw on a standby; None when nobody saw one."""
    known = [lsn for seen in fresh(view) if (lsn := seen.of(host).received_lsn) is not None]
    return max(known, default=None)


def acknowledged_lsn(view: View, primary: str) -> int | None:
    """The highest position of this primary known to be flushed by its whole sync set. Old words count too.

    It only serves as a lower bound: every standby in /sync must have come at least so far. So the last
    word of an observer that is silent by now (the lost site's own) is worth as much as a fresh one.
    Another host's positions do not count: it may have been primary before a forced failover, which gave
    up what it had alone (for the same host the assembly forgets them: `signed_epoch`).
    """
    known = [lsn for one in view.observations if (lsn := one.of(primary).sync_lsn) is not None]
    return max(known, default=None)


def acknowledged_before(view: View) -> int | None:
    """The same of any primary that is remembered: for a leader of /sync that nobody has seen as the primary.

    It took /sync and fell silent before it was promoted, or before anybody looked. Whoever it named with
    itself then had what the primary before had flushed with its set. After a forced failover that can be too
    much: then nobody is found to have it, and the lease, or a person, decides.
    """
    known = [lsn for one in view.observations for seen in one.hosts if (lsn := seen.sync_lsn) is not None]
    return max(known, default=None)


def choose(view: View, dcs: DcsState) -> tuple[str, MoveKind] | None:
    """The sync standby that a person named; else the best: the old primary's own site first, else the
    highest received position.

    Whoever /sync names has every acknowledged commit; the position only saves replay, and the name
    breaks a tie so that two controllers choose the same one. None: no reachable sync standby.
    A host that two sites have missed for the whole window is not reachable, whatever its own site said last:
    when a site is lost, its observers' last words outlive it by `fresh_ms`.
    """
    old = last_primary(dcs)
    if old is None or dcs.sync is None:
        return None
    home = view.site_of(old)
    named, whole = standing(dcs), named_in(dcs.sync) - {old}
    if named is not None and named.candidate in whole:
        return named.candidate, kind_of(view, old, named.candidate)
    reachable = [name for name in whole if _is_reachable(view, name)]
    if not reachable:
        return None

    def rank(name: str) -> tuple[bool, int, str]:
        return (view.site_of(name) != home, -(received_lsn(view, name) or 0), name)

    best = min(reachable, key=rank)
    return best, kind_of(view, old, best)


def named_in(sync: SyncSet) -> frozenset[str]:
    """Who may be primary by /sync: its members, and its leader, who has what it has acknowledged itself."""
    return sync.members | {sync.leader}


def kind_of(view: View, old: str, candidate: str) -> MoveKind:
    """Raises KeyError for a host that `sites.yml` does not name."""
    return MoveKind.IN_SITE if view.site_of(candidate) == view.site_of(old) else MoveKind.CROSS_SITE


def last_primary(dcs: DcsState) -> str | None:
    """Who holds the lock; while it is free, who wrote /sync: the last one that held it and was primary."""
    if dcs.lock is not None:
        return dcs.lock.holder
    return dcs.sync.leader if dcs.sync is not None else None


def serves(view: View, host: str) -> bool:
    """Whether a site reaches it, and an observer uses it as a primary: to hold the lock is not to serve."""
    seen = [one.of(host) for one in fresh(view)]
    used = any(one.reach is Reach.REACHABLE and one.role is Role.PRIMARY for one in seen)
    return used and Reach.REACHABLE in votes(view, host).values()


def _is_reachable(view: View, host: str) -> bool:
    ballot = list(votes(view, host).values())
    return Reach.REACHABLE in ballot and ballot.count(Reach.UNREACHABLE) < 2
