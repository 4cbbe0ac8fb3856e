"""What the gatekeeper of an application host should do now. Pure; time is given.

A gatekeeper stands beside HAProxy and PgBouncer. It *steers*: as soon as etcd says who holds the lock, the
other database hosts are closed to clients here, their sessions are cut, and the holder is opened once it
accepts writes. HAProxy need not wait for its own checks to time out, and an old primary that wakes up
and still believes in itself gets no client. It *holds*: new transactions wait while a planned handover is
under way, and while a new holder of the lock is still being promoted. Patroni calls a host primary some
tenths of a second before it can write: clients that were let in then would only be sent away.

It can only save time. When it does not see etcd for a while, or ends, it opens every host again and lets
every transaction go, and HAProxy's own checks decide alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from failover.handover import Handover

BLIND_MS = 10_000  # etcd was not read for so long: nothing is known any more
ARRIVAL_MS = 5_000  # a new holder that has not accepted writes by then is left to HAProxy's own checks
LONG_AGO_MS = -(10**9)


@dataclass(frozen=True, slots=True)
class Sight:
    """What etcd said when it was last read. `holder`: of Patroni's lock, None while it is free."""

    holder: str | None
    handover: Handover | None
    at_ms: int  # when that read began, on the gatekeeper's monotonic clock


@dataclass(frozen=True, slots=True)
class Steering:
    """`closed`: hosts that get no client. `open`: the host whose clients are let in once it accepts writes.

    `since_ms`: when the lock was seen to have moved to it; long ago if it was the first that was seen.
    """

    open: str | None
    closed: frozenset[str]
    since_ms: int = LONG_AGO_MS

    @property
    def arriving(self) -> bool:
        """Whether the new holder is not let in yet."""
        return self.open in self.closed


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that is obeyed, and since when."""

    id: str
    since_ms: int


OPEN_ALL = Steering(None, frozenset())


def steering(
    sight: Sight | None, hosts: frozenset[str], before: Steering, now_ms: int, arrived: str | None = None
) -> Steering:
    """Close all but the lock's holder, and that one too until it has `arrived`: until it accepts writes.

    The first holder that is seen is open at once: clients may be at work there. While the lock is free
    nothing changes: the last holder is closed as soon as there is another. A holder that `hosts` does not
    know, or no sight: all open.
    """
    if sight is None or now_ms - sight.at_ms > BLIND_MS:
        return OPEN_ALL
    if sight.holder is None:
        return before
    if sight.holder not in hosts:
        return OPEN_ALL
    moved = before.open not in (None, sight.holder)
    since_ms = now_ms if moved else before.since_ms
    arriving = arrived != sight.holder and now_ms - since_ms < ARRIVAL_MS
    return Steering(sight.holder, hosts if arriving else hosts - {sight.holder}, since_ms)


def holding(
    sight: Sight | None, before: Hold | None, spent: frozenset[str], now_ms: int, laid: Steering
) -> Hold | None:
    """The hold to obey now, if any: that of a handover in etcd, or one of our own for an arrival.

    A handover's hold ends when its candidate has arrived; nothing is waited for any longer.
    `spent`: holds that ran over their limit here; such a one is never obeyed again. Without sight of
    etcd a hold goes on to its own limit: its reason may well be that the primary is being changed.
    """
    wanted = sight.handover if sight else None
    arrival = f"arrival {laid.open} {laid.since_ms}" if laid.arriving else None
    if before is not None and before.id == arrival:
        return before
    if before is not None:
        over = wanted is None or wanted.id != before.id or now_ms - before.since_ms >= wanted.limit_ms
        if over or (wanted is not None and wanted.candidate == laid.open and not laid.arriving):
            return None
        return before
    if wanted is not None and wanted.id not in spent and wanted.candidate != laid.open:
        return Hold(wanted.id, now_ms)
    return None if arrival is None else Hold(arrival, now_ms)
