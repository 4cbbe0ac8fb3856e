"""PgBouncer's console: hold new transactions, and always let them go again.

PAUSE answers only when every transaction under way has ended. It waits in a thread of its own, on a
connection of its own; RESUME goes over another one and never waits for it.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import Any

import psycopg2

from replication.async_sql import answered

DSN = "host=/run/hanbat-pgbouncer user=pgbouncer dbname=pgbouncer connect_timeout=2"
NOT_PAUSED = "not paused"  # how PgBouncer refuses a RESUME that is not needed
LOOK_S = 0.02

logger = logging.getLogger("pooler")


class Console:
    """One PgBouncer, reached over its unix socket as the user that it runs as."""

    def __init__(self, port: int, dsn: str = DSN) -> None:
        self._dsn = f"{dsn} port={port}"
        self._lock = threading.Lock()
        self._held = threading.Event()
        self._turn = 0
        self._owed = True  # an earlier process may have left a PAUSE

    @property
    def held(self) -> bool:
        """Whether nothing is under way and nothing begins."""
        return self._held.is_set()

    @property
    def owed(self) -> bool:
        """Whether PgBouncer may be paused for no hold that stands: a RESUME was not heard."""
        return self._owed

    def hold(self) -> None:
        """Begin to hold; returns at once. See `held`."""
        with self._lock:
            self._held.clear()
            self._turn += 1
            threading.Thread(target=self._pause, args=(self._turn,), name="pause", daemon=True).start()

    def release(self) -> None:
        """Let every transaction go. Raises psycopg2.Error when PgBouncer cannot be reached."""
        with self._lock:
            self._turn += 1
            self._held.clear()
            self._resume()

    def _resume(self) -> None:
        self._owed = True
        connection: Any = psycopg2.connect(self._dsn)
        try:
            connection.autocommit = True
            connection.cursor().execute("RESUME")
        except psycopg2.Error as error:
            if NOT_PAUSED not in str(error):
                raise
        finally:
            connection.close()
        self._owed = False

    def _pause(self, turn: int) -> None:
        """PAUSE, until it is answered or its turn is over; one that comes too late is taken back."""
        connection: Any = None
        try:
            connection = psycopg2.connect(self._dsn, async_=1)
            if not self._wait(connection, turn):
                return
            cursor = connection.cursor()  # psycopg2 needs it until the answer is there
            cursor.execute("PAUSE")
            done = self._wait(connection, turn)
            with self._lock:
                if done and turn == self._turn:
                    self._held.set()
                else:
                    self._resume()
        except psycopg2.Error as error:
            logger.warning("PAUSE: %s", " ".join(str(error).split())[:200])
        finally:
            if connection is not None:
                with contextlib.suppress(psycopg2.Error):
                    connection.close()

    def _wait(self, connection: Any, turn: int) -> bool:
        """Whether the connection has its answer; False as soon as the turn is over."""
        while turn == self._turn:
            if answered(connection, LOOK_S):
                return True
        return False
