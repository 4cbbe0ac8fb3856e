"""One database host asked over one connection that is kept open: can it be used, and how far is it?

A host is reachable when PostgreSQL itself answers a query in time. A primary must also write
(`failover.canary`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg2

from failover.canary import Canary, Limits, first_line
from failover.publication import Detail
from failover.streaks import Probe
from failover.view import Reach, Role
from replication.async_sql import answered, reached

QUERY = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery()
            THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_flush_lsn()
       END - '0/0'::pg_lsn,
       pg_last_wal_replay_lsn() - '0/0'::pg_lsn,
       count(flush_lsn), min(flush_lsn) - '0/0'::pg_lsn, current_setting('synchronous_standby_names'),
       CASE WHEN pg_is_in_recovery() THEN pg_snapshot_xmin(pg_current_snapshot())
            ELSE pg_snapshot_xmax(pg_current_snapshot()) END::text::bigint
  FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum') AND state = 'streaming'
"""
# What a server says that is there and cannot be used, now.
NOT_READY = re.compile(
    r"starting up|shutting down|not yet accepting|in recovery mode|not accepting connections"
    r"|Connection refused|terminating connection|server closed the connection"
)


class Silent(Exception):
    """No answer in time."""


class SqlProbe:
    """Probes one host; for one thread. `dsn` has no password in its text that is ever logged."""

    def __init__(self, dsn: str, clock_ms: Callable[[], int], limits: Limits | None = None) -> None:
        self._dsn = dsn
        self._clock_ms = clock_ms
        self._limits = limits or Limits()
        self._connection: Any = None
        self._canary = Canary(dsn, clock_ms, self._limits)

    def probe(self) -> Probe:
        """Never raises: what went wrong is the outcome."""
        began = self._clock_ms()
        limit = self._limits.answer_ms if self._connection is not None else self._limits.connect_ms
        try:
            row = self._ask(began + limit)
        except (psycopg2.Error, Silent, OSError, ValueError) as error:
            self._close()
            self._canary.close()
            return self._failed(began, limit, error)
        outcome = outcome_of(row, began, self._clock_ms())
        if outcome.role is not Role.PRIMARY:
            self._canary.close()
            return outcome
        return self._canary.judge(outcome)

    def _ask(self, end_ms: int) -> tuple[Any, ...]:
        connection = self._connection if self._connection is not None else self._connected(end_ms)
        cursor: Any = connection.cursor()
        cursor.execute(QUERY)
        self._wait(end_ms)
        row = cursor.fetchone()
        cursor.close()
        return tuple(row)

    def _connected(self, end_ms: int) -> Any:
        """TCP sends a first packet that was lost again after a whole second. A host that was cut off for a
        moment would be silent for much longer than it was: so what has not reached it soon is begun anew.
        """
        for attempt_ms in (*self._limits.attempts_ms, self._limits.connect_ms):
            self._connection = psycopg2.connect(self._dsn, async_=1)
            left_ms = end_ms - self._clock_ms()
            if reached(self._connection, min(attempt_ms, left_ms) / 1000):
                self._wait(end_ms)
                return self._connection
            self._close()
            if self._clock_ms() >= end_ms:
                break
        raise Silent("no answer in time")

    def _wait(self, end_ms: int) -> None:
        if not answered(self._connection, (end_ms - self._clock_ms()) / 1000):
            raise Silent("no answer in time")

    def _failed(self, began: int, limit: int, error: Exception) -> Probe:
        ended = self._clock_ms()
        if ended - began > limit + self._limits.starved_ms:
            return Probe(began, ended, Reach.UNKNOWN, detail=Detail("the observer was starved"))
        reach, why = reach_of(error)
        return Probe(began, ended, reach, detail=Detail(why))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def reach_of(error: Exception) -> tuple[Reach, str]:
    """What a failed probe says about the host, and why.

    Silence, a refusal, and a server that starts or stops: unreachable. Anything else (a password that
    is wrong, no slot for one more connection) says more about us than about the host: unknown.
    """
    if isinstance(error, Silent):
        return Reach.UNREACHABLE, "silent"
    text = first_line(error)
    if isinstance(error, OSError) or NOT_READY.search(str(error)):
        return Reach.UNREACHABLE, "refused" if "refused" in str(error) else text
    if "No route to host" in str(error) or "timed out" in str(error) or "unreachable" in str(error):
        return Reach.UNREACHABLE, "silent"
    return Reach.UNKNOWN, text


def outcome_of(row: tuple[Any, ...], began_ms: int, ended_ms: int) -> Probe:
    """A row of QUERY. `sync_lsn` only when every standby that a commit waits for is connected."""
    standby, lsn, replayed, number, flushed, names, xid = row
    if standby:
        detail = Detail(replayed_lsn=_whole(replayed), xid=_whole(xid))
        return Probe(began_ms, ended_ms, Reach.REACHABLE, Role.STANDBY, _whole(lsn), detail=detail)
    whole = number > 0 and number >= waits_for(str(names))
    sync_lsn = _whole(flushed) if whole else None
    detail = Detail(primary_lsn=_whole(lsn), xid=_whole(xid))
    return Probe(began_ms, ended_ms, Reach.REACHABLE, Role.PRIMARY, sync_lsn=sync_lsn, detail=detail)


def waits_for(names: str) -> int:
    """How many standbys `synchronous_standby_names` asks for; 0 when it is empty."""
    counted = re.match(r"\s*(?:FIRST\s+|ANY\s+)?(\d+)\s*\(", names, re.IGNORECASE)
    if counted:
        return int(counted.group(1))
    return 1 if names.strip() else 0


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
