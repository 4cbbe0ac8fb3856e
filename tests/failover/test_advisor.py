"""The figures for a person come from a thread, are used while they are fresh, and never hold up a turn."""

from __future__ import annotations

import threading
from dataclasses import replace

from failover.advisor import EVERY_MS, FORGET_MS, Advisor
from failover.view import Prospect, Waiting

from .views import view

SEEN = view(prospects=(Prospect("gg-db1", 4096, None, None, 100),))


class World:
    def __init__(self) -> None:
        self.now, self.asked, self.go = 0, 0, threading.Event()

    def inform(self, given):
        self.asked += 1
        assert self.go.wait(5)
        return replace(
            given, prospects=(Prospect("gg-db1", 4096, 3200, None, 100),), waiting=Waiting(9000, 3)
        )


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
    assert told.prospects[0].lost_ms == 3200


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


def test_a_candidate_that_loses_nothing_is_given_no_time():
    world = World()
    world.go.set()
    advisor = Advisor(world.inform, lambda: world.now)
    none_lost = view(prospects=(Prospect("gg-db1", 0, None, None, 100),))
    advisor.advised(none_lost)
    settled(advisor)
    assert advisor.advised(none_lost).prospects[0].lost_ms is None
