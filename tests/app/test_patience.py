"""While the database is away one thread of a process looks, and all are served when it is back."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.database import PAUSE_S, Database
from app.errors import NotWritten
from app.settings import Settings

THREADS = 16


class Away(Database):
    """A database that cannot be reached until a moment; counts who knocks."""

    def __init__(self, settings: Settings, back_at: float) -> None:
        super().__init__(settings)
        self.back_at = back_at
        self.knocks = 0
        self._count = threading.Lock()

    def _attempt(self, work, barrier):
        with self._count:
            self.knocks += 1
        if time.monotonic() < self.back_at:
            raise NotWritten("the database cannot be reached")
        return work(self)

    def one(self, sql: str) -> dict[str, bool]:
        """What a transaction answers to the scout."""
        return {"standby": False}


def settings(patience_s: float) -> Settings:
    return Settings(dsn="host=/nowhere", secret_key="x" * 32, patience_s=patience_s)


def test_all_are_served_and_few_knock():
    away = Away(settings(5.0), time.monotonic() + 1.0)
    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(lambda number: away.write(lambda tx: number), range(THREADS)))
    assert found == list(range(THREADS))
    scouted = 1.0 / PAUSE_S
    assert away.knocks < 2 * THREADS + 1.5 * scouted  # each knocking for itself: 16 x 20


def test_who_has_no_patience_left_is_told_so_in_time():
    away = Away(settings(0.3), time.monotonic() + 60)
    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(away.write, lambda tx: 1) for _ in range(4)]
        for one in waits:
            with pytest.raises(NotWritten):
                one.result(timeout=10)
    assert time.monotonic() - began < 5


def test_when_the_scout_gives_up_another_one_looks():
    """The first to come has the least patience left; those behind it are not left waiting for nobody."""
    away = Away(settings(0.3), time.monotonic() + 0.8)
    late = Away(settings(5.0), away.back_at)
    late._scouting, late._back = away._scouting, away._back
    with ThreadPoolExecutor(2) as pool:
        impatient = pool.submit(away.write, lambda tx: 1)
        time.sleep(0.1)
        patient = pool.submit(late.write, lambda tx: 2)
        with pytest.raises(NotWritten):
            impatient.result(timeout=10)
        assert patient.result(timeout=10) == 2


class Full(Away):
    """It can be read, so the scout says that it is back; it takes nothing."""

    def _attempt(self, work, barrier):
        if work.__name__ == "write_it":
            with self._count:
                self.knocks += 1
            raise NotWritten("could not extend a file: no space left on device")
        return work(self)


def test_a_database_that_takes_nothing_is_not_asked_again_and_again():
    """Seen in the drill `disk-full`: some hundred refusals a second, on the host whose disk is full."""

    def write_it(tx):
        raise AssertionError("never")

    full = Full(settings(1.0), 0.0)
    with ThreadPoolExecutor(4) as pool:
        waits = [pool.submit(full.write, write_it) for _ in range(4)]
        for one in waits:
            with pytest.raises(NotWritten):
                one.result(timeout=10)
    assert full.knocks <= 4 * 7  # at once, after 0.05 s, and 0.1, 0.2, 0.4 s later; without a pause: hundreds
