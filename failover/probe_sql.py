"""One database host asked over connections that are kept open: can it be used, and how far is it?

A host is reachable when PostgreSQL itself answers a query in time. A primary must also write
(`failover.canary`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import psycopg2

from failover.canary import Canary, Limits, first_line
from failover.probe_lines import Lines, Patience, Row, Silent
from failover.publication import Detail
from failover.streaks import Probe
from failover.view import Reach, Role
from replication.disk_room import lack_at_login

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


class SqlProbe:
    """Probes one host; for one thread. `dsn` has no password in its text that is ever logged."""

    def __init__(
        self,
        dsn: str,
        clock_ms: Callable[[], int],
        limits: Limits | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._clock_ms = clock_ms
        self._limits = limits or Limits()
        self._lines = Lines(dsn, QUERY, clock_ms, patience or Patience())
        self._canary = Canary(dsn, clock_ms, self._limits)

    def probe(self) -> Probe:
        """Never raises: what went wrong is the outcome."""
        began, limit = self._clock_ms(), self._lines.limit_ms()
        try:
            row = self._lines.ask()
            outcome = outcome_of(row, began, self._clock_ms())
        except Silent as error:
            self._canary.close()
            return self._failed(began, limit, error)
        except (psycopg2.Error, OSError, ValueError) as error:
            self._lines.close()
            self._canary.close()
            return self._failed(began, limit, error)
        if outcome.role is not Role.PRIMARY:
            self._canary.close()
            return outcome
        return self._canary.judge(outcome)

    def _failed(self, began: int, limit: int, error: Exception) -> Probe:
        ended = self._clock_ms()
        if ended - began > limit + self._limits.starved_ms:
            return Probe(began, ended, Reach.UNKNOWN, detail=Detail("the observer was starved"))
        reach, why = reach_of(error)
        return Probe(began, ended, reach, detail=Detail(why))


def reach_of(error: Exception) -> tuple[Reach, str]:
    """What a failed probe says about the host, and why.

    Silence, a refusal, a server that starts or stops, or cannot open its files: unreachable. Anything else
    (a wrong password, no slot for one more connection) says more about us than about the host: unknown.
    """
    if isinstance(error, Silent):
        return Reach.UNREACHABLE, "silent"
    text = first_line(error)
    if (lack := lack_at_login(error)) is not None:
        return Reach.UNREACHABLE, lack
    if isinstance(error, OSError) or NOT_READY.search(str(error)):
        return Reach.UNREACHABLE, "refused" if "refused" in str(error) else text
    if "No route to host" in str(error) or "timed out" in str(error) or "unreachable" in str(error):
        return Reach.UNREACHABLE, "silent"
    return Reach.UNKNOWN, text


def outcome_of(row: Row, began_ms: int, ended_ms: int) -> Probe:
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
