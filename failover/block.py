"""How long after an operation the next takeover waits, so that the primary does not move to and fro.

What flaps is a primary that comes back to whom it left. A takeover that is done is mostly a true loss: a
primary that lives, and reaches etcd, mostly takes its lock back. So when the new one is lost as well, and
another than the one before is to follow, nothing is waited for; that other one had to join the new primary's
sync set first.

After an attempt that came to nothing the wait is short (`Policy.retry_ms`): the primary has its lock back,
and a true loss right behind a false alarm is as long an outage as any other. Where the candidate had the lock
and is missed itself, a third host does not wait: the primary does not have its lock back, and this silence
is a loss of its own.
"""

from __future__ import annotations

from failover.policy import Policy
from failover.view import Move, Operation, Phase


def wait_ms(last: Operation, old: str | None, candidate: str, policy: Policy) -> int:
    """How long after the end of `last` a takeover from `old` by `candidate` may begin."""
    before = done_before(last)
    onward = before is None or (old == before.candidate and candidate != before.old)
    if not onward:
        return policy.block_ms
    return 0 if lost_holding(last, old, candidate) else retry_ms(last, policy)


def lost_holding(last: Operation, old: str | None, candidate: str) -> bool:
    """Whether a third host would follow the candidate of an attempt that ended when that one had the lock."""
    had_it = last.phase is Phase.ABORTED and last.note.startswith(Phase.REVOKED)
    return had_it and old == last.candidate and candidate != last.old


def retry_ms(last: Operation, policy: Policy) -> int:
    """The same where nothing would be undone: a pause only after an attempt that came to nothing."""
    changed_nothing = last.phase is Phase.ABORTED and last.note.startswith(Phase.INTENDED)
    if last.phase is Phase.DONE or changed_nothing:
        return 0
    return min(policy.retry_ms, policy.block_ms)


def followed(last: Operation | None, age_ms: int, policy: Policy) -> Move | None:
    """What an intent that is written now must remember: whether it ends well or badly, this still holds.

    `age_ms`: since `last` ended. None: the block period of the last takeover is over.
    """
    return done_before(last) if last is not None and age_ms < policy.block_ms else None


def done_before(last: Operation) -> Move | None:
    """The last takeover that was done: this one, or the one that this attempt followed."""
    return Move(last.old, last.candidate) if last.phase is Phase.DONE else last.after
