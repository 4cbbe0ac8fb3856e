"""What the console owes PgBouncer; the connections are played."""

from __future__ import annotations

import time
from typing import Any

import psycopg2
import pytest

from failover import pooler_console
from failover.pooler_console import Console


class PgBouncer:
    """Hears PAUSE and RESUME, and answers at once. `deaf`: to new connections, one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *deaf: bool, refuses: str = "") -> None:
        self.deaf, self.refuses, self.heard = list(deaf), refuses, list[str]()
        monkeypatch.setattr(psycopg2, "connect", self.connect)
        monkeypatch.setattr(pooler_console, "answered", lambda connection, limit_s: True)

    def connect(self, dsn: str, **_: Any) -> Any:
        if self.deaf and self.deaf.pop(0):
            raise psycopg2.OperationalError("timeout expired")
        return self

    def cursor(self) -> Any:
        return self

    def execute(self, word: str) -> None:
        self.heard.append(word)
        if word == "RESUME" and self.refuses:
            raise psycopg2.DatabaseError(self.refuses)

    def close(self) -> None: ...


def test_a_new_one_owes_a_resume_until_it_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    PgBouncer(monkeypatch, True, False)
    console = Console(6432)
    assert console.owed
    with pytest.raises(psycopg2.OperationalError):
        console.release()
    assert console.owed
    console.release()
    assert not console.owed


def test_who_is_not_paused_is_owed_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    PgBouncer(monkeypatch, refuses="pooler is not paused/suspended")
    console = Console(6432)
    console.release()
    assert not console.owed


def test_a_late_pause_that_could_not_be_taken_back_is_owed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the failed RESUME was logged, and nobody said it again."""
    pgbouncer = PgBouncer(monkeypatch)
    console = Console(6432)
    console.release()
    pgbouncer.heard.clear()
    pgbouncer.deaf = [False, True]  # the connection for PAUSE, and the one that takes it back
    turn = console._turn

    def late(connection: Any, limit_s: float) -> bool:
        if pgbouncer.heard:  # it has heard PAUSE, and the hold is over
            console._turn = turn + 2
        return True

    monkeypatch.setattr(pooler_console, "answered", late)
    console.hold()
    end_s = time.monotonic() + 5
    while not console.owed and time.monotonic() < end_s:
        time.sleep(0.01)
    assert pgbouncer.heard == ["PAUSE"]
    assert console.owed
    assert not console.held
