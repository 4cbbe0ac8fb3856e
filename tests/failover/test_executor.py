"""The executor against a DCS of its own: order, unknown answers, old plans, everything twice."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from failover.commands import Command, RevokeLease, TakeLock, Tell, Write
from failover.executor import Answer, Executor
from failover.planner import NO_ROW, Decision
from failover.transaction import OPERATION, Put, Transaction, advance, unchanged

from .views import INTENT

WRITE = Write(advance(INTENT, 4), "intended")
TAKE = TakeLock(Transaction((unchanged(OPERATION, 4),), (Put(OPERATION, "x"),)), valid_ms=900)


@dataclass
class World:
    """Both protocols. Answers come from `answers`, then OK; everything done is noted."""

    answers: list[Answer] = field(default_factory=list)
    done: list[object] = field(default_factory=list)
    now_ms: int = 0

    def _answer(self, what: object) -> Answer:
        self.done.append(what)
        return self.answers.pop(0) if self.answers else Answer.OK

    def commit(self, transaction: Transaction) -> Answer:
        return self._answer(transaction)

    def revoke(self, lease: int) -> Answer:
        return self._answer(("revoke", lease))

    def tell(self, text: str, *, urgent: bool) -> None:
        self.done.append(("tell", text, urgent))


def carry_out(world: World, *commands: Command, age_ms: int = 0) -> Answer:
    executor = Executor(world, world, lambda: world.now_ms + age_ms)
    return executor.carry_out(Decision(NO_ROW, "test", commands), decided_ms=world.now_ms)


def test_commands_are_carried_out_in_order() -> None:
    world = World()
    commands = (
        WRITE,
        RevokeLease(7),
        Tell("done", urgent=False),
    )
    assert carry_out(world, *commands) is Answer.OK
    assert world.done == [
        WRITE.transaction,
        ("revoke", 7),
        ("tell", "done", False),
    ]


@pytest.mark.parametrize("answer", [Answer.REFUSED, Answer.UNKNOWN])
def test_nothing_follows_a_command_that_is_not_ok(answer: Answer) -> None:
    world = World([answer])
    assert carry_out(world, RevokeLease(7), WRITE) is answer
    assert world.done == [("revoke", 7)]


def test_a_takeover_that_waited_too_long_is_not_sent() -> None:
    world = World()
    assert carry_out(world, TAKE, age_ms=901) is Answer.REFUSED
    assert world.done == []
    assert carry_out(world, TAKE, age_ms=900) is Answer.OK


def test_no_commands_is_done() -> None:
    assert carry_out(World()) is Answer.OK
