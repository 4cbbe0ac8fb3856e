"""What a person who must decide is told besides: by the candidate's LSN ring, the lease, the tenders.

Each figure is asked for once, bounded in time; what does not answer is unknown, and said to be.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast
from urllib.request import urlopen

import psycopg2

from failover.config import Config
from failover.etcd_dcs import EtcdDcs
from failover.view import NotSeen, Prospect, View, Waiting
from replication.async_sql import answered

RING_S = 1.5
SQL_S, HOST_S = 3.0, 1.5  # for all hosts together, and for one of them
DATABASE = "procurement"
# The application's schema is its own; this is all that is known of it here. The next hour's deadlines.
DEADLINES = (
    "SET statement_timeout = '2s'; SELECT count(*) FROM procurement.tender "
    "WHERE NOT rehearsal AND deadline BETWEEN now() AND now() + interval '1 hour'"
)

Ring = Callable[[str], Mapping[str, Any] | None]
Due = Callable[[Config, Sequence[str]], int | None]


def ring_of(address: str) -> Mapping[str, Any] | None:
    """`GET /rpo` of one database host; None when it gave no answer in time."""
    from replication.layout import LSN_RING_PORT  # the topology's model is heavy, and not always needed

    try:
        with urlopen(f"http://{address}:{LSN_RING_PORT}/rpo", timeout=RING_S) as answer:
            document: Any = json.load(answer)
    except (OSError, ValueError):
        return None
    return cast(dict[str, Any], document) if isinstance(document, dict) else None


def deadlines(config: Config, hosts: Sequence[str]) -> int | None:
    """Tenders whose deadline falls within the next hour, by the first of these hosts that tells it in time.

    Asked over the observer's own role, for which `pg_hba.conf` has a line, and to which the application's
    migration grants these two columns. No process is started: a disk that hangs would stop it, and us.
    """
    end = time.monotonic() + SQL_S
    for host in hosts:
        limit_s = min(HOST_S, end - time.monotonic())
        if limit_s <= 0:
            return None
        with suppress(psycopg2.Error, OSError, TimeoutError):
            return _count(config.dsn(host, DATABASE), limit_s)
    return None


def _count(dsn: str, limit_s: float) -> int:
    """Raises psycopg2.Error, OSError or TimeoutError."""
    end = time.monotonic() + limit_s
    connection: Any = psycopg2.connect(dsn, async_=1)
    try:
        _wait(connection, end)
        cursor = connection.cursor()
        cursor.execute(DEADLINES)
        _wait(connection, end)
        return int(cursor.fetchone()[0])
    finally:
        with suppress(psycopg2.Error):
            connection.close()


def _wait(connection: Any, end: float) -> None:
    if not answered(connection, max(0.0, end - time.monotonic())):
        raise TimeoutError


def with_ring(prospect: Prospect, report: Mapping[str, Any] | None) -> Prospect:
    """The prospect with its time, if the candidate's ring tells of the same primary.

    The time runs until now: what the old primary has written since it was last seen is not in any
    position, but it is not older than the first byte that the candidate lacks, or than the last sight. So
    a candidate that lacked no byte then is given a time too, unless it is proved to lose nothing. The ring
    takes a sample a second: "about".
    """
    if prospect.proved or report is None or report.get("primary") != prospect.primary:
        return prospect
    exposed_s, age_s = report.get("exposed_seconds"), report.get("age_seconds")
    if not isinstance(exposed_s, int | float) or not isinstance(age_s, int | float):
        return prospect
    return replace(prospect, back_ms=round(1000 * max(exposed_s, age_s)))


def informed(
    view: View,
    config: Config,
    dcs: EtcdDcs,
    ring: Ring = ring_of,
    due: Due = deadlines,
) -> View:
    """The view with all that can be found out now, for people.

    The deadlines stand on every host that has the data: this one is asked first, then who may follow.
    """
    if isinstance(view.dcs, NotSeen):
        return view
    lock = view.dcs.lock
    prospects = tuple(
        one if one.proved else with_ring(one, ring(config.addresses[one.candidate])) for one in view.prospects
    )
    left = dcs.time_left_ms(lock.lease) if lock is not None else 0
    hosts = [host for host in (config.me, *(one.candidate for one in prospects)) if host in config.addresses]
    return replace(view, prospects=prospects, waiting=Waiting(left, due(config, list(dict.fromkeys(hosts)))))
