"""Whether a person's yes stands for the takeover that would be made now."""

from __future__ import annotations

from failover.view import Approval, DcsState


def standing(dcs: DcsState) -> Approval | None:
    """The approval, if it is for the present lock; or, the lock being free, for the last primary.

    An approval given while the lock was held goes on standing when its lease runs out: it is the same
    primary that is to be replaced. A lock taken anew, by whomever, needs a new one.
    """
    given, lock, sync = dcs.approval, dcs.lock, dcs.sync
    if given is None:
        return None
    if lock is not None:
        return given if (lock.revision, lock.holder) == (given.lock_revision, given.old) else None
    return given if sync is not None and sync.leader == given.old else None
