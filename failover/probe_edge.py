"""Can a client commit through a site's edge? Each observer asks each edge every two seconds, for people.

`/healthz/commit` answers 200 only after a commit that every sync standby has acknowledged. No decision rests
on it: routing follows a takeover, and must not cause one. All observers together make several such commits a
second (reference shape: four observers, two edges: four), and each costs the application a write.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from failover.bounded_http import NoAnswer, get
from failover.publication import EdgeSeen, EdgeState

PERIOD_S = 2.0  # of one observer and one edge
LIMIT_S = 2.0
STARVED_MS = 500  # a question that took so much longer than its limit says nothing
STALE_MS = 6000  # no question has ended for longer: nothing is known
PATH = "/healthz/commit"


@dataclass(frozen=True, slots=True)
class EdgeAsked:
    """One question to one edge. `why`: of a failure."""

    began_ms: int
    ended_ms: int
    state: EdgeState
    why: str = ""


@dataclass(frozen=True, slots=True)
class EdgeStreak:
    """An unbroken row of answers of one kind, since `since_ms`; the last of them."""

    since_ms: int
    last: EdgeAsked


def extended(streak: EdgeStreak | None, asked: EdgeAsked) -> EdgeStreak:
    if streak is not None and streak.last.state is asked.state:
        return EdgeStreak(streak.since_ms, asked)
    return EdgeStreak(asked.began_ms if asked.state is EdgeState.FAILED else asked.ended_ms, asked)


def seen(site: str, streak: EdgeStreak | None, now_ms: int) -> EdgeSeen:
    """What to publish now."""
    if streak is None or now_ms - streak.last.ended_ms > STALE_MS:
        return EdgeSeen(site, EdgeState.UNKNOWN)
    last = streak.last
    took_ms = last.ended_ms - last.began_ms if last.state is EdgeState.OK else None
    return EdgeSeen(site, last.state, now_ms - streak.since_ms, took_ms, now_ms - last.ended_ms, last.why)


def ask(address: str, port: int, clock_ms: Callable[[], int], limit_s: float = LIMIT_S) -> EdgeAsked:
    """One question. Never raises: what went wrong is the answer."""
    began, why = clock_ms(), ""
    try:
        status, body = get(address, port, PATH, limit_s)
        why = "" if status == 200 else refusal(status, body)
    except NoAnswer as error:
        why = str(error)
    except ConnectionRefusedError:
        why = "connection refused"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
    ended = clock_ms()
    if why and ended - began > limit_s * 1000 + STARVED_MS:
        return EdgeAsked(began, ended, EdgeState.UNKNOWN, "the observer was starved")
    return EdgeAsked(began, ended, EdgeState.FAILED if why else EdgeState.OK, why[:200])


def refusal(status: int, body: bytes) -> str:
    """The reason in a refusal: the application's own words, or HAProxy's, else the status."""
    try:
        read: Any = json.loads(body)
        reason = read.get("reason") or read["error"]["message"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"status {status}"
    return " ".join(str(reason).split()) or f"status {status}"
