"""What an observer makes of an etcd member's answers, and what the screen makes of the observers'."""

from __future__ import annotations

import pytest

from failover.dcs_members import MemberRow, member_rows
from failover.observer import monotonic_ms
from failover.probe_member import STALE_MS, ask, seen
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
        found = ask("127.0.0.1", port, monotonic_ms, limit_s=0.3)
    assert found.reach is reach
    assert why in found.detail.why
    assert bool(found.detail.why) is bool(why)


def test_nobody_listens() -> None:
    with server(b"") as port:
        pass
    assert ask("127.0.0.1", port, monotonic_ms).detail.why == "connection refused"


def test_an_observer_that_was_starved_knows_nothing() -> None:
    times = iter((0, 1900))
    with server(b"") as port:
        found = ask("127.0.0.1", port, lambda: next(times), limit_s=1.0)
    assert (found.reach, found.detail.why) == (UNKNOWN, "the observer was starved")


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
