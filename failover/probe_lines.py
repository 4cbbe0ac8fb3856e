"""A few connections to one host, so that one lost packet is not a silent host.

TCP sends what was lost again after 0.2 s and a round trip, and then after twice that; a new login takes
five round trips. Over a slow line that loses packets, an observer with one connection, which gave up a
question after 0.35 s and began anew, was deaf for 0.5 to 2 s several times in ten seconds (drill
`wan-slow`), and two deaf sites are a takeover. So:

- a question that has no answer is not given up: its connection is kept for a while, and its answer counts;
- it is asked once more on a second connection, which is kept open for that and takes its turn;
- only beside silent ones a new connection is made.

The first answer counts; one to an older question than has been answered already does not. A late answer
says that the host was there after it was asked; it never makes a host that is gone look alive for longer
than the answer was under way.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg2

from replication.async_sql import answered, reached

Row = tuple[Any, ...]


class Silent(Exception):
    """No answer in time."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of one question, in ms."""

    answer_ms: int = 350
    again_ms: int = 150  # without an answer for so long, it is asked on another connection too
    attempts_ms: tuple[int, ...] = (150, 150)  # to reach the host with a new connection; then what is left
    connect_ms: int = 700  # with the first answer: a new connection costs the server a process
    kept_ms: int = 1000  # a question without an answer, or a login, is given up
    spare: int = 2  # connections that are kept open
    refused_ms: int = 5000  # after a refused login, until another is tried beside a connection that works
    most: int = 4  # at once, with those that are silent


class Line:
    """One connection: being made, idle, or asked."""

    def __init__(self, dsn: str, patience: Patience, now: int) -> None:
        self.began = now  # what is under way, or was last
        self.asked = False
        self._dsn = dsn
        self._attempts = list(patience.attempts_ms)
        self._open(now)

    @property
    def is_idle(self) -> bool:
        return self._ready and not self.asked

    @property
    def fileno(self) -> int:
        return self._connection.fileno()

    @property
    def is_new(self) -> bool:
        """Its host has not been reached yet: what it waits for is to be able to write."""
        return not self._reached

    def ask(self, query: str, now: int) -> None:
        self.began, self.asked = now, True
        self._cursor = self._connection.cursor()
        self._cursor.execute(query)

    def look(self, now: int) -> Row | None:
        """Goes on as far as it can without waiting; the answer, once. Raises psycopg2.Error."""
        if not self._reached:
            self._reached = reached(self._connection, 0)
            if not self._reached and self._attempts and now - self._tried >= self._attempts[0]:
                del self._attempts[0]
                self.close()
                self._open(now)
        if not self._reached or not answered(self._connection, 0):
            return None
        self._ready = True
        if not self.asked:
            return None
        row = self._cursor.fetchone()
        self._cursor.close()
        self.asked = False
        return tuple(row)

    def next_ms(self) -> int | None:
        """When to look again though nothing has come."""
        return self._tried + self._attempts[0] if self._attempts and not self._reached else None

    def close(self) -> None:
        self._connection.close()

    def _open(self, now: int) -> None:
        """TCP sends a first packet that was lost again after a whole second. A host that was cut off for a
        moment would be silent for much longer than it was: so what has not reached it soon is begun anew.
        """
        self._tried = now
        self._reached = self._ready = False
        self._cursor: Any = None  # psycopg2 needs it until the answer is there
        self._connection: Any = psycopg2.connect(self._dsn, async_=1)


class Lines:
    """The connections to one host; for one thread."""

    def __init__(self, dsn: str, query: str, clock_ms: Callable[[], int], patience: Patience) -> None:
        self._dsn = dsn
        self._query = query
        self._clock_ms = clock_ms
        self._patience = patience
        self._lines: list[Line] = []  # the one that has rested longest comes first
        self._error: psycopg2.Error | None = None  # why what was begun in this call has failed
        self._refused: int | None = None  # when a login was, the last time
        self._answered = 0  # when the newest question that has an answer was asked

    def limit_ms(self) -> int:
        """How long `ask` waits."""
        idle = any(line.is_idle for line in self._lines)
        return self._patience.answer_ms if idle else self._patience.connect_ms

    def ask(self) -> Row:
        """The first answer. Raises Silent, psycopg2.Error, OSError."""
        began = self._clock_ms()
        end = began + self.limit_ms()
        self._tidy(began)
        asked = False  # in this call
        self._error = None
        while True:
            now = self._clock_ms()
            row = self._look(began, now)
            if row is not None:
                return row
            if now >= end or not self._lines:
                raise self._error or Silent("no answer in time")
            idle = next((line for line in self._lines if line.is_idle), None)
            again = began + self._patience.again_ms
            if idle is not None and (not asked or now >= again):
                idle.ask(self._query, now)
                asked = True
                continue
            moments = [end, again if idle is not None else end, *self._moments()]
            self._wait(max(0, min(moments) - now) / 1000)

    def close(self) -> None:
        for line in self._lines:
            line.close()
        self._lines.clear()

    def _tidy(self, now: int) -> None:
        """What is silent for too long is given up; what is missing is made."""
        for line in tuple(self._lines):
            if not line.is_idle and now - line.began >= self._patience.kept_ms:
                self._drop(line)
        good = sum(not line.asked or now - line.began < self._patience.answer_ms for line in self._lines)
        wanted = self._patience.spare
        if self._refused is not None and now - self._refused < self._patience.refused_ms:
            wanted = 1
        if good < wanted and len(self._lines) < self._patience.most:
            self._lines.append(Line(self._dsn, self._patience, now))

    def _look(self, began: int, now: int) -> Row | None:
        """The answer to the newest question, if one has come."""
        newest: Row | None = None
        for line in tuple(self._lines):
            try:
                row = line.look(now)
            except psycopg2.Error as error:
                self._drop(line)
                if not line.asked:
                    self._refused = now
                if line.began >= began:
                    self._error = error
                    if line.asked:
                        raise
                continue  # an old one that has ended says nothing new
            if row is None:
                continue
            self._lines.remove(line)
            self._lines.append(line)
            if line.began >= self._answered and now - line.began < self._patience.kept_ms:
                self._answered, newest = line.began, row
        return newest

    def _drop(self, line: Line) -> None:
        self._lines.remove(line)
        line.close()

    def _moments(self) -> list[int]:
        return [at for line in self._lines if (at := line.next_ms()) is not None]

    def _wait(self, limit_s: float) -> None:
        busy = [line for line in self._lines if not line.is_idle]
        reading = [line.fileno for line in busy if not line.is_new]
        writing = [line.fileno for line in busy if line.is_new]
        select.select(reading, writing, [], limit_s)
