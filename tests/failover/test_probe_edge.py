"""What an observer makes of an edge's answers, and what the screen makes of the observers'."""

from __future__ import annotations

from typing import Any

import pytest

from failover.clients_way import EdgeRow, edge_rows
from failover.observer import monotonic_ms
from failover.probe_edge import STALE_MS, EdgeAsked, EdgeStreak, ask, extended, refusal, seen
from failover.publication import EdgeSeen, EdgeState, Pulse
from failover.view import Observation

from .test_probe_patroni import server
from .views import observation, view

OK, FAILED, UNKNOWN = EdgeState.OK, EdgeState.FAILED, EdgeState.UNKNOWN


def after(*asked: EdgeAsked) -> EdgeStreak:
    streak: EdgeStreak | None = None
    for one in asked:
        streak = extended(streak, one)
    assert streak is not None
    return streak


def test_since_when_and_how_long_it_took() -> None:
    streak = after(EdgeAsked(0, 12, OK), EdgeAsked(1000, 1014, OK))
    assert seen("daejeon", streak, 1400) == EdgeSeen("daejeon", OK, 1388, 14, 386)
    broken = after(
        EdgeAsked(0, 12, OK), EdgeAsked(1000, 3000, FAILED, "x"), EdgeAsked(3000, 3001, FAILED, "y")
    )
    assert seen("daejeon", broken, 3500) == EdgeSeen("daejeon", FAILED, 2500, None, 499, "y")


def test_nothing_is_known_without_a_recent_answer() -> None:
    assert seen("daejeon", None, 0) == EdgeSeen("daejeon", UNKNOWN)
    assert seen("daejeon", after(EdgeAsked(0, 1, OK)), STALE_MS + 2).state is UNKNOWN


@pytest.mark.parametrize(
    ("answer", "state", "why"),
    [
        (b'HTTP/1.0 200 OK\r\n\r\n{"committed": true}', OK, ""),
        (
            b'HTTP/1.1 503 No\r\n\r\n{"committed": false, "reason": "this server is a standby"}',
            FAILED,
            "standby",
        ),
        (b'HTTP/1.1 503 No\r\n\r\n{"error": {"message": "not available"}}', FAILED, "not available"),
        (b"HTTP/1.1 502 Bad\r\n\r\n<html>", FAILED, "status 502"),
        (b"", FAILED, "without an answer"),
        (None, FAILED, "no answer within 0.3 s"),
    ],
)
def test_what_an_edge_answers(answer: bytes | None, state: EdgeState, why: str) -> None:
    with server(answer) as port:
        found = ask("127.0.0.1", port, monotonic_ms, limit_s=0.3)
    assert found.state is state
    assert why in found.why


def test_a_refusal_in_no_known_form() -> None:
    assert refusal(503, b"[]") == refusal(503, b'{"reason": ""}') == "status 503"


def rows(*words: tuple[str, EdgeSeen], silent: str = "") -> tuple[EdgeRow, ...]:
    observations: list[Observation] = []
    pulses: dict[str, Pulse] = {}
    for number, (site, edge) in enumerate(words):
        name = f"{site}/{number}"
        observations.append(observation(site, name=name, age_ms=60_000 if site == silent else 100))
        pulses[name] = Pulse(name, site, 1, (), {}, (edge,))
    return edge_rows(view(tuple(observations)), pulses)


def good(took_ms: int = 12, age_ms: int = 300) -> EdgeSeen:
    return EdgeSeen("daejeon", OK, 9000, took_ms, age_ms)


def bad(why: str = "silent", for_ms: int = 4000) -> EdgeSeen:
    return EdgeSeen("daejeon", FAILED, for_ms, None, 200, why)


def test_an_edge_from_everywhere() -> None:
    found = rows(("daejeon", good()), ("gyeonggi", good(30, 500)), ("sejong", good()))
    states: dict[str, Any] = dict.fromkeys(("daejeon", "gyeonggi", "sejong"), OK)
    assert found == (EdgeRow("daejeon", states, 30, 600, None, {}),)


def test_one_site_does_not_get_through() -> None:
    (found,) = rows(("daejeon", good()), ("sejong", bad()))
    assert (found.seen, found.why) == ({"daejeon": OK, "sejong": FAILED}, {"sejong": "silent"})
    assert (found.took_ms, found.failing_ms) == (12, 4100)


def test_a_lame_observer_beside_one_that_commits_is_not_the_edge() -> None:
    (found,) = rows(("daejeon", good()), ("daejeon", bad()))
    assert (found.seen, found.why, found.failing_ms) == ({"daejeon": OK}, {}, None)


def test_a_silent_observers_word_does_not_count() -> None:
    (found,) = rows(("daejeon", good()), ("sejong", bad()), silent="daejeon")
    assert found.seen == {"sejong": FAILED}
    (unknown,) = rows(("daejeon", good()), silent="daejeon")
    assert unknown == EdgeRow("daejeon", {}, None, None, None, {})
