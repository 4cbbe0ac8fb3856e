"""Is Patroni there? PostgreSQL of a primary may answer while its Patroni is gone, or frozen.

Then its lease will not be renewed, and in the end HAProxy leaves it: a takeover that waits for both is
late by twenty seconds. Each Patroni is asked about twice a second for `/liveness`, which asks neither
PostgreSQL nor etcd. `/patroni` does: while PostgreSQL is away each such question holds one of Patroni's
six REST threads for a second and more, and a few observers would starve HAProxy's checks (read in Patroni
4.1.5, `RestApiHandler.query`, `Retry(delay=1)`).

A frozen Patroni stays so. A killed one is started again by systemd; it refused for 3.0 s in an idle lab,
longer under load. PostgreSQL serves meanwhile, so a refusal may last longer before it counts.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from failover.bounded_http import NoAnswer, get
from failover.streaks import Probe
from failover.view import Reach, Role

PATRONI_MS = 3000  # a primary whose Patroni has been silent for longer, without a break, is unreachable
REFUSED_MS = 5000  # the same, if it refused a connection meanwhile: it may be starting
LIMIT_MS = 400
STARVED_MS = 400  # a question that took so much longer than its limit says nothing
PERIOD_S = 1.0
MUTE_PERIOD_S = 0.2  # while it does not answer: the first answer must not be missed
GAP_MS = 2000  # between two questions: for longer nobody listened, and nothing is known

logger = logging.getLogger("observer")


class Answer(StrEnum):
    ANSWERS = "answers"
    STUCK = "stuck"  # its REST answers, and its loop has not run for as long as its lease
    SILENT = "silent"
    REFUSED = "refused"
    UNKNOWN = "unknown"


MUTE = frozenset({Answer.SILENT, Answer.REFUSED})


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to one Patroni."""

    began_ms: int
    ended_ms: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Heard:
    """The last answer, and `mute_since_ms`: when the first question of an unbroken mute row began.

    `refused`: whether a refusal was in that row.
    """

    last: Asked
    mute_since_ms: int | None = None
    refused: bool = False

    @property
    def lost(self) -> bool:
        """Mute for longer than a start takes, and asked again beyond that."""
        bound_ms = REFUSED_MS if self.refused else PATRONI_MS
        return self.mute_since_ms is not None and self.last.ended_ms - self.mute_since_ms > bound_ms


def after(before: Heard | None, asked: Asked) -> Heard:
    """What is known after one more question. Silence and refusal are one row: it is not there."""
    if asked.answer not in MUTE:
        return Heard(asked)
    unbroken = before is not None and asked.began_ms - before.last.ended_ms <= GAP_MS
    refused = asked.answer is Answer.REFUSED
    if before is None or before.mute_since_ms is None or not unbroken:
        return Heard(asked, asked.began_ms, refused)
    return Heard(asked, before.mute_since_ms, before.refused or refused)


def judged(probe: Probe, heard: Heard | None, now_ms: int) -> Probe:
    """The probe of PostgreSQL, in the light of what was heard of Patroni.

    Only a primary that answers can be made unreachable by it, and the last question must lie beyond
    the bound: a Patroni that came back a moment ago has not been asked again yet.

    Meanwhile the primary goes on acknowledging. From the first mute answer on its sync position is not
    taken any more, so that all observers' stand still by the time they agree: else a candidate that was
    looked at a moment earlier would seem to be behind, and the takeover would be given up.
    """
    if heard is None or now_ms - heard.last.ended_ms > GAP_MS + LIMIT_MS + STARVED_MS:
        return probe
    word, since = heard.last.answer, heard.mute_since_ms
    mute_ms = None if since is None else now_ms - since
    detail = replace(probe.detail, patroni=word.value, patroni_mute_ms=mute_ms)
    probe = replace(probe, detail=detail, sync_lsn=probe.sync_lsn if since is None else None)
    if not heard.lost or probe.reach is not Reach.REACHABLE or probe.role is not Role.PRIMARY:
        return probe
    detail = replace(detail, why="it answers, and its Patroni does not")
    return replace(probe, reach=Reach.UNREACHABLE, since_ms=since, detail=detail)


def ask(address: str, port: int, clock_ms: Callable[[], int]) -> Asked:
    """One question. Never raises: what went wrong is the answer."""
    began = clock_ms()
    try:
        status, _ = get(address, port, "/liveness", LIMIT_MS / 1000)
        answer = Answer.ANSWERS if status == 200 else Answer.STUCK
    except ConnectionRefusedError:
        answer = Answer.REFUSED
    except (NoAnswer, OSError, ValueError):
        answer = Answer.SILENT
    ended = clock_ms()
    if answer in MUTE and ended - began > LIMIT_MS + STARVED_MS:
        answer = Answer.UNKNOWN
    return Asked(began, ended, answer)


class PatroniWatch:
    """Asks one Patroni again and again, in a thread of its own; `heard` may be read from another."""

    def __init__(self, host: str, address: str, port: int, clock_ms: Callable[[], int]) -> None:
        self.name = f"patroni-{host}"
        self.heard: Heard | None = None
        self._host, self._address, self._port, self._clock_ms = host, address, port, clock_ms

    def step(self) -> float:
        """One question; how long to wait, from its beginning, until the next one, in seconds."""
        before = self.heard
        self.heard = after(before, ask(self._address, self._port, self._clock_ms))
        if before is None or before.last.answer is not self.heard.last.answer:
            logger.info("Patroni of %s: %s", self._host, self.heard.last.answer)
        return PERIOD_S if self.heard.mute_since_ms is None else MUTE_PERIOD_S

    def run(self, stopped: Callable[[], bool]) -> None:
        while not stopped():
            began = time.monotonic()
            period = self.step()
            time.sleep(max(0.0, period - (time.monotonic() - began)))


class Prober(Protocol):
    def probe(self) -> Probe: ...


class WithPatroni:
    """A prober that asks PostgreSQL, and judges the answer by what is heard of Patroni."""

    def __init__(self, prober: Prober, watch: PatroniWatch, clock_ms: Callable[[], int]) -> None:
        self._prober, self._watch, self._clock_ms = prober, watch, clock_ms

    def probe(self) -> Probe:
        found = self._prober.probe()
        return judged(found, self._watch.heard, self._clock_ms())
