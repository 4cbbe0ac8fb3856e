"""Asks the primary ten times a second what each standby has flushed, in a thread of its own.

Patroni's loop (once a second, with pauses of its own) is too slow to see stalls of half a second, and must
not wait for this. The thread starts when Patroni, as the primary, first asks for candidates, and ends when
the server says that it is in recovery. It also writes the record: a disk that hangs never stops the loop.

And it wakes Patroni's loop when a standby streams no more: commits wait for it until the loop has taken it
out of the sync set, which is up to a second more than PostgreSQL's own patience (`wal_sender_timeout`).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

import psycopg2

from replication.async_sql import answered
from replication.mends.dragging import Drags
from replication.unprotected import Intervals, write

logger = logging.getLogger(__name__)

PERIOD_S = 0.1
LIMIT_S = 0.7
PAUSE_S = 1.0  # after a question without an answer
WAITING = 1000  # lines that wait for a disk; more are dropped
DSN = "host=/run/postgresql user=postgres dbname=postgres application_name=hanbat_dragging"
QUERY = """
SELECT CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint END,
       (SELECT coalesce(json_object_agg(name, flushed), '{}')
          FROM (SELECT lower(application_name) AS name,
                       max(pg_wal_lsn_diff(flush_lsn, '0/0'))::bigint AS flushed
                  FROM pg_stat_replication
                 WHERE state = 'streaming' AND flush_lsn IS NOT NULL AND application_name <> ''
                 GROUP BY 1) AS streaming)
"""


@dataclass(frozen=True, slots=True)
class Flushed:
    """Positions in bytes. `primary` is None on a server in recovery."""

    primary: int | None
    standbys: Mapping[str, int]


class Server:
    """The local server, over one connection that is kept."""

    def __init__(self, dsn: str = DSN, limit_s: float = LIMIT_S) -> None:
        self._dsn, self._limit_s = dsn, limit_s
        self._connection: Any = None

    def ask(self) -> Flushed | None:
        """None when there was no answer within the limit. Never raises, never waits for longer."""
        end = time.monotonic() + self._limit_s
        try:
            if self._connection is None:
                self._connection = psycopg2.connect(self._dsn, async_=1)
                if not answered(self._connection, end - time.monotonic()):
                    return self.close()
            cursor = self._connection.cursor()
            cursor.execute(QUERY)
            if not answered(self._connection, end - time.monotonic()):
                return self.close()
            primary, standbys = cursor.fetchone()
            return Flushed(primary, standbys)
        except (psycopg2.Error, OSError):
            return self.close()

    def close(self) -> None:
        """The next question makes a new connection."""
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
        self._connection = None


class FlushWatch:
    """Keeps the draggers and the open intervals. Shared by Patroni's loop and the thread."""

    def __init__(
        self,
        drags: Drags,
        server: Server | None = None,
        put: Callable[[str], None] = write,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._drags, self._server, self._put = drags, server or Server(), put
        self._now, self._wall = now, wall
        self._lock = Lock()
        self._intervals = Intervals()
        self._lines: deque[str] = deque(maxlen=WAITING)
        self._streamed: frozenset[str] = frozenset()
        self.wakeup: Callable[[], None] = lambda: None
        self._thread: Thread | None = None

    def left_out(self, primary: str, asked: Iterable[str], named: Callable[[str], bool]) -> frozenset[str]:
        """See `replication.mends.dragging.Watch`. Starts the thread if it does not run."""
        with self._lock:
            draggers = self._drags.draggers(self._now())
            reason = f"flushed more than {self._drags.limit_s:g} s late for {self._drags.time_s:g} s"
            left = draggers & {name.lower() for name in asked}
            events = self._intervals.take(
                primary, left, lambda name: name not in draggers and named(name), reason,
                self._now(), self._wall(),
            )  # fmt: skip
            self._lines.extend(event.line for event in events)
        for event in events:
            logger.warning("%s", event.text)
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._run, name="hanbat-dragging", daemon=True)
            self._thread.start()
        return left

    def round(self) -> bool | None:
        """One question. True: answered; None: no answer; False: this host is not the primary."""
        seen, at_s = self._server.ask(), self._now()
        if seen is not None:
            gone, self._streamed = self._streamed - seen.standbys.keys(), frozenset(seen.standbys)
            if gone and seen.primary is not None:
                self.wakeup()
        with self._lock:
            if seen is not None and seen.primary is not None:
                self._drags.take(at_s, seen.primary, seen.standbys)
                return True
            if seen is None:
                return None
            self._drags.forget()
            events = self._intervals.end("not the primary any more", at_s, self._wall())
            self._lines.extend(event.line for event in events)
        for event in events:
            logger.warning("%s", event.text)
        return False

    def flush(self) -> None:
        """Writes the lines that wait."""
        while self._lines:
            self._put(self._lines.popleft())

    def _run(self) -> None:
        while (seen := self.round()) is not False:
            self.flush()
            time.sleep(PERIOD_S if seen else PAUSE_S)
        self._server.close()
        self.flush()
