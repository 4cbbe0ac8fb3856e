"""Planted bugs in the controller and its observers: the planner, the takeover transaction, votes, executor.

What is changed is the real code. Guards that are removed are in `guards_removed.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from failover import approvals as rule
from failover import candidates, executor, guards, planned_restart, planner, transaction, votes
from failover.commands import RevokeLease
from failover.freshness import Freshness
from failover.transaction import (
    APPROVAL,
    CONFIG,
    FAILOVER,
    LEADER,
    OPERATION,
    SYNC,
    VERDICT,
    Delete,
    Put,
)
from failover.view import Reach

from . import ambushes, approvals, restarts
from . import incidents as inc
from .alone import ALONE
from .incidents import Plan, only
from .planting import ASKS, LOSSES, Patch, Planted, both, changed, uncompared
from .rules import UNMENDED
from .world import Settings

SHORT = Plan(
    kinds=((inc.wan_cut, 4), (inc.flapping, 3), (inc.isolate, 2), (inc.loss, 3), (inc.observer_kill, 2))
)


def _reordered(one: transaction.Transaction) -> transaction.Transaction:
    order = {SYNC: 0, FAILOVER: 1, OPERATION: 2, LEADER: 3}
    return replace(one, changes=tuple(sorted(one.changes, key=lambda each: order[each.key])))


def _without_bump(one: transaction.Transaction) -> transaction.Transaction:
    return replace(one, changes=tuple(each for each in one.changes if each.key != SYNC))


def _epoch_kept(one: transaction.Transaction) -> transaction.Transaction:
    changes: list[Put | Delete] = []
    for each in one.changes:
        if isinstance(each, Put) and each.key == OPERATION:
            operation = transaction.decode(each.value)
            each = Put(OPERATION, transaction.encode(replace(operation, epoch=operation.epoch - 1)))
        changes.append(each)
    return replace(one, changes=tuple(changes))


def _votes(vote: Callable[[list[Any], int], Reach]) -> Patch:
    return lambda: patch.object(votes, "_vote", vote)


def _no_window(seen: list[Any], window_ms: int) -> Reach:
    return votes_vote(seen, 0)


def _unknown_is_no(seen: list[Any], window_ms: int) -> Reach:
    known = [replace(one, reach=Reach.UNREACHABLE) if one.reach is Reach.UNKNOWN else one for one in seen]
    return votes_vote(known, window_ms)


def _any_is_enough(seen: list[Any], window_ms: int) -> Reach:
    missed = [one for one in seen if one.reach is Reach.UNREACHABLE and one.for_ms >= window_ms]
    return Reach.UNREACHABLE if missed else votes_vote(seen, window_ms)


votes_vote = votes._vote


def _observers_counted() -> AbstractContextManager[Any]:
    """Two observers at one site count as two sites."""
    real = votes.sites_without

    def counted(view: Any, hosts: tuple[str, ...]) -> frozenset[str]:
        against = real(view, hosts)
        return against | {one.observer for one in votes.fresh(view) if one.site in against}

    stack = ExitStack()
    stack.enter_context(patch.object(guards, "sites_without", counted))
    return stack


def _all_are_fresh() -> AbstractContextManager[Any]:
    stack = ExitStack()
    for module in (votes, guards, candidates):
        stack.enter_context(patch.object(module, "fresh", lambda view: view.observations))
    real = votes.votes

    def all_count(view: Any, host: str) -> dict[str, Reach]:
        return real(
            replace(view, observations=tuple(replace(one, age_ms=0) for one in view.observations)), host
        )

    for module in (votes, guards, candidates):
        stack.enter_context(patch.object(module, "votes", all_count))
    return stack


def _any_age() -> AbstractContextManager[Any]:
    """A controller that slept between its plan and the transaction goes on as if nothing had been."""

    def steps(decision: Any, age_ms: Any) -> Any:
        return executor.steps(decision, lambda: 0)

    return patch("tests.simulation.controller.steps", steps)


def _revoke_first() -> AbstractContextManager[Any]:
    real = planner._MAKERS[planner.Action.TRANSACT]

    def maker(case: Any, verdict: Any) -> Any:
        return (RevokeLease(case.operation.old_lease), *real(case, verdict))

    return patch.dict(planner._MAKERS, {planner.Action.TRANSACT: maker})


def _any_lock() -> AbstractContextManager[Any]:
    """An approval stands for whatever lock there is."""

    def standing(dcs: Any) -> Any:
        if dcs.approval is None or dcs.lock is None:
            return dcs.approval
        return rule.standing(replace(dcs, approval=replace(dcs.approval, lock_revision=dcs.lock.revision)))

    stack = ExitStack()
    for module in (guards, planner, candidates, transaction):
        stack.enter_context(patch.object(module, "standing", standing))
    return stack


def _blind_writes() -> AbstractContextManager[Any]:
    """The phase is written whatever stands there now."""
    real = transaction.advance

    def advance(operation: Any, revision: int, *, withdraw: bool = False) -> Any:
        return replace(real(operation, revision), compares=())

    return patch.object(transaction, "advance", advance)


CONTROLLER_BROKEN: tuple[Planted, ...] = (
    Planted(
        "the free lock is not compared",
        uncompared(LEADER),
        Settings(policy=ASKS, person=False),
        only(approvals.lock_returns),
    ),
    Planted(
        "the approval is not compared",
        uncompared(APPROVAL),
        Settings(policy=ASKS, person=False),
        only(approvals.withdrawn),
    ),
    Planted(
        "an approval stands for any lock",
        _any_lock,
        Settings(policy=ASKS, person=False),
        only(approvals.for_another_lock),
    ),
    Planted("/leader is not compared", uncompared(LEADER), plan=only(ambushes.lock_moves)),
    Planted("/sync is not compared", uncompared(SYNC), plan=only(ambushes.set_shrinks)),
    Planted(
        "/config is not compared",
        uncompared(CONFIG),
        plan=only(ambushes.config_changes),
    ),
    Planted(
        "our operation is not compared when a phase is written", _blind_writes, plan=only(ambushes.late_phase)
    ),
    Planted("lease revoked first", _revoke_first, plan=LOSSES),
    Planted(
        "/sync left as it is: its revision does not move",
        changed(_without_bump),
        Settings(rules=UNMENDED, hazard=0),
        only(ambushes.stale_loop),
    ),
    Planted(
        "/sync written before /leader is deleted",
        changed(_reordered),
        Settings(rules=UNMENDED, hazard=0, torn=0.3),
        only(ambushes.torn_read),
    ),
    Planted("an observer counted twice", _observers_counted, plan=SHORT),
    Planted("one observer outvotes another of its site", _votes(_any_is_enough), plan=only(inc.link_cut)),
    Planted("one failed probe is enough: no window", _votes(_no_window), plan=SHORT),
    Planted(
        "unknown counted as unreachable",
        _votes(_unknown_is_no),
        plan=Plan(kinds=((inc.blind, 3), (inc.wan_cut, 1))),
    ),
    Planted(
        "stale view acted on: ages ignored, verdicts not compared",
        both(_all_are_fresh, uncompared(VERDICT)),
        plan=only(ambushes.last_words),
    ),
    Planted(
        "pause between read and transaction: plan's age and verdicts ignored",
        both(_any_age, uncompared(VERDICT)),
        plan=only(ambushes.sleeper),
    ),
    Planted("the epoch does not rise", changed(_epoch_kept), plan=LOSSES),
    Planted(
        "an observer's word from before a break of the DCS counts as fresh",
        lambda: patch.object(Freshness, "doubt", lambda seen: None),
        Settings(hazard=0),
        only(approvals.unread_word),
    ),
    Planted(
        "a restart of the primary's PostgreSQL is not waited for",
        lambda: patch("tests.simulation.controller.judged", lambda probe, away: probe),
        Settings(hazard=0),
        only(restarts.in_time),
    ),
    Planted(
        "a restart of the primary's PostgreSQL is waited for without a bound",
        lambda: patch.object(planned_restart, "RESTART_MS", 60_000),
        Settings(hazard=0),
        replace(ALONE, number=1, kinds=((restarts.too_long, 1),)),
    ),
)
