"""One database host asked over one connection that is kept open: can it be used, and how far is it?

A host is reachable when PostgreSQL itself answers a query in time. A primary must also commit: a tiny
transaction of its own WAL message, flushed locally (`synchronous_commit = local`), about twice a second, so
that a disk that hangs is seen, and a standby that is gone is not mistaken for it. A primary that cannot
commit is unreachable since that commit began. A checkpoint or a slow flush of less than two seconds is not.
"""

from __future__ import annotations

import re
import select
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import psycopg2
import psycopg2.extensions as pg

from failover.publication import Detail
from failover.streaks import Probe
from failover.view import Reach, Role

QUERY = """
SELECT pg_is_in_recovery(),
       CASE WHEN pg_is_in_recovery()
            THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) ELSE pg_current_wal_flush_lsn()
       END - '0/0'::pg_lsn,
       pg_last_wal_replay_lsn() - '0/0'::pg_lsn,
       count(flush_lsn), min(flush_lsn) - '0/0'::pg_lsn, current_setting('synchronous_standby_names')
  FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum') AND state = 'streaming'
"""
CANARY = "SELECT pg_logical_emit_message(true, 'hanbat', '')"
# What a server says that is there and cannot be used, now.
NOT_READY = re.compile(
    r"starting up|shutting down|not yet accepting|in recovery mode|not accepting connections"
    r"|Connection refused|terminating connection|server closed the connection"
)


class Silent(Exception):
    """No answer in time."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one probe. `starved_ms`: a probe that took so much longer than its limit says nothing."""

    answer_ms: int = 350
    connect_ms: int = 700  # with the first answer: a new connection costs the server a process
    starved_ms: int = 400
    commit_every_ms: int = 1000
    commit_ms: int = 2000  # a canary commit under way for longer: the primary cannot commit
    gap_ms: int = 1000  # between two looks at it: for longer nobody looked, and the count begins anew


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
        if self._connection is None:
            self._connection = psycopg2.connect(self._dsn, async_=1)
            wait(self._connection, end_ms, self._clock_ms)
        cursor: Any = self._connection.cursor()
        cursor.execute(QUERY)
        wait(self._connection, end_ms, self._clock_ms)
        row = cursor.fetchone()
        cursor.close()
        return tuple(row)

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


class Canary:
    """A commit on the primary now and then, watched without waiting for it."""

    def __init__(self, dsn: str, clock_ms: Callable[[], int], limits: Limits) -> None:
        self._dsn = dsn
        self._clock_ms = clock_ms
        self._limits = limits
        self._connection: Any = None
        self._cursor: Any = None  # psycopg2 needs it until the answer is there
        self._connected = False
        self._began: int | None = None
        self._looked = 0
        self._ended = 0
        self._took: int | None = None

    def judge(self, probe: Probe) -> Probe:
        """The probe, unreachable if a commit has been under way for too long."""
        try:
            self._step()
        except (psycopg2.Error, OSError) as error:
            self.close()
            return replace(probe, detail=replace(probe.detail, why=f"canary: {first_line(error)}"))
        if self._began is not None and self._clock_ms() - self._began > self._limits.commit_ms:
            detail = replace(probe.detail, why="it answers and cannot commit")
            return replace(probe, reach=Reach.UNREACHABLE, since_ms=self._began, detail=detail)
        return replace(probe, detail=replace(probe.detail, commit_ms=self._took))

    def _step(self) -> None:
        now = self._clock_ms()
        slept, self._looked = now - self._looked > self._limits.gap_ms, now
        if self._connection is None:
            self._connection = psycopg2.connect(self._dsn, async_=1)
            self._began = now
            self._connected = False
        if self._began is None:
            if now - self._ended < self._limits.commit_every_ms:
                return
            self._began = now
            self._cursor = self._connection.cursor()
            self._cursor.execute(CANARY)
        if not ready(self._connection):
            self._began = now if slept else self._began
            return
        if not self._connected:
            self._connected = True
        else:
            self._took = now - self._began
        self._began, self._ended = None, now

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._began, self._took = None, None


def ready(connection: Any) -> bool:
    """One look, without waiting. Raises psycopg2.Error."""
    for _ in range(20):
        state = connection.poll()
        if state == pg.POLL_OK:
            return True
        reading = [connection.fileno()] if state == pg.POLL_READ else []
        writing = [connection.fileno()] if state == pg.POLL_WRITE else []
        if not any(select.select(reading, writing, [], 0)):
            return False
    return False


def wait(connection: Any, end_ms: int, clock_ms: Callable[[], int]) -> None:
    """Until the connection has its answer. Raises Silent or psycopg2.Error."""
    while True:
        state = connection.poll()
        if state == pg.POLL_OK:
            return
        left_s = (end_ms - clock_ms()) / 1000
        reading = [connection.fileno()] if state == pg.POLL_READ else []
        writing = [connection.fileno()] if state == pg.POLL_WRITE else []
        if left_s <= 0 or not any(select.select(reading, writing, [], left_s)):
            raise Silent("no answer in time")


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


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def outcome_of(row: tuple[Any, ...], began_ms: int, ended_ms: int) -> Probe:
    """A row of QUERY. `sync_lsn` only when every standby that a commit waits for is connected."""
    standby, lsn, replayed, number, flushed, names = row
    if standby:
        detail = Detail(replayed_lsn=_whole(replayed))
        return Probe(began_ms, ended_ms, Reach.REACHABLE, Role.STANDBY, _whole(lsn), detail=detail)
    whole = number > 0 and number >= waits_for(str(names))
    sync_lsn = _whole(flushed) if whole else None
    detail = Detail(primary_lsn=_whole(lsn))
    return Probe(began_ms, ended_ms, Reach.REACHABLE, Role.PRIMARY, sync_lsn=sync_lsn, detail=detail)


def waits_for(names: str) -> int:
    """How many standbys `synchronous_standby_names` asks for; 0 when it is empty."""
    counted = re.match(r"\s*(?:FIRST\s+|ANY\s+)?(\d+)\s*\(", names, re.IGNORECASE)
    if counted:
        return int(counted.group(1))
    return 1 if names.strip() else 0


def _whole(value: Any) -> int | None:
    return None if value is None else int(value)
