"""Planted bugs: each guard removed, or the reason why its removal breaks no invariant."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from failover import candidates, guards, planner
from failover.policy import Mode, Policy
from failover.transaction import HOLD

from . import ambushes, approvals
from . import incidents as inc
from .alone import ALONE
from .incidents import Plan, only
from .planting import LOSSES, Patch, Planted, both, uncompared
from .world import Settings

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
FREEZES = Plan(
    kinds=(
        (inc.host_freeze, 4),
        (inc.patroni_pause, 2),
        (inc.controller_kill, 3),
        (inc.isolate_host, 3),
        (inc.host_loss, 2),
    )
)


def without(*names: str) -> Patch:
    """Guards that always hold."""
    always = {name: lambda case: guards.holds("planted") for name in names}
    return lambda: patch.dict(guards.GUARDS, always)


def never(name: str) -> Patch:
    """A guard that never holds, where it is one that lets the controllers act at once."""
    return lambda: patch.dict(guards.GUARDS, {name: lambda case: guards.fails("planted")})


def _any_standby() -> AbstractContextManager[Any]:
    def choose(view: Any, dcs: Any) -> Any:
        names = frozenset(host.name for host in view.hosts)
        return candidates.choose(view, replace(dcs, sync=replace(dcs.sync, members=names)))

    return patch.object(planner, "choose", choose)


GUARDS_REMOVED: tuple[Planted, ...] = (
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
        "guard candidate_holds_lock removed: taken, and the lease revoked, before the candidate has the lock",
        without("candidate_holds_lock"),
        plan=LOSSES,
    ),
    Planted(
        "guard candidate_lost_before_sync removed: who is lost with the lock is waited for",
        never("candidate_lost_before_sync"),
        Settings(hazard=0),
        replace(ALONE, number=1, kinds=((ambushes.lost_before_swap, 1),)),
    ),
    Planted(
        "guard candidate_is_primary removed: done before anybody was promoted",
        without("candidate_is_primary"),
        plan=LOSSES,
    ),
)
