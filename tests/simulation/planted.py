"""Planted bugs: a checker that has never failed proves nothing.

Each bug is one change to the real planner, transaction or executor. It runs in the incidents that it is
most likely to meet; the same incidents without it break nothing (`test_planted.py` runs both).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from failover import approvals as rule
from failover import candidates, executor, guards, planned_restart, planner, transaction, votes
from failover.commands import RevokeLease
from failover.freshness import Freshness
from failover.policy import Mode, Policy
from failover.transaction import (
    APPROVAL,
    CONFIG,
    FAILOVER,
    HOLD,
    LEADER,
    OPERATION,
    SYNC,
    VERDICT,
    Delete,
    Put,
)
from failover.view import Reach
from replication import fresh_timeline, sync_swap

from . import ambushes, approvals, drags, restarts, signatures
from . import incidents as inc
from .alone import ALONE
from .incidents import Plan
from .rules import MENDED, PatroniRules
from .world import Settings

Patch = Callable[[], AbstractContextManager[Any]]
# Patroni as it is, but for its watchdog: here the transaction alone must hold off a stale writer.
UNMENDED = PatroniRules(False, False, False, True)
ASKS = Policy(cross_site=Mode.APPROVE)


@dataclass(frozen=True)
class Planted:
    name: str
    patch: Patch
    settings: Settings = field(default_factory=Settings)
    plan: Plan = field(default_factory=Plan)
    clean: Settings | None = None  # without the bug, where the bug is in the settings
    at_most: int = 1500  # incidents; it must show within so many


def only(kind: inc.Kind) -> Plan:
    """One incident a run, of one kind: a second one would fall into the block period."""
    return Plan(number=1, gap_ms=2000, kinds=((kind, 1),))


def without(*names: str) -> Patch:
    """Guards that always hold."""
    always = {name: lambda case: guards.holds("planted") for name in names}
    return lambda: patch.dict(guards.GUARDS, always)


def both(*patches: Patch) -> Patch:
    @contextmanager
    def combined() -> Iterator[None]:
        with ExitStack() as stack:
            for one in patches:
                stack.enter_context(one())
            yield

    return combined


def changed(make: Callable[[transaction.Transaction], transaction.Transaction]) -> Patch:
    """Another takeover transaction."""
    real = transaction.takeover
    return lambda: patch.object(transaction, "takeover", lambda dcs, behind: make(real(dcs, behind)))


def uncompared(*prefixes: str) -> Patch:
    return changed(
        lambda one: replace(
            one, compares=tuple(each for each in one.compares if not each.key.startswith(prefixes))
        )
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


def _any_standby() -> AbstractContextManager[Any]:
    def choose(view: Any, dcs: Any) -> Any:
        names = frozenset(host.name for host in view.hosts)
        return candidates.choose(view, replace(dcs, sync=replace(dcs.sync, members=names)))

    return patch.object(planner, "choose", choose)


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


def _claim_uncompared() -> AbstractContextManager[Any]:
    """A claim is put, whatever its key has become."""
    real = sync_swap.write

    def write(dcs: Any, puts: Any, *more: Any) -> Any:
        real(dcs, puts, *more)
        mine, asked = sync_swap.encoded(dcs.client_path(fresh_timeline.KEY)), dcs.asked()
        dcs.call_rpc(
            "/kv/txn",
            {**asked, "compare": [each for each in asked["compare"] if each["key"] != mine]},
            None,
        )

    return patch.object(sync_swap, "write", write)


def _claim_used_again() -> AbstractContextManager[Any]:
    """After an attempt of which nothing is known, its number is taken for claimed."""
    real = fresh_timeline.made_ready

    def made_ready(wal: Any, timeline: Any, heard: Any, before: Any, name: Any, unused: Any) -> Any:
        number, again = real(wal, timeline, heard, before, name, unused)
        return (number, again) if unused is None else (unused, True)

    return patch.object(fresh_timeline, "made_ready", made_ready)


FREEZES = Plan(
    kinds=(
        (inc.host_freeze, 4),
        (inc.patroni_pause, 2),
        (inc.controller_kill, 3),
        (inc.isolate_host, 3),
        (inc.host_loss, 2),
    )
)
SHORT = Plan(
    kinds=((inc.wan_cut, 4), (inc.flapping, 3), (inc.isolate, 2), (inc.loss, 3), (inc.observer_kill, 2))
)
LOSSES = Plan(kinds=((inc.host_loss, 5), (inc.isolate_host, 4), (inc.site_loss, 3), (inc.replication_cut, 4)))
HANDOVERS = Plan(number=3, gap_ms=9000, kinds=((inc.handover, 1),))
JUMPY = Settings(hazard=0.02)

# Guards whose removal breaks no invariant, and why they are there. Each is shown by value in
# `tests/failover/test_guards.py`.
SAVE_TIME = {
    "candidate_ready": "the lock is not offered to a host that cannot take it",
    "no_failover_key": "a person's switchover is not overwritten; that is safe, too",
    "intent_stands": "says it one loop before `primary_unreachable` and `candidate_in_sync` would",
    "sync_is_the_holders": "asked of planned handovers and for the status screen only",
    "sync_names_the_holder": "a lock holder that /sync does not name gives the lock back by itself",
    "lock_free": "ends an operation that somebody else's lock has ended",
    "within_lock_limit": "a candidate that does not come is given up; Patroni's lease would end it, too",
    "within_promote_limit": "an operation that does not end is ended; nothing else waits for it but the next",
}

PLANTED: tuple[Planted, ...] = (
    # Each guard removed.
    Planted(
        "guard candidate_in_sync removed (and any standby chosen)",
        both(without("candidate_in_sync"), _any_standby),
        plan=LOSSES,
    ),
    Planted(
        "guard primary_unreachable removed: one site's word is enough",
        without("primary_unreachable"),
        plan=Plan(kinds=((inc.observer_kill, 5), (inc.isolate_host, 3), (inc.link_cut, 3))),
    ),
    Planted(
        "guard candidates_site_agrees removed",
        without("candidates_site_agrees"),
        plan=Plan(kinds=((inc.outer_cut, 5), (inc.wan_cut, 1))),
    ),
    Planted("guard scope_proved removed", without("scope_proved"), plan=LOSSES),
    Planted(
        "guard all_acknowledge removed: a quorum counted as all",
        without("all_acknowledge"),
        Settings(mode="quorum"),
        plan=LOSSES,
    ),
    Planted(
        "guard candidate_not_behind removed",
        without("candidate_not_behind"),
        Settings(hazard=0),
        only(ambushes.restored),
    ),
    Planted(
        "guard no_hold removed (and the hold not compared)",
        both(without("no_hold"), uncompared(HOLD)),
        plan=Plan(kinds=((inc.hold, 2), (inc.host_loss, 3), (inc.isolate_host, 3))),
    ),
    Planted(
        "guard not_paused removed",
        without("not_paused"),
        plan=Plan(kinds=((inc.patroni_paused, 2), (inc.host_loss, 3), (inc.isolate_host, 3))),
    ),
    Planted("guard block_over removed", without("block_over"), plan=FREEZES),
    Planted(
        "guard policy_allows removed",
        without("policy_allows"),
        Settings(policy=Policy(in_site=Mode.OBSERVE, cross_site=Mode.APPROVE)),
        plan=LOSSES,
    ),
    Planted(
        "guard not_patronis_race removed: a free lock taken without a person",
        without("not_patronis_race"),
        plan=Plan(kinds=((inc.etcd_member, 2), (inc.isolate, 3), (inc.site_loss, 4), (inc.host_freeze, 3))),
        at_most=6000,  # the lock is seldom free: who takes over takes it, and an intent compares it
    ),
    Planted(
        "guard primary_was_there removed: who is starting is missed",
        without("primary_was_there"),
        Settings(hazard=0),
        only(approvals.everything_starts),
    ),
    Planted(
        "an observer's word from before a break of the DCS counts as fresh",
        lambda: patch.object(Freshness, "doubt", lambda seen: None),
        Settings(hazard=0),
        only(approvals.unread_word),
    ),
    Planted(
        "Patroni is not held back where a person must approve",
        lambda: nullcontext(),
        Settings(policy=ASKS, person=False, rules=replace(MENDED, held_back=False), hazard=0),
        only(approvals.nobody_approves),
        clean=Settings(policy=ASKS, person=False, hazard=0),
        at_most=3000,
    ),
    Planted(
        "guard candidate_holds_lock removed: taken, and the lease revoked, before the candidate has the lock",
        without("candidate_holds_lock"),
        plan=LOSSES,
    ),
    Planted(
        "guard candidate_is_primary removed: done before anybody was promoted",
        without("candidate_is_primary"),
        plan=LOSSES,
    ),
    # Subtler ones.
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
        "a standby that drags is not waited for any more, and then taken out of /sync",
        nullcontext,
        Settings(rules=replace(MENDED, swap_before_set=False), hazard=0),
        only(drags.lost_while_left_out),
        clean=Settings(hazard=0),
    ),
    # What is changed is the model of Patroni's replaced functions (kept_members).
    Planted(
        "a set is kept without the gate",
        nullcontext,
        Settings(rules=replace(MENDED, gate=False)),
        HANDOVERS,
        clean=Settings(),
    ),
    Planted(
        "a standby is named before commits wait for it (Patroni as it is: replication/grown_set.py)",
        nullcontext,
        Settings(rules=replace(MENDED, shown_set=False), deaf=1.0),
        only(ambushes.lost_when_named),
        clean=Settings(deaf=1.0),
    ),
    Planted(
        "a set is kept without the gate, and the new primary slept before it was promoted",
        nullcontext,
        Settings(rules=replace(MENDED, gate=False), hazard=0),
        only(ambushes.late_promotion),
        clean=Settings(hazard=0),
    ),
    Planted(
        "PostgreSQL is told who has joined before /sync is swapped",
        nullcontext,
        Settings(rules=replace(MENDED, set_after_swap=False)),
        HANDOVERS,
        clean=Settings(),
    ),
    Planted(
        "who is kept is not asked whether it streams from the candidate",
        nullcontext,
        Settings(rules=replace(MENDED, looks_who_streams=False), hazard=0),
        only(ambushes.kept_ahead),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a primary that cannot commit takes its lock back (Patroni as it is: replication/shown_commit.py)",
        nullcontext,
        Settings(rules=replace(MENDED, shown_commit=False), hazard=0),
        replace(ALONE, kinds=((inc.postgres_freeze, 1),)),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a candidate that may not take the lock is waited for (Patroni as it is: replication/stale_offer.py)",
        nullcontext,
        Settings(rules=replace(MENDED, named_candidate=False), hazard=0),
        only(ambushes.stale_offer),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a promotion claims no timeline number (a kept member takes over from who was not heard of)",
        nullcontext,
        Settings(rules=replace(MENDED, claims=False), hazard=0),
        only(signatures.kept_unheard),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a promotion claims no timeline number (a signature for who has not heard of the last primary)",
        nullcontext,
        Settings(rules=replace(MENDED, claims=False), hazard=0),
        only(signatures.unheard),
        clean=Settings(hazard=0),
    ),
    Planted(
        "files of left-out timelines are removed while PostgreSQL is being promoted",
        nullcontext,
        Settings(rules=replace(MENDED, asks_server=False), hazard=0),
        only(signatures.begun_anew),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a claim of a timeline number does not compare its key",
        _claim_uncompared,
        Settings(hazard=0),
        only(signatures.half_told),
    ),
    Planted(
        "a claim whose answer was not had is used again, unread",
        _claim_used_again,
        Settings(hazard=0),
        only(signatures.unheard),
    ),
    Planted(
        "a restart of the primary's PostgreSQL is not waited for",
        lambda: patch("tests.simulation.controller.judged", lambda probe, away: probe),
        Settings(hazard=0),
        only(restarts.in_time),
    ),
    Planted(
        "a restart that starts slowly looks like a crash (Patroni as it is: replication/told_restart.py)",
        nullcontext,
        Settings(rules=replace(MENDED, told_restart=False), hazard=0),
        only(restarts.in_time),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a restart of the primary's PostgreSQL is waited for without a bound",
        lambda: patch.object(planned_restart, "RESTART_MS", 60_000),
        Settings(hazard=0),
        replace(ALONE, number=1, kinds=((restarts.too_long, 1),)),
    ),
)
