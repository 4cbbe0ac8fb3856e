"""The load's client of the application: every request is journalled, before and after."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lab.drill.clock import Clock
from lab.drill.exchange import Exchanged, exchange
from lab.drill.journal import Journal
from lab.drill.operations import PASSING_STATUSES, Outcome, Stage, classify, error_code

API = "/api/v1"
RETRY_AFTER_S = 1.0
SHUN_S = 5.0  # an edge that could not be reached is tried last for this long
# Refusals that time may change: the same request is sent again, with the same key.
PASSING_REFUSALS = frozenset({"too_early"})


class GaveUp(Exception):
    """A retried operation was refused for good, or the load had to stop first."""


@dataclass(frozen=True, slots=True)
class Call:
    """One POST that a client wants done."""

    stream: str
    kind: str
    key: str
    path: str  # below /api/v1
    body: dict[str, Any]
    party_key: str


@dataclass(slots=True)
class Progress:
    """What a stream has reached, for the parent's watch."""

    sent: int = 0
    outcomes: dict[str, int] = field(default_factory=lambda: {str(outcome): 0 for outcome in Outcome})
    last_acknowledged_at: float | None = None
    last_refusal: str = ""


class Client:
    """Sends calls to an edge and journals them."""

    def __init__(
        self, journal: Journal, clock: Clock, edges: Mapping[str, str], connect_s: float, timeout_s: float
    ) -> None:
        self._journal = journal
        self.clock = clock
        self._edges = edges
        self._connect_s = connect_s
        self._timeout_s = timeout_s
        self._numbers = itertools.count(1)
        self._unreached: dict[str, float] = {}  # edge -> when it could last not be reached
        self.progress: dict[str, Progress] = {}

    async def attempt(self, call: Call, edge: str) -> tuple[Outcome, Exchanged]:
        """One attempt, no retry."""
        number = next(self._numbers)
        progress = self.progress.setdefault(call.stream, Progress())
        progress.sent += 1
        shown = {name: "***" if name == "key" else value for name, value in call.body.items()}
        self._journal.write(
            record="sent",
            n=number,
            at=self.clock.now(),
            stream=call.stream,
            kind=call.kind,
            key=call.key,
            edge=edge,
            path=API + call.path,
            body=shown,
        )
        headers = {"Authorization": f"Bearer {call.party_key}", "Idempotency-Key": call.key}
        result = await exchange(
            "POST",
            self._edges[edge] + API + call.path,
            headers=headers,
            body=call.body,
            connect_timeout_s=self._connect_s,
            timeout_s=self._timeout_s,
        )
        if result.stage is Stage.CONNECT:
            self._unreached[edge] = self.clock.now()
        outcome = classify(result.stage, result.status, error_code(result.response))
        at = self.clock.now()
        self._journal.write(
            record="done",
            n=number,
            at=at,
            outcome=outcome,
            status=result.status,
            response=result.response,
            error=result.error,
        )
        progress.outcomes[outcome] += 1
        if outcome is Outcome.ACKNOWLEDGED:
            progress.last_acknowledged_at = at
        else:
            progress.last_refusal = f"{call.path}: {result.status} {result.error or result.response}"[:300]
        return outcome, result

    async def insist(self, call: Call, edges: list[str], stopping: asyncio.Event) -> dict[str, Any]:
        """Retries with the same key until it is acknowledged, first at edges that could be reached lately.

        Raises GaveUp when it is refused for good or the load stops.
        """
        edges = list(edges)
        while True:
            for edge in self._in_order(edges):
                outcome, result = await self.attempt(call, edge)
                if outcome is Outcome.ACKNOWLEDGED:
                    return result.response
                if _for_good(result):
                    raise GaveUp(f"{call.kind} {call.key}: {result.status} {result.response}")
                if stopping.is_set():
                    raise GaveUp(f"{call.kind} {call.key}: the load stops")
                if result.stage is not Stage.CONNECT:
                    break  # somebody answered there: ask again after a pause, as it says
            if error_code(result.response) not in PASSING_REFUSALS:
                edges.append(edges.pop(0))  # what one edge cannot do now another may
            await asyncio.sleep(result.retry_after_s or RETRY_AFTER_S)

    def _in_order(self, edges: list[str]) -> list[str]:
        """Edges that could not be reached a moment ago come last; else the caller's order."""
        now = self.clock.now()
        return sorted(edges, key=lambda edge: now - self._unreached.get(edge, 0.0) < SHUN_S)


def _for_good(result: Exchanged) -> bool:
    """A refusal that the same request would get again."""
    status = result.status
    final = status is not None and 400 <= status < 500 and status not in PASSING_STATUSES
    return final and error_code(result.response) not in PASSING_REFUSALS
