"""Can a primary that answers still write? Two small transactions a second, watched without waiting for it.

It adds a few pages to a temporary table (`replication.disk_room`) and commits a WAL message of its own,
flushed locally (`synchronous_commit = local`), so that a standby that is gone is not mistaken for a disk.

- A transaction under way for more than a second and a half: the disk hangs. The primary is unreachable since
  that transaction began. A checkpoint or a slow flush of less is no failure.
- The server refuses it twice in a row because a file cannot be extended, or not even opened for a new
  session: the disk is full, broken, or has become read-only. The primary is unreachable since the first
  refusal. Once is not enough: a large sort may fill a disk for a moment.

Where the table cannot be made for another reason (a privilege is missing), the commit alone is tried for a
minute, then all of it again; `why` says so meanwhile. What goes wrong is logged when it changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import psycopg2
import psycopg2.extensions as pg

from failover.streaks import Probe
from failover.view import Reach
from replication.async_sql import answered
from replication.disk_room import CREATE, EXTEND, lack_at_login, lack_of

COMMIT = "SELECT pg_logical_emit_message(true, 'hanbat', '')"

logger = logging.getLogger("observer")


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one probe. `starved_ms`: a probe that took so much longer than its limit says nothing."""

    starved_ms: int = 400
    commit_every_ms: int = 500
    commit_ms: int = 1500  # a canary commit under way for longer: the primary cannot commit
    gap_ms: int = 1000  # between two looks at it: for longer nobody looked, and the count begins anew
    refused_every_ms: int = 200  # from try to try while the server refuses: at each look (every 0.25 s)
    refusals: int = 2  # so many in a row: the primary cannot extend a file
    hurried: int = 20  # so many refusals are quick; a disk that stays full is asked at the usual pace
    renew_ms: int = 3_600_000  # a session's age: see replication.disk_room
    plain_ms: int = 60_000  # the same, of one in which only the commit is tried


@dataclass(frozen=True, slots=True)
class Refusals:
    """Tries in a row that the server refused for want of room. `since_ms`: when the first of them began."""

    since_ms: int
    tries: int
    why: str

    def judge(self, probe: Probe, enough: int) -> Probe:
        """The probe in their light.

        Meanwhile the primary goes on acknowledging what needs no room. From the first refusal on its sync
        position is not taken any more, as with a mute Patroni (`probe_patroni.judged`).
        """
        told = replace(probe, sync_lsn=None, detail=replace(probe.detail, why=self.why))
        if self.tries < enough:
            return told
        return replace(told, reach=Reach.UNREACHABLE, since_ms=self.since_ms)


def refused(before: Refusals | None, began_ms: int, why: str) -> Refusals:
    """After one more refusal."""
    if before is None:
        return Refusals(began_ms, 1, why)
    return Refusals(before.since_ms, before.tries + 1, why)


class Canary:
    """The transaction of one primary, on a connection of its own; for one thread."""

    def __init__(self, dsn: str, clock_ms: Callable[[], int], limits: Limits) -> None:
        self._dsn = dsn
        self._clock_ms = clock_ms
        self._limits = limits
        self._connection: Any = None
        self._where = pg.parse_dsn(dsn).get("host", "")
        self._looked = 0
        self._plain = ""  # why no temporary table can be made: then only the commit is tried
        self._noted = ""  # the last trouble that was logged
        self._drop()

    def judge(self, probe: Probe) -> Probe:
        """The probe, unreachable if the primary cannot write."""
        try:
            self._step()
        except (psycopg2.Error, OSError) as error:
            why = self._stumbled(error)
            return replace(probe, detail=replace(probe.detail, why=why))
        began, refusals = self._began, self._refusals
        if began is not None and self._clock_ms() - began > self._limits.commit_ms:
            detail = replace(probe.detail, why="it answers and cannot commit")
            since = refusals.since_ms if refusals else began
            return replace(probe, reach=Reach.UNREACHABLE, since_ms=since, detail=detail)
        if refusals is not None:
            return refusals.judge(probe, self._limits.refusals)
        return replace(probe, detail=replace(probe.detail, commit_ms=self._took, why=self._plain))

    def _stumbled(self, error: Exception) -> str:
        """It could not be tried, or was refused for what says nothing about the disk: begin anew."""
        why = f"canary: {first_line(error)}"
        told = not isinstance(error, (psycopg2.OperationalError, OSError))
        if self._connected and not self._made and not self._plain and told:
            why = self._plain = f"only commits are tried, no file is extended: {first_line(error)}"
        self._note(why)
        self._drop()
        return why

    def _note(self, trouble: str) -> None:
        """Logged when it changes; "": there is none any more."""
        if trouble != self._noted:
            logger.warning("primary at %s: %s", self._where, trouble or "can be written to again")
        self._noted = trouble

    def close(self) -> None:
        """The host is no primary, or does not answer: nothing is known of it any more."""
        self._drop()
        self._plain = ""

    def _step(self) -> None:
        now = self._clock_ms()
        slept, self._looked = now - self._looked > self._limits.gap_ms, now
        if slept:
            self._refusals = None
            self._began = now if self._began is not None else None
        if self._began is not None:
            self._look(now)
        if self._is_old(now):
            self.close()
        if self._connection is None:
            self._connection = psycopg2.connect(self._dsn, async_=1)
            self._began = self._opened = now
        elif self._began is None and self._is_due(now):
            self._send(now)
        else:
            return
        self._look(now)

    def _is_old(self, now: int) -> bool:
        idle = self._connection is not None and self._began is None and self._refusals is None
        return idle and now - self._opened > (self._limits.plain_ms if self._plain else self._limits.renew_ms)

    def _is_due(self, now: int) -> bool:
        if self._refusals is not None and self._refusals.tries < self._limits.hurried:
            return now - self._sent >= self._limits.refused_every_ms
        return now - self._ended >= self._limits.commit_every_ms

    def _send(self, now: int) -> None:
        """One query, one transaction."""
        made = () if self._made else (CREATE,)
        self._cursor = self._connection.cursor()
        self._cursor.execute(COMMIT if self._plain else "; ".join((*made, EXTEND, COMMIT)))
        self._began = self._sent = now

    def _look(self, now: int) -> None:
        """Has what is under way ended, and how?"""
        began = now if self._began is None else self._began
        try:
            if not answered(self._connection, 0):
                return
        except psycopg2.Error as error:
            lost = not self._connected or self._connection.closed
            why = lack_at_login(error) if lost else lack_of(error, made=self._made)
            if why is None:
                raise
            refusals = refused(self._refusals, began, why)
            if lost:
                self._drop()
            self._refusals = refusals
            self._note(why)
        else:
            if self._connected:
                self._took, self._made, self._refusals = now - began, not self._plain, None
                self._note(self._plain)
            self._connected = True
        self._began, self._ended = None, now

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._cursor: Any = None  # psycopg2 needs it until the answer is there
        self._connected = self._made = False
        self._opened = self._sent = self._ended = 0
        self._began: int | None = None  # of what is under way: a connection, or a transaction
        self._took: int | None = None
        self._refusals: Refusals | None = None


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
