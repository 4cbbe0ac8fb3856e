"""What an observer makes of an etcd member's answers, and what the screen makes of the observers'."""

from __future__ import annotations

import pytest

from failover.dcs_members import MemberRow, member_rows
from failover.observer import monotonic_ms
from failover.probe_member import GAP_MS, STALE_MS, STILL_MS, Member, Still, after, applied, judged, seen
from failover.publication import Detail, MemberSeen, Pulse
from failover.streaks import Probe, extended
from failover.view import Observation, Reach
from failover.votes import fresh

from .test_probe_patroni import server
from .views import observation, view

UP, GONE, UNKNOWN = Reach.REACHABLE, Reach.UNREACHABLE, Reach.UNKNOWN
OK = b"HTTP/1.0 200 OK\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "reach", "why"),
    [
        (OK + b'{"version":"3.4.23","leader":"2657891847502279730","raftIndex":"9"}', UP, ""),
        (OK + b'{"version":"3.4.23","raftIndex":"9","errors":["etcdserver: no leader"]}', GONE, "no leader"),
        (OK + b'{"leader":"0"}', GONE, "no leader"),
        (
            OK + b'{"leader":"26","errors":["memberID:50 alarm:NOSPACE "]}',
            GONE,
            "memberID:50 alarm:NOSPACE",
        ),
        (b"HTTP/1.0 503 No\r\n\r\n{}", GONE, "status 503"),
        (OK + b"[]", GONE, "no JSON object"),
        (OK + b"<html>", GONE, "Expecting value"),
        (b"", GONE, "without an answer"),
        (None, GONE, "no answer within 0.3 s"),
    ],
)
def test_what_a_member_answers(answer: bytes | None, reach: Reach, why: str) -> None:
    with server(answer) as port:
        found = Member("127.0.0.1", port, monotonic_ms, limit_s=0.3).ask()
    assert found.reach is reach
    assert why in found.detail.why
    assert bool(found.detail.why) is bool(why)


def test_nobody_listens() -> None:
    with server(b"") as port:
        pass
    assert Member("127.0.0.1", port, monotonic_ms).ask().detail.why == "connection refused"


def test_an_observer_that_was_starved_knows_nothing() -> None:
    times = iter((0, 1900))
    with server(b"") as port:
        found = Member("127.0.0.1", port, lambda: next(times), limit_s=1.0).ask()
    assert (found.reach, found.detail.why) == (UNKNOWN, "the observer was starved")


def answers(*rows: tuple[int, int | None]) -> list[Probe]:
    """What becomes of answers at these moments with these indices; None: not a good answer."""
    still: Still | None = None
    found: list[Probe] = []
    for at_ms, index in rows:
        probe = Probe(at_ms - 20, at_ms, UP if index is not None else GONE)
        still = after(still, probe, index)
        found.append(judged(probe, still))
    return found


def every_second(index: int | None, begin_ms: int, end_ms: int) -> list[tuple[int, int | None]]:
    return [(at_ms, index) for at_ms in range(begin_ms, end_ms + 1, 1000)]


def test_a_log_that_stands_still_is_no_healthy_member() -> None:
    """Planted: a member answers from memory; one whose disk hung was healthy, and counted for a majority."""
    found = answers((0, 90), *every_second(91, 1000, 7000))
    assert [one.reach for one in found] == [UP] * 6 + [GONE] * 2
    assert (found[-1].since_ms, found[-1].detail.why) == (1000, "its log stands still")
    assert answers(*every_second(91, 0, 9000), (10_000, 92))[-1].reach is UP


@pytest.mark.parametrize(
    "rows",
    [
        [(0, 90), *every_second(91, 1000, 5900), (6000, 99)],  # a slow line: for less than 5 s
        [*every_second(91, 0, 4000), (5000, None), *every_second(91, 6000, 10_000)],  # no leader in between
        [(0, 91), (STILL_MS + 1000, 91), (2 * STILL_MS, 91)],  # nobody looked: this machine slept beside it
        [(at, 90 + at // 4000) for at in range(0, 40_000, 1000)],  # seldom, and it moves
        every_second(None, 0, 20_000),
    ],
)
def test_what_stands_for_a_while_only_is_none(rows: list[tuple[int, int | None]]) -> None:
    assert not [one for one in answers(*rows) if one.detail.why]


def test_it_takes_several_answers() -> None:
    assert GAP_MS < STILL_MS
    assert [one.reach for one in answers((0, 91), (2500, 91), (5000, 91))] == [UP, UP, GONE]


@pytest.mark.parametrize(
    ("body", "index"),
    [
        (b'{"raftIndex":"12","raftAppliedIndex":"9"}', 9),  # what is not applied is not there
        (b'{"raftIndex":"12"}', 12),
        (b'{"leader":"26"}', None),
    ],
)
def test_how_far_it_has_come(body: bytes, index: int | None) -> None:
    assert applied(body) == index


def test_a_member_is_asked_with_its_memory() -> None:
    times = iter(range(0, 100_000, 1000))  # half a question
    body = OK + b'{"leader":"26","raftIndex":"9","raftAppliedIndex":"9"}'
    with server(body) as port:
        member = Member("127.0.0.1", port, lambda: next(times))
        found = [member.ask().reach for _ in range(4)]
    assert found == [UP, UP, UP, GONE]


def test_since_when() -> None:
    up = extended(None, Probe(0, 4, UP))
    lost = extended(
        extended(up, Probe(1000, 2000, GONE, detail=Detail("x"))), Probe(2000, 3000, GONE, detail=Detail("y"))
    )
    assert seen("sj-wt1", up, 500) == MemberSeen("sj-wt1", UP, 496, 496)
    assert seen("sj-wt1", lost, 3500) == MemberSeen("sj-wt1", GONE, 2500, 500, "y")
    assert seen("sj-wt1", up, STALE_MS + 5) == seen("sj-wt1", None, 0) == MemberSeen("sj-wt1", UNKNOWN)


def one_row(*words: tuple[str, MemberSeen | None], silent: str = "") -> MemberRow:
    observations: list[Observation] = []
    pulses: dict[str, Pulse] = {}
    for number, (site, word) in enumerate(words):
        name = f"{site}/{number}"
        observations.append(observation(site, name=name, age_ms=60_000 if site == silent else 100))
        pulses[name] = Pulse(name, site, 1, (), {}, members=(word,) if word else ())
    (found,) = member_rows(fresh(view(tuple(observations))), pulses, {"sj-wt1": "sejong"})
    return found


GOOD = MemberSeen("sj-wt1", UP, 9000, 300)
BAD = MemberSeen("sj-wt1", GONE, 4000, 200, "no leader")


def test_a_member_from_everywhere() -> None:
    found = one_row(("daejeon", GOOD), ("gyeonggi", GOOD), ("sejong", GOOD))
    everywhere = {"daejeon": UP, "gyeonggi": UP, "sejong": UP}
    assert found == MemberRow("sj-wt1", "sejong", everywhere, 400, None, {})
    assert found.healthy is UP


def test_sites_that_do_not_agree() -> None:
    found = one_row(("daejeon", GOOD), ("sejong", BAD))
    assert (found.why, found.failing_ms, found.healthy) == ({"sejong": "no leader"}, 4100, UNKNOWN)
    assert one_row(("daejeon", BAD), ("sejong", BAD)).healthy is GONE


def test_a_lame_observer_beside_one_that_is_answered_is_not_the_member() -> None:
    found = one_row(("daejeon", BAD), ("daejeon", GOOD))
    assert (found.seen, found.why, found.failing_ms) == ({"daejeon": UP}, {}, None)


def test_who_says_nothing_takes_nothing_away() -> None:
    assert one_row(("daejeon", GOOD), ("sejong", None)).healthy is UP
    nobody = one_row(("daejeon", None), ("sejong", GOOD), silent="sejong")
    assert nobody == MemberRow("sj-wt1", "sejong", {"daejeon": UNKNOWN}, None, None, {})
    assert nobody.healthy is UNKNOWN
