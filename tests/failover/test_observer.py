"""When an observer hurries: a host that was there is lately missed, and only then."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from typing import cast

import pytest

from failover.observer import (
    ALARM_MS,
    PRIMARY_PERIOD_S,
    PROBE_PERIOD_S,
    SHORTEST_S,
    Ended,
    Publisher,
    Sight,
    pause_after,
    start,
)
from failover.probe_edge import EdgeAsked
from failover.publication import Detail, EdgeSeen, EdgeState, MemberSeen, Remembered
from failover.streaks import Probe
from failover.view import HostSeen, Reach


class Clock:
    now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


def probed(sight: Sight, clock: Clock, at_ms: int, reach: Reach) -> None:
    clock.now_ms = at_ms
    sight.take("dj-db1", Probe(at_ms, at_ms, reach))


def test_a_host_that_was_there_is_missed_at_once() -> None:
    clock = Clock()
    sight = Sight(("dj-db1",), clock)
    probed(sight, clock, 0, Reach.REACHABLE)
    assert sight.missed() == ()
    probed(sight, clock, 200, Reach.UNREACHABLE)
    assert [one.host for one in sight.missed()] == ["dj-db1"]


def test_a_host_that_was_never_there_is_no_alarm() -> None:
    clock = Clock()
    sight = Sight(("dj-db1",), clock)
    probed(sight, clock, 200, Reach.UNREACHABLE)
    assert sight.missed() == ()


def test_only_the_primary_is_a_reason_to_hurry() -> None:
    """Planted: a standby that restarts made every controller read etcd 25 times a second, for ten seconds."""
    clock = Clock()
    sight = Sight(("dj-db1",), clock)
    probed(sight, clock, 0, Reach.REACHABLE)
    probed(sight, clock, 200, Reach.UNREACHABLE)
    for primary, hurry in ((None, True), ("dj-db1", True), ("gg-db1", False)):
        sight.take_primary(primary)
        assert bool(sight.missed()) is hurry


def test_a_primary_that_hands_over_as_planned_is_no_reason_to_hurry() -> None:
    """Planted: in a switchover each observer wrote to etcd twelve times a second, each controller read."""
    clock = Clock()
    sight = Sight(("dj-db1",), clock)
    probed(sight, clock, 0, Reach.REACHABLE)
    sight.take_primary("dj-db1")
    sight.take_planned(True)
    probed(sight, clock, 200, Reach.UNREACHABLE)
    assert sight.missed() == ()
    sight.take_planned(False)  # the offer has stood for too long: it is a loss like any other
    assert [one.host for one in sight.missed()] == ["dj-db1"]


SITES = {"dj-db1": "daejeon", "dj-db2": "daejeon", "gg-db1": "gyeonggi"}


@pytest.mark.parametrize(("primary", "often"), [("dj-db1", {"dj-db1", "dj-db2"}), ("gg-db1", {"gg-db1"})])
def test_the_primary_and_who_stands_beside_it_are_probed_twice_as_often(
    primary: str, often: set[str]
) -> None:
    sight = Sight(tuple(SITES), sites=SITES)
    assert {sight.period_s(host) for host in SITES} == {PROBE_PERIOD_S}
    sight.take_primary(primary)
    assert {host for host in SITES if sight.period_s(host) == PRIMARY_PERIOD_S} == often
    assert {host for host in SITES if sight.period_s(host) == PROBE_PERIOD_S} == SITES.keys() - often


def test_with_the_primary_its_whole_site_is_missed_and_nobody_else() -> None:
    """Planted: the pulse was written when the primary's window was over, and the last host of the lost site
    waited for the next."""
    clock = Clock()
    sight = Sight(tuple(SITES), clock, sites=SITES)
    sight.take_primary("dj-db1")
    for host in SITES:
        sight.take(host, Probe(0, 10, Reach.REACHABLE))
    sight.take("dj-db2", Probe(20, 300, Reach.UNREACHABLE))
    clock.now_ms = 400
    assert sight.missed() == ()  # the primary is there
    sight.take("gg-db1", Probe(20, 300, Reach.UNREACHABLE))
    sight.take("dj-db1", Probe(100, 400, Reach.UNREACHABLE))
    assert [(one.host, one.for_ms) for one in sight.missed()] == [("dj-db1", 300), ("dj-db2", 380)]


@pytest.mark.parametrize(
    ("for_ms", "pause_s"),
    [(None, 0.38), (100, 0.06), (770, 0.031), (790, 0.011), (798, SHORTEST_S), (800, 0.06), (2000, 0.06)],
)
def test_a_pulse_is_written_when_the_window_is_over(for_ms: int | None, pause_s: float) -> None:
    """Else the proof waits for the next of the pulses, which two observers write one after the other."""
    missed = [] if for_ms is None else [HostSeen("dj-db1", Reach.UNREACHABLE, for_ms)]
    assert pause_after(missed, 800, 0.02) == pytest.approx(pause_s)


def test_who_waits_for_news_is_woken_by_a_host_that_goes() -> None:
    clock = Clock()
    sight = Sight(("dj-db1",), clock)
    probed(sight, clock, 0, Reach.REACHABLE)
    waits = Thread(target=sight.wait_for_news, args=(30.0,))
    waits.start()
    end = time.monotonic() + 20
    while waits.is_alive() and time.monotonic() < end:
        clock.now_ms += 200
        probed(sight, clock, clock.now_ms, Reach.UNREACHABLE if clock.now_ms % 400 else Reach.REACHABLE)
        waits.join(0.01)
    assert not waits.is_alive()


def test_the_alarm_ends_although_the_host_stays_away() -> None:
    clock = Clock()
    sight = Sight(("dj-db1",), clock)
    probed(sight, clock, 0, Reach.REACHABLE)
    for at_ms in range(200, ALARM_MS + 400, 200):
        probed(sight, clock, at_ms, Reach.UNREACHABLE)
    assert sight.missed() == ()
    probed(sight, clock, ALARM_MS + 600, Reach.REACHABLE)
    probed(sight, clock, ALARM_MS + 800, Reach.UNREACHABLE)
    assert [one.host for one in sight.missed()] == ["dj-db1"]


def test_edges_and_the_operations_age_are_published() -> None:
    clock = Clock()
    sight = Sight(("dj-db1",), clock, edges=("daejeon", "gyeonggi"))
    assert sight.pulse("o", "daejeon", 1).operation is None
    clock.now_ms = 1000
    sight.take_edge("daejeon", EdgeAsked(980, 1000, EdgeState.OK))
    sight.take_operation(40, 700)
    clock.now_ms = 1500
    pulse = sight.pulse("o", "daejeon", 2)
    assert pulse.edges == (
        EdgeSeen("daejeon", EdgeState.OK, 500, 20, 500),
        EdgeSeen("gyeonggi", EdgeState.UNKNOWN),
    )
    assert pulse.operation == Remembered(40, 1200)


def test_the_age_of_an_offer_is_published_while_it_stands() -> None:
    clock = Clock()
    sight = Sight(("dj-db1",), clock)
    sight.take_offer(7, 700)
    clock.now_ms = 500
    assert sight.pulse("o", "daejeon", 1).offer == Remembered(7, 1200)
    sight.take_offer(0, 500)
    assert sight.pulse("o", "daejeon", 2).offer is None


def test_the_members_of_the_dcs_are_published() -> None:
    clock = Clock()
    sight = Sight(("dj-db1",), clock, members=("dj-db1", "sj-wt1"))
    sight.take_member("sj-wt1", Probe(900, 1000, Reach.UNREACHABLE, detail=Detail("no leader")))
    clock.now_ms = 1500
    assert sight.pulse("o", "daejeon", 1).members == (
        MemberSeen("dj-db1", Reach.UNKNOWN),
        MemberSeen("sj-wt1", Reach.UNREACHABLE, 600, 500, "no leader"),
    )
    assert sight.missed() == ()


class Broken:
    """An edge's watch, with a mistake in it."""

    name = "edge-daejeon"

    def run(self, stopped: object) -> None:
        raise KeyError("a mistake")


class Quiet(Broken):
    """The same, without one."""

    name = "edge-gyeonggi"

    def run(self, stopped: Callable[[], bool]) -> None:  # type: ignore[override]
        while not stopped():
            time.sleep(0.005)


class Deaf:
    """A publisher that writes nothing."""

    def step(self) -> None:
        pass


def test_a_thread_that_ends_by_itself_ends_the_observer() -> None:
    """Planted: an exception ended the publisher's thread alone, and its vantage point was gone silently."""
    for watch, ends in ((Broken(), True), (Quiet(), False)):
        ended = Ended()
        start(cast(Publisher, Deaf()), Sight(()), {}, [watch], ended, 800)
        time.sleep(0.1)
        assert ended() is ends
        assert ended.names[:1] == ([watch.name] if ends else [])
        ended.names.append("the test")  # ends the threads
