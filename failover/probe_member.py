"""Does a member of the DCS answer, has it a leader, does it write? Each observer asks each once a second.

It is asked for what it knows itself: `GET /health` of etcd 3.4.23 is a write through a majority, each time
(seen: it raises the raft index). For people: no decision rests on it.

What it knows it answers from memory, also while its disk hangs. But then it applies no entry any more, and
the observers make some, several times a second each: a log that stands still is no healthy member's. Where
nobody can write there is no leader, and that is what is said.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

from failover.bounded_http import NoAnswer, post
from failover.publication import Detail, MemberSeen
from failover.streaks import Probe, Streak
from failover.view import Reach

PERIOD_S = 1.0
LIMIT_S = 1.0
STARVED_MS = 500  # a question that took so much longer than its limit says nothing
STALE_MS = 3000  # no question has ended for longer: nothing is known
# For so long, in so many answers: a line that loses packets stops the log for 2 to 4 s (ADR 10), an election
# for less. GAP_MS: between two questions; for longer nobody looked, this machine may have slept beside it.
STILL_MS, ANSWERS, GAP_MS = 5000, 3, 2500
PATH = "/v3/maintenance/status"


def seen(name: str, streak: Streak | None, now_ms: int) -> MemberSeen:
    """What to publish now."""
    if streak is None or now_ms - streak.last.ended_ms > STALE_MS:
        return MemberSeen(name, Reach.UNKNOWN)
    last = streak.last
    return MemberSeen(name, streak.reach, now_ms - streak.since_ms, now_ms - last.ended_ms, last.detail.why)


@dataclass(frozen=True, slots=True)
class Still:
    """An unbroken row of good answers with the same index. Times are of the answers at its ends."""

    index: int
    since_ms: int
    last_ms: int
    answers: int = 1

    @property
    def lasts(self) -> bool:
        return self.answers >= ANSWERS and self.last_ms - self.since_ms >= STILL_MS


def after(before: Still | None, probe: Probe, index: int | None) -> Still | None:
    """The row after one more answer. `index`: None when it told none, and for what was no good answer."""
    if index is None or probe.reach is not Reach.REACHABLE:
        return None
    unbroken = before is not None and probe.began_ms - before.last_ms <= GAP_MS
    if before is None or before.index != index or not unbroken:
        return Still(index, probe.ended_ms, probe.ended_ms)
    return replace(before, last_ms=probe.ended_ms, answers=before.answers + 1)


class Member:
    """One member, asked again and again; for one thread."""

    def __init__(
        self, address: str, port: int, clock_ms: Callable[[], int], limit_s: float = LIMIT_S
    ) -> None:
        self._address, self._port, self._clock_ms, self._limit_s = address, port, clock_ms, limit_s
        self._still: Still | None = None

    def ask(self) -> Probe:
        """One question. Never raises: what went wrong is the answer."""
        probe, index = ask(self._address, self._port, self._clock_ms, self._limit_s)
        self._still = after(self._still, probe, index)
        return judged(probe, self._still)


def judged(probe: Probe, still: Still | None) -> Probe:
    if still is None or not still.lasts:
        return probe
    detail = replace(probe.detail, why="its log stands still")
    return replace(probe, reach=Reach.UNREACHABLE, since_ms=still.since_ms, detail=detail)


def ask(address: str, port: int, clock_ms: Callable[[], int], limit_s: float) -> tuple[Probe, int | None]:
    """One question, and how far the member has applied the log. Never raises."""
    began, index = clock_ms(), None
    try:
        status, body = post(address, port, PATH, "{}", limit_s)
        why = trouble(status, body)
        index = applied(body) if not why else None
    except NoAnswer as error:
        why = str(error)
    except ConnectionRefusedError:
        why = "connection refused"
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
    ended = clock_ms()
    if why and ended - began > limit_s * 1000 + STARVED_MS:
        return Probe(began, ended, Reach.UNKNOWN, detail=Detail("the observer was starved")), None
    reach = Reach.UNREACHABLE if why else Reach.REACHABLE
    return Probe(began, ended, reach, detail=Detail(why[:200])), index


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


def applied(body: bytes) -> int | None:
    """The index of the last entry that a member has applied; None: it does not say. Raises ValueError."""
    read: dict[str, Any] = json.loads(body)
    told = read.get("raftAppliedIndex", read.get("raftIndex"))
    return None if told is None else int(told)
