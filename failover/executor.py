"""Carrying out a decision, one command after the other, so that a crash anywhere can be resumed.

The steps are a generator that yields each command and is sent its answer. `Executor` drives it with a
real client; the simulation drives the same generator and may pause or kill it between any two steps.
Nothing is kept in memory from one decision to the next: the phase is in etcd, and whoever reads it goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from failover.commands import Command, RevokeLease, TakeLock, Tell, Write
from failover.planner import Decision
from failover.transaction import Transaction


class Answer(StrEnum):
    """What became of one command."""

    OK = "ok"
    REFUSED = "refused"  # a comparison did not hold: somebody else was first, nothing was changed
    UNKNOWN = "unknown"  # no answer in time: it may have happened, and may still happen


class Dcs(Protocol):
    """The DCS. Each call is bounded in time by the implementation, and answers UNKNOWN when that is over.

    It must not repeat a transaction by itself: a repeated one finds its own first change and is refused.
    """

    def commit(self, transaction: Transaction) -> Answer: ...

    def revoke(self, lease: int) -> Answer: ...


class Effects(Protocol):
    """What reaches beyond the DCS: people. Routes and old sessions are the gatekeepers' (ADR 7)."""

    def tell(self, text: str, *, urgent: bool) -> None: ...


Steps = Generator[Command, Answer, Answer]


def steps(decision: Decision, age_ms: Callable[[], int]) -> Steps:
    """Yield each command, take its answer; stop at the first that is not OK.

    `age_ms`: how long ago the decision was made, by the controller's monotonic clock. A takeover that
    has waited too long (a controller that slept) is refused here, before it is sent. This is an early
    check only; what decides is compared in the transaction itself.

    After UNKNOWN nothing more is done: the next view shows what became of it. That may even be later
    than the next view; then the revision of our key, which every transaction compares, decides.
    """
    for command in decision.commands:
        if isinstance(command, TakeLock) and age_ms() > command.valid_ms:
            return Answer.REFUSED
        answer = yield command
        if answer is not Answer.OK and not isinstance(command, Tell):
            return answer
    return Answer.OK


@dataclass(frozen=True, slots=True)
class Executor:
    """Carries out decisions against a real DCS and real effects. `clock_ms` is monotonic."""

    dcs: Dcs
    effects: Effects
    clock_ms: Callable[[], int]

    def carry_out(self, decision: Decision, decided_ms: int) -> Answer:
        """`decided_ms`: when the decision was made, on `clock_ms`. OK, or the answer that ended it."""
        running = steps(decision, lambda: self.clock_ms() - decided_ms)
        try:
            command = next(running)
            while True:
                command = running.send(self._do(command))
        except StopIteration as end:
            return Answer(end.value)

    def _do(self, command: Command) -> Answer:
        match command:
            case Write() | TakeLock():
                return self.dcs.commit(command.transaction)
            case RevokeLease():
                return self.dcs.revoke(command.lease)
            case Tell():
                self.effects.tell(command.text, urgent=command.urgent)
                return Answer.OK
