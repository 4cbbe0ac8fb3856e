"""Does a member of the DCS answer, and has it a leader? Each observer asks each member once a second.

It is asked for what it knows itself: `GET /health` of etcd 3.4.23 is a write through a majority, each time
(seen: it raises the raft index). For people: no decision rests on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from failover.bounded_http import NoAnswer, post
from failover.publication import Detail, MemberSeen
from failover.streaks import Probe, Streak
from failover.view import Reach

PERIOD_S = 1.0
LIMIT_S = 1.0
STARVED_MS = 500  # a question that took so much longer than its limit says nothing
STALE_MS = 3000  # no question has ended for longer: nothing is known
PATH = "/v3/maintenance/status"


def seen(name: str, streak: Streak | None, now_ms: int) -> MemberSeen:
    """What to publish now."""
    if streak is None or now_ms - streak.last.ended_ms > STALE_MS:
        return MemberSeen(name, Reach.UNKNOWN)
    last = streak.last
    return MemberSeen(name, streak.reach, now_ms - streak.since_ms, now_ms - last.ended_ms, last.detail.why)


def ask(address: str, port: int, clock_ms: Callable[[], int], limit_s: float = LIMIT_S) -> Probe:
    """One question. Never raises: what went wrong is the answer."""
    began = clock_ms()
    try:
        why = trouble(*post(address, port, PATH, "{}", limit_s))
    except NoAnswer as error:
        why = str(error)
    except ConnectionRefusedError:
        why = "connection refused"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
    ended = clock_ms()
    if why and ended - began > limit_s * 1000 + STARVED_MS:
        return Probe(began, ended, Reach.UNKNOWN, detail=Detail("the observer was starved"))
    reach = Reach.UNREACHABLE if why else Reach.REACHABLE
    return Probe(began, ended, reach, detail=Detail(why[:200]))


def trouble(status: int, body: bytes) -> str:
    """What is wrong with a member that answered; "" when it has a leader and no alarm."""
    if status != 200:
        return f"status {status}"
    read: Any = json.loads(body)
    if not isinstance(read, dict):
        return "no JSON object"
    told = cast(dict[str, Any], read)
    if str(told.get("leader", "0")) == "0":
        return "no leader"
    return "; ".join(str(error).strip() for error in told.get("errors", ()))
