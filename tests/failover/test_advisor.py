"""The figures for a person come from a thread, are used while they are fresh, and never hold up a turn."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from failover.advisor import EVERY_MS, FORGET_MS, Advisor
from failover.view import Prospect, Waiting

from .views import view

BEHIND = Prospect("gg-db1", "dj-db1", False, 4096, None, 100)
SEEN = view(prospects=(BEHIND,))


class World:
    def __init__(self) -> None:
        self.now, self.asked, self.go = 0, 0, threading.Event()

    def inform(self, given):
        self.asked += 1
        assert self.go.wait(5)
        found = tuple(replace(one, back_ms=3200) for one in given.prospects)
        return replace(given, prospects=found, waiting=Waiting(9000, 3))


def settled(advisor: Advisor) -> None:
    assert advisor._running is not None
    advisor._running.join(5)


def test_a_turn_does_not_wait_and_the_next_one_knows():
    world = World()
    advisor = Advisor(world.inform, lambda: world.now)
    assert advisor.advised(SEEN) == SEEN  # still being found out
    assert advisor.advised(SEEN) == SEEN
    assert world.asked == 1
    world.go.set()
    settled(advisor)
    told = advisor.advised(SEEN)
    assert told.waiting == Waiting(9000, 3)
    assert told.prospects[0].back_ms == 3200


def test_the_time_runs_on_since_it_was_found_out():
    """Planted: a time that was 4 s old was told as if it were new."""
    world = World()
    world.go.set()
    advisor = Advisor(world.inform, lambda: world.now)
    advisor.advised(SEEN)
    settled(advisor)
    world.now = EVERY_MS - 1000
    assert advisor.advised(SEEN).prospects == (replace(BEHIND, back_ms=3200 + EVERY_MS - 1000),)


def test_the_time_of_another_primary_is_not_told():
    world = World()
    world.go.set()
    advisor = Advisor(world.inform, lambda: world.now)
    advisor.advised(SEEN)
    settled(advisor)
    other = replace(BEHIND, primary="dj-db2")
    assert advisor.advised(view(prospects=(other,))).prospects == (other,)


def test_old_figures_are_forgotten_and_asked_for_anew():
    world = World()
    world.go.set()
    advisor = Advisor(world.inform, lambda: world.now)
    advisor.advised(SEEN)
    settled(advisor)
    world.now = EVERY_MS
    advisor.advised(SEEN)
    settled(advisor)
    assert world.asked == 2
    world.now += FORGET_MS + 1
    world.go.clear()  # the newer ones are not there yet
    assert advisor.advised(SEEN).waiting == Waiting(None, None)
    world.go.set()
    settled(advisor)


@pytest.mark.parametrize(("proved", "back_ms"), [(True, None), (False, 3200)])
def test_only_a_candidate_that_is_proved_to_lose_nothing_is_given_no_time(proved: bool, back_ms: int | None):
    world = World()
    world.go.set()
    advisor = Advisor(world.inform, lambda: world.now)
    level = view(prospects=(Prospect("gg-db1", "dj-db1", proved, 0, 0, 100),))
    advisor.advised(level)
    settled(advisor)
    assert advisor.advised(level).prospects[0].back_ms == back_ms
