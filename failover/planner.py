"""`plan(view)`: from one frozen view to one decision. Pure: no I/O, no clock, no randomness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from failover import commands, transaction
from failover.approvals import standing
from failover.block import followed
from failover.candidates import choose, last_primary
from failover.commands import HELD, NO_PROOF, WAITS, Command
from failover.decision_support import support
from failover.guards import GUARDS, Case, Verdict, dcs_seen
from failover.guards import Held as Held
from failover.table import ENDED, IDLE, Action, Row, rows_of
from failover.view import NotSeen, Operation, Phase, View
from failover.votes import sites_without, witnesses

NO_ROW = Row(0, "", "dcs_seen", frozenset(), Action.NOTHING)  # below the table: the DCS was not seen


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and why: the row of the table and the verdict that made it fire."""

    row: Row
    reason: str
    commands: tuple[Command, ...] = ()

    def __str__(self) -> str:
        return f"row {self.row.pos} {self.row.phase or 'any'}: {self.row.action} ({self.reason})"


def plan(view: View) -> Decision:
    """Walk the rows of the present phase; the first that fires decides."""
    seen = dcs_seen(view)
    if isinstance(view.dcs, NotSeen) or seen.held is not Held.HOLDS:
        return Decision(NO_ROW, seen.reason)
    case = _case(view)
    operation = case.operation
    phase = IDLE if operation is None or operation.phase in ENDED else operation.phase
    for row in rows_of(phase):
        verdict = GUARDS[row.guard](case)
        if verdict.held in row.on:
            return Decision(row, f"{row.guard}: {verdict.reason}", _commands(row.action, case, verdict))
    raise AssertionError(f"no row fired in {phase}")  # table.problems() excludes this when imported


def _case(view: View) -> Case:
    """The takeover to judge: the one under way, or the one that could begin now.

    While no site misses the primary there is no candidate to look for, unless nobody holds the lock or a
    person has asked.
    """
    dcs = view.dcs
    assert not isinstance(dcs, NotSeen)
    operation = dcs.operation
    if operation is not None and operation.phase not in ENDED:
        return Case(view, dcs, operation.old, operation.candidate, operation.kind, operation)
    old = last_primary(dcs)
    asked = dcs.lock is None or standing(dcs) is not None
    missed = old is not None and (asked or sites_without(view, (old,)))
    candidate, kind = (choose(view, dcs) if missed else None) or (None, None)
    return Case(view, dcs, old, candidate, kind, operation)


def _commands(action: Action, case: Case, verdict: Verdict) -> tuple[Command, ...]:
    return _MAKERS[action](case, verdict)


def _nothing(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    return ()


def _wait(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    """The primary is gone and the block period holds. What follows it is not judged yet."""
    return (
        commands.Tell(f"{WAITS}: {case.old} is missed; {verdict.reason}; {support(case.view)}", urgent=True),
    )


def _held(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    """The primary is gone, and somebody has asked for stillness, who may have forgotten it."""
    return (
        commands.Tell(f"{HELD}: {case.old} is missed; {verdict.reason}; {support(case.view)}", urgent=True),
    )


def _refuse(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    """The primary is gone and the proof does not hold: Patroni's lease decides, or a person."""
    return (commands.Tell(f"{NO_PROOF}: {verdict.reason}; {support(case.view)}", urgent=True),)


def _ask(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    text = f"approval needed: promoting {case.candidate} is proved to lose nothing and waits for a person"
    return (commands.Tell(f"{text}; {support(case.view)}", urgent=True),)


def _say(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    return (commands.Tell(f"would promote {case.candidate}: {verdict.reason}", urgent=False),)


def _intend(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    old, candidate, kind = case.old, case.candidate, case.kind
    assert old is not None  # row 110
    assert candidate is not None  # row 180
    assert kind is not None  # comes with the candidate
    after = followed(case.operation, case.view.operation_age_ms, case.view.policy)
    intent = transaction.intend(old, case.dcs.lock, candidate, kind, case.operation, after)
    declared = transaction.declare(intent, case.dcs.operation_revision, case.dcs.lock)
    return (commands.Write(declared, "intended"),)


def _transact(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    assert case.old is not None
    held = case.dcs.lock is not None
    behind = witnesses(case.view, sites_without(case.view, (case.old,))) if held else {}
    return (
        commands.TakeLock(
            transaction.takeover(case.dcs, behind), case.view.policy.dcs_fresh_ms - case.view.dcs_age_ms
        ),
    )


def _step(case: Case, phase: Phase, note: str = "") -> commands.Write:
    """Write the next phase. An offer in /failover that is still ours goes with an abort."""
    operation = _under_way(case)
    withdraw = (
        phase is Phase.ABORTED
        and operation.phase is Phase.TRANSACTED
        and case.dcs.failover_revision == case.dcs.operation_revision
    )
    after = replace(operation, phase=phase, note=note)
    return commands.Write(
        transaction.advance(after, case.dcs.operation_revision, withdraw=withdraw), phase.value
    )


def _under_way(case: Case) -> Operation:
    assert case.operation is not None  # only phases with an operation lead here
    return case.operation


def _abort(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    operation = _under_way(case)
    urgent = operation.phase in (Phase.TAKEN, Phase.REVOKED)
    return (
        _step(case, Phase.ABORTED, f"{operation.phase}: {verdict.reason}"),
        commands.Tell(f"takeover {operation.epoch} ended in {operation.phase}: {verdict.reason}", urgent),
    )


def _confirm(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    return (_step(case, Phase.TAKEN),)


def _revoke(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    lease = _under_way(case).old_lease
    return (*((commands.RevokeLease(lease),) if lease else ()), _step(case, Phase.REVOKED))


def _finish(case: Case, verdict: Verdict) -> tuple[Command, ...]:
    return (_step(case, Phase.DONE),)


_MAKERS: dict[Action, Callable[[Case, Verdict], tuple[Command, ...]]] = {
    Action.NOTHING: _nothing,
    Action.WAIT: _wait,
    Action.HELD: _held,
    Action.REFUSE: _refuse,
    Action.ASK: _ask,
    Action.SAY: _say,
    Action.INTEND: _intend,
    Action.TRANSACT: _transact,
    Action.ABORT: _abort,
    Action.CONFIRM: _confirm,
    Action.REVOKE: _revoke,
    Action.FINISH: _finish,
}
