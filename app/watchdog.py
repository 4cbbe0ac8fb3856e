"""A time limit on a database connection that works by closing its socket.

A query cancel must never reach a COMMIT: PostgreSQL then commits locally and answers success with a
warning (design.md §5, Traps). So nothing here cancels. When the time is up the socket is shut down;
libpq sees a lost connection and the caller decides what that means.
"""

from __future__ import annotations

import heapq
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class HasFileno(Protocol):
    def fileno(self) -> int: ...


class Guard:
    """The time limit of one connection while it is in use; ``limit`` moves it."""

    def __init__(self, dog: Watchdog, connection: HasFileno) -> None:
        self._dog = dog
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))
        self._lock = threading.Lock()
        self._deadline = float("inf")
        self.fired = False

    def limit(self, seconds: float) -> None:
        """From now on, at most this many seconds more."""
        with self._lock:
            self._deadline = time.monotonic() + seconds
        self._dog.schedule(self, self._deadline)

    def close(self) -> None:
        with self._lock:
            self._deadline = float("inf")
            self._socket.close()

    def check(self, now: float) -> None:
        """Shut the socket down if its time is up (called by the watchdog's thread)."""
        with self._lock:
            if now < self._deadline:
                return
            self._deadline = float("inf")
            self.fired = True
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                self.fired = True  # the peer was faster: the connection is gone already


class Watchdog:
    """One daemon thread a process; started on first use, and again after a fork."""

    def __init__(self) -> None:
        self._queue: list[tuple[float, int, Guard]] = []
        self._count = itertools.count()
        self._wake = threading.Condition()
        self._pid = 0

    @contextmanager
    def guard(self, connection: HasFileno) -> Iterator[Guard]:
        guard = Guard(self, connection)
        try:
            yield guard
        finally:
            guard.close()

    def schedule(self, guard: Guard, deadline: float) -> None:
        with self._wake:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._queue.clear()
                threading.Thread(target=self._run, name="socket-watchdog", daemon=True).start()
            first = self._queue[0][0] if self._queue else float("inf")
            heapq.heappush(self._queue, (deadline, next(self._count), guard))
            if deadline < first:
                self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                now = time.monotonic()
                due = []
                while self._queue and self._queue[0][0] <= now:
                    due.append(heapq.heappop(self._queue)[2])
                if not due:
                    self._wake.wait(self._queue[0][0] - now if self._queue else None)
            for guard in due:
                guard.check(now)


WATCHDOG = Watchdog()
