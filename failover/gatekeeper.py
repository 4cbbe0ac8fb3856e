"""What the gatekeeper of an application host should do now. Pure; time is given.

A gatekeeper stands beside HAProxy and PgBouncer. It *steers*: as soon as etcd says who holds the lock, the
other database hosts are closed to clients here, their sessions are cut, and the holder is opened once it
answers as primary. HAProxy need not wait for its own checks to time out, and an old primary that wakes up
and still believes in itself gets no client. It *holds*: new transactions wait while a planned handover is
under way.

It can only save time. When it does not see etcd for a while, or ends, it opens every host again and lets
every transaction go, and HAProxy's own checks decide alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from failover.handover import Handover

BLIND_MS = 10_000  # etcd was not read for so long: nothing is known any more


@dataclass(frozen=True, slots=True)
class Sight:
    """What etcd said when it was last read. `holder`: of Patroni's lock, None while it is free."""

    holder: str | None
    handover: Handover | None
    at_ms: int  # when that read began, on the gatekeeper's monotonic clock


@dataclass(frozen=True, slots=True)
class Steering:
    """`closed`: hosts that get no client. `open`: the host whose answer as primary is waited for."""

    open: str | None
    closed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that is obeyed, and since when."""

    id: str
    since_ms: int


OPEN_ALL = Steering(None, frozenset())


def steering(sight: Sight | None, hosts: frozenset[str], before: Steering, now_ms: int) -> Steering:
    """Close all but the lock's holder. While the lock is free nothing changes: the last holder is closed
    as soon as there is another. A holder that `hosts` does not know, or no sight: all open.
    """
    if sight is None or now_ms - sight.at_ms > BLIND_MS:
        return OPEN_ALL
    if sight.holder is None:
        return before
    if sight.holder not in hosts:
        return OPEN_ALL
    return Steering(sight.holder, hosts - {sight.holder})


def holding(
    sight: Sight | None, before: Hold | None, spent: frozenset[str], now_ms: int, arrived: str | None = None
) -> Hold | None:
    """The hold to obey now, if any.

    `arrived`: the host that holds the lock and answers as primary. When that is the hold's candidate, the
    handover has happened, and nothing is waited for any longer.
    `spent`: holds that ran over their limit here; such a one is never obeyed again. Without sight of
    etcd a hold goes on to its own limit: its reason may well be that the primary is being changed.
    """
    wanted = sight.handover if sight else None
    if before is not None:
        over = wanted is None or wanted.id != before.id or now_ms - before.since_ms >= wanted.limit_ms
        if over or (wanted is not None and wanted.candidate == arrived):
            return None
        return before
    if wanted is None or wanted.id in spent:
        return None
    return Hold(wanted.id, now_ms)
