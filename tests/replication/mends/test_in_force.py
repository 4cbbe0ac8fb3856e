"""When the names that commits wait for are in force: by what PostgreSQL answers."""

from __future__ import annotations

from typing import Any

import pytest

from replication.mends.in_force import (
    READ_S,
    RECORD,
    SENT,
    SHOWN,
    read_by_checkpointer,
    read_by_walsenders,
    shown,
)

from .handover_parts import Session


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def clock(self) -> float:
        return self.now


class Senders(Session):
    """A session of a primary; `sent` is asked at each look: process -> its position."""

    def __init__(self, *sent: dict[str, int]) -> None:
        super().__init__(**{RECORD: 900})
        self.sent = list(sent)
        self.looks = 0

    def answer(self, sql: str) -> Any:
        if sql != SENT:
            return super().answer(sql)
        self.looks += 1
        return self.sent[min(self.looks, len(self.sent)) - 1]


def test_a_new_session_is_asked_until_one_shows_the_value() -> None:
    time, sessions = Time(), [Session(**{SHOWN: value}) for value in ("", "", "k")]
    left = iter(sessions)
    assert shown("k", lambda: next(left).new(), time.sleep, time.clock) is sessions[2]
    assert [one.closed for one in sessions] == [True, True, False]


def test_the_second_checkpoint_is_the_one_that_shows_it() -> None:
    """Planted: the checkpointer stood between reading its settings and looking what was asked for."""
    session = Session()
    read_by_checkpointer(session.new())
    assert session.commands == ["CHECKPOINT", "CHECKPOINT"]


def test_a_walsender_has_read_when_it_has_sent_in_two_rounds() -> None:
    """Planted: one more position may come from the round that had read its settings before the signal."""
    time, senders = Time(), Senders({"7": 10}, {"7": 10}, {"7": 20}, {"7": 20}, {"7": 30})
    read_by_walsenders(senders.new(), time.sleep, time.clock)
    assert senders.looks == 5
    assert senders.commands.count(RECORD) == 4  # a record for each look, so that there is something to send


def test_every_walsender_is_waited_for_unless_it_ends() -> None:
    time = Time()
    senders = Senders({"7": 10, "8": 5}, {"7": 20, "8": 5}, {"7": 30, "8": 5}, {"7": 40, "8": 5}, {"7": 50})
    read_by_walsenders(senders.new(), time.sleep, time.clock)
    assert senders.looks == 5


def test_one_that_came_since_has_read_anyway() -> None:
    time, senders = Time(), Senders({}, {"9": 1})
    read_by_walsenders(senders.new(), time.sleep, time.clock)
    assert senders.looks == 1


def test_one_that_never_sends_is_named_in_the_end() -> None:
    time, senders = Time(), Senders({"7": 10})
    with pytest.raises(TimeoutError, match="7"):
        read_by_walsenders(senders.new(), time.sleep, time.clock)
    assert READ_S <= time.now < READ_S + 1
