"""PostgreSQL of this host, over one session of the superuser; each question is bounded."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg2

from replication.async_sql import answered

LIMIT_S = 0.7
DSN = "host=/run/postgresql user=postgres dbname=postgres options='-c synchronous_commit=local'"


class Local:
    """PostgreSQL here, over one connection. Each question is bounded: psycopg2.Error or TimeoutError."""

    def __init__(self, dsn: str = DSN) -> None:
        self._dsn = dsn
        self._connection: Any = None

    def ask(self, sql: str) -> Any:
        """The first column of the first row."""
        return self.run(sql, LIMIT_S).fetchone()[0]

    def run(self, sql: str, limit_s: float) -> Any:
        if self._connection is None:
            self._connection = psycopg2.connect(self._dsn, async_=1)
            self._wait(LIMIT_S)
        cursor = self._connection.cursor()
        cursor.execute(sql)
        self._wait(limit_s)
        return cursor

    def _wait(self, limit_s: float) -> None:
        if not answered(self._connection, limit_s):
            raise TimeoutError("PostgreSQL here gave no answer in time")

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()
