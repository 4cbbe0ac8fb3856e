"""Each guard: the plan stops at it, and without it the plan would go on to what its test's name says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest

from failover import guards
from failover.commands import TakeLock, Tell, Write
from failover.planner import plan
from failover.policy import Mode, MoveKind, Policy
from failover.table import Action
from failover.transaction import OPERATION, decode
from failover.view import (
    Approval,
    Config,
    DcsState,
    Lock,
    Move,
    NotSeen,
    Observation,
    Operation,
    Phase,
    SyncMode,
    SyncSet,
    View,
)

from .views import (
    DCS,
    HOST_LOST,
    INTENT,
    SITE_LOST,
    gone,
    in_phase,
    intended,
    observation,
    primary,
    standby,
    view,
)

CALM = tuple(
    observation(site, primary("dj-db1"), standby("dj-db2"), standby("gg-db1"))
    for site in ("daejeon", "gyeonggi", "sejong")
)


def stops_at(guard: str, seen: View) -> None:
    """With the guard the plan ends there, without a transaction; without it, it goes on to act."""
    decision = plan(seen)
    assert decision.row.guard == guard, str(decision)
    assert not any(isinstance(command, TakeLock | Write) for command in decision.commands)
    with patch.dict(guards.GUARDS, {guard: lambda case: guards.holds("removed")}):
        assert plan(seen).row.action in (Action.INTEND, Action.TRANSACT), str(plan(seen))


def test_a_proved_site_loss_is_acted_on() -> None:
    assert plan(view(SITE_LOST)).row.action is Action.INTEND
    assert plan(intended(SITE_LOST)).row.action is Action.TRANSACT


def test_dcs_seen_else_a_minority_would_act_on_what_it_remembers() -> None:
    decision = plan(view(dcs=NotSeen("no majority")))
    assert decision.commands == ()
    assert "no majority" in decision.reason


def test_dcs_seen_else_a_controller_that_slept_would_act_on_an_old_read() -> None:
    assert plan(view(dcs_age_ms=1001)).commands == ()


FREE = replace(DCS, lock=None)
ASKS = Policy(cross_site=Mode.APPROVE)
YES = Approval("gg-db1", "dj-db1", lock_revision=10, by="kim", revision=90)


@pytest.mark.parametrize("mode", [Mode.AUTOMATIC, Mode.OBSERVE])
def test_not_patronis_race_else_it_would_be_disturbed(mode: Mode) -> None:
    assert plan(view(dcs=FREE, policy=Policy(cross_site=mode))).row.guard == "not_patronis_race"


def test_a_free_lock_that_patroni_is_held_back_from_waits_for_a_person() -> None:
    assert plan(view(dcs=FREE, policy=ASKS)).row.action is Action.ASK
    assert plan(view(dcs=replace(FREE, approval=YES), policy=ASKS)).row.action is Action.INTEND


def test_an_in_site_standby_that_may_race_is_left_to_patroni() -> None:
    assert plan(view(HOST_LOST, FREE, policy=ASKS)).row.guard == "not_patronis_race"


def test_a_free_lock_is_not_offered_while_the_last_primary_is_seen_to_write() -> None:
    seen = view(CALM, replace(FREE, approval=YES), policy=ASKS)
    assert plan(seen).row.guard == "primary_unreachable"


def test_a_free_lock_needs_the_sync_set_all_the_same() -> None:
    async_only = replace(FREE, approval=YES, sync=SyncSet("dj-db1", frozenset({"dj-db2"}), 20, "{}"))
    assert plan(view(dcs=async_only, policy=ASKS)).row.action is Action.REFUSE
    of_another = replace(FREE, approval=YES, sync=SyncSet("dj-db2", frozenset({"gg-db1"}), 20, "{}"))
    assert plan(view(dcs=of_another, policy=ASKS)).row.guard == "policy_allows"  # another's yes


def test_primary_was_there_else_a_primary_that_is_starting_would_be_replaced() -> None:
    """Everything comes back at once: observers are up before PostgreSQL is."""
    stops_at("primary_was_there", view(met=frozenset({"gg-db1"}), seeing_ms=19_999))
    assert plan(view(met=frozenset(), seeing_ms=20_000)).row.action is Action.INTEND
    assert plan(view(met=frozenset({"dj-db1"}), seeing_ms=2000)).row.action is Action.INTEND
    asked = view(met=frozenset(), seeing_ms=0, dcs=replace(DCS, approval=YES))
    assert plan(asked).row.action is Action.INTEND


def test_an_intent_from_before_an_outage_of_etcd_waits_for_the_primary_too() -> None:
    """Planted: who had just begun to see etcd took the lock from a primary that was starting."""
    unmet = intended(met=frozenset({"gg-db1"}), seeing_ms=2000)
    stops_at("primary_was_there", unmet)
    assert plan(replace(unmet, met=frozenset({"dj-db1"}))).row.action is Action.TRANSACT
    assert plan(replace(unmet, seeing_ms=20_000)).row.action is Action.TRANSACT
    assert (
        plan(replace(unmet, operation_age_ms=5000)).row.action is Action.ABORT
    )  # it does not stand for ever


def test_primary_unreachable_else_a_healthy_primary_would_lose_its_lock() -> None:
    assert plan(view(CALM)).row.guard == "primary_unreachable"


def test_primary_unreachable_else_one_sites_own_network_fault_would_move_the_primary() -> None:
    alone = (observation("daejeon", gone("dj-db1"), standby("dj-db2"), standby("gg-db1")), *CALM[1:])
    stops_at("primary_unreachable", view(alone))


def test_primary_unreachable_else_a_hiccup_shorter_than_the_window_would_move_it() -> None:
    brief = tuple(
        observation(site, gone("dj-db1", for_ms=Policy().window_ms - 1), gone("dj-db2"), standby("gg-db1"))
        for site in ("gyeonggi", "sejong")
    )
    assert plan(view(brief)).row.guard == "primary_unreachable"


def test_primary_unreachable_else_dead_observers_would_vote() -> None:
    old = tuple(replace(one, age_ms=1501) for one in SITE_LOST)
    assert plan(view(old)).row.guard == "primary_unreachable"


def test_primary_unreachable_else_two_observers_at_one_site_would_be_two_votes() -> None:
    twice = (SITE_LOST[1], replace(SITE_LOST[1], observer="gyeonggi/2"), CALM[0], CALM[2])
    assert plan(view(twice)).row.guard == "primary_unreachable"


def test_primary_unreachable_else_an_observer_would_outvote_its_neighbour() -> None:
    differ = (*SITE_LOST[1:], observation("gyeonggi", *CALM[1].hosts, name="gyeonggi/2"))
    assert plan(view(differ)).row.guard == "primary_unreachable"


def test_primary_unreachable_else_a_silent_neighbour_would_not_be_missed() -> None:
    silent = observation("gyeonggi", *CALM[1].hosts, name="gyeonggi/2", age_ms=1501)
    assert plan(view((*SITE_LOST, silent))).row.guard == "primary_unreachable"
    assert plan(view((*SITE_LOST, replace(silent, alive=False)))).row.action is Action.INTEND


def test_no_hold_else_an_operators_hold_would_be_ignored() -> None:
    stops_at("no_hold", view(dcs=replace(DCS, hold_revision=9)))


def test_not_paused_else_maintenance_would_lose_its_primary() -> None:
    stops_at("not_paused", view(dcs=PAUSED))


BY_KIM = "a hold is set by kim since 2026-11-29T09:00:00+00:00: the network"
ASKED_TO_KEEP_STILL = replace(DCS, hold_revision=9, hold=BY_KIM)
PAUSED = replace(DCS, config=Config(SyncMode.ON, paused=True, revision=30))


@pytest.mark.parametrize(
    ("dcs", "why"), [(ASKED_TO_KEEP_STILL, BY_KIM), (PAUSED, "Patroni is paused (maintenance)")]
)
def test_a_forgotten_hold_or_pause_calls_people_while_the_primary_is_missed(dcs: DcsState, why: str) -> None:
    """Planted: both rows ended in nothing, and one line told of it."""
    (told,) = plan(view(dcs=dcs)).commands
    assert isinstance(told, Tell)
    assert told.urgent
    assert told.text.startswith(f"held: dj-db1 is missed; {why}; ")
    assert "Patroni's lease" in told.text  # what is at stake
    assert plan(view(CALM, dcs)).commands == ()


def test_a_config_that_is_gone_is_no_pause() -> None:
    decision = plan(view(dcs=replace(DCS, config=None)))
    assert (decision.row.pos, decision.row.action) == (135, Action.REFUSE)


# gg-db1 was primary before dj-db1, which is lost now: who follows is gg-db1.
FROM_GG = Operation(4, Phase.DONE, MoveKind.CROSS_SITE, "gg-db1", "dj-db1", 3)
FROM_DB2 = replace(FROM_GG, old="dj-db2")
TRIED = Operation(4, Phase.ABORTED, MoveKind.CROSS_SITE, "dj-db1", "gg-db1", 7, note="transacted: taken back")
GIVEN_UP = replace(TRIED, note="intended: seen again")


def after_operation(last: Operation, age_ms: int, **changes: Any) -> View:
    dcs = replace(DCS, operation=last, operation_revision=40)
    return view(dcs=dcs, operation_age_ms=age_ms, **changes)


@pytest.mark.parametrize(
    ("last", "wait_ms"),
    [
        (FROM_GG, Policy().block_ms),
        (replace(FROM_DB2, candidate="gg-db1"), Policy().block_ms),  # somebody else moved the primary since
        (TRIED, Policy().retry_ms),
        (replace(TRIED, after=Move("dj-db2", "dj-db1")), Policy().retry_ms),
        (replace(TRIED, after=Move("gg-db1", "dj-db1")), Policy().block_ms),  # what it followed still counts
        (replace(GIVEN_UP, after=Move("gg-db1", "dj-db1")), Policy().block_ms),
    ],
)
def test_block_over_else_the_primary_would_flap(last: Operation, wait_ms: int) -> None:
    stops_at("block_over", after_operation(last, wait_ms - 1))
    assert plan(after_operation(last, wait_ms)).row.action is Action.INTEND


@pytest.mark.parametrize("last", [FROM_DB2, GIVEN_UP, replace(GIVEN_UP, after=Move("dj-db2", "dj-db1"))])
def test_a_new_primary_that_is_lost_too_is_replaced_at_once_by_a_third(last: Operation) -> None:
    """It waited for up to ten seconds (review)."""
    assert plan(after_operation(last, 0)).row.action is Action.INTEND


def test_a_short_block_period_is_the_longest_pause() -> None:
    assert plan(after_operation(TRIED, 1000, policy=Policy(block_ms=1000))).row.action is Action.INTEND


def test_nobody_waits_for_a_block_period_when_nobody_is_there() -> None:
    dark = (
        SITE_LOST[0],
        *(observation(site, gone("dj-db1"), gone("gg-db1")) for site in ("gyeonggi", "sejong")),
    )
    seen = after_operation(FROM_GG, 100)
    assert plan(replace(seen, observations=dark)).row.guard == "candidate_in_sync"


def test_who_waits_for_the_block_period_tells_it() -> None:
    (told,) = plan(after_operation(FROM_GG, 4000)).commands
    assert isinstance(told, Tell)
    assert told.urgent
    assert told.text.startswith(
        "block period: dj-db1 is missed; takeover 4 (done) ended 4000 ms ago; block period 10000 ms; "
    )


def test_no_failover_key_else_a_switchover_under_way_would_be_overwritten() -> None:
    stops_at("no_failover_key", view(dcs=replace(DCS, failover_revision=44)))
    stops_at("no_failover_key", view(dcs=replace(DCS, failover_revision=44), offer_age_ms=2999))


def test_an_offer_of_a_primary_that_died_in_a_switchover_does_not_hold_for_ever() -> None:
    assert plan(view(dcs=replace(DCS, failover_revision=44), offer_age_ms=3000)).row.action is Action.INTEND


def test_an_observer_that_fell_silent_with_its_host_is_not_waited_for() -> None:
    """Its lease runs for two seconds more; a neighbour's silence on another host still counts."""
    beside = replace(HOST_LOST[0], observer="dj-db1", age_ms=5000)
    neighbour = replace(HOST_LOST[0], observer="dj-db2/1")
    assert plan(view((beside, neighbour, *HOST_LOST[1:]))).row.action is Action.INTEND
    stops_at("candidates_site_agrees", view((replace(beside, observer="dj-x"), neighbour, *HOST_LOST[1:])))


@pytest.mark.parametrize("mode", [SyncMode.QUORUM, SyncMode.OFF])
def test_all_acknowledge_else_commits_acknowledged_by_others_would_be_lost(mode: SyncMode) -> None:
    stops_at("all_acknowledge", view(dcs=replace(DCS, config=Config(mode, paused=False, revision=30))))


def test_all_acknowledge_else_a_leftover_quorum_would_be_believed() -> None:
    """/config is back to `on`, and the primary has not written /sync anew: SSN may still be ANY 1 of two."""
    assert DCS.sync is not None
    left = view(dcs=replace(DCS, sync=replace(DCS.sync, quorum=1)))
    stops_at("all_acknowledge", left)
    assert "quorum" in plan(left).reason


def test_sync_names_the_holder_else_a_lock_outside_the_register_would_be_moved() -> None:
    """It gives the lock back by itself (`replication.mends.named_holder`)."""
    old = SyncSet("dj-db2", frozenset({"gg-db1"}), 20, "{}")
    told = observation("daejeon", primary("dj-db1", 480), primary("dj-db2", 480), age_ms=60_000, alive=False)
    stops_at("sync_names_the_holder", view((told, *SITE_LOST[1:]), replace(DCS, sync=old)))


# A planned handover: gg-db1 has taken the lock, and is lost before it takes /sync.
HALF_TAKEN = replace(DCS, lock=Lock("gg-db1", lease=8, revision=50))
CANDIDATE_LOST = tuple(
    observation(site, standby("dj-db1", 490), standby("dj-db2", 495), gone("gg-db1"), revision=number)
    for number, site in enumerate(("daejeon", "sejong"), 71)
)


def last_seen_by_the_lost_site(sync_lsn: int) -> Observation:
    seen = (primary("dj-db1", sync_lsn), standby("dj-db2"), standby("gg-db1"))
    return observation("gyeonggi", *seen, age_ms=60_000, alive=False)


def test_who_took_the_lock_and_not_yet_sync_is_replaced_by_anybody_whom_sync_names() -> None:
    """Drill switchover-candidate-dies: the service waited 23.6 s for the lease of the lost one."""
    seen = (last_seen_by_the_lost_site(480), *CANDIDATE_LOST)
    decision = plan(view(seen, HALF_TAKEN))
    assert decision.row.action is Action.INTEND
    (write,) = decision.commands
    operation = decode(write.transaction.changes[0].value)
    assert (operation.old, operation.candidate, operation.old_lease) == ("gg-db1", "dj-db2", 8)
    alone = tuple(
        replace(one, hosts=(standby("dj-db1", 490), gone("dj-db2"), gone("gg-db1"))) for one in CANDIDATE_LOST
    )
    (write,) = plan(view((last_seen_by_the_lost_site(480), *alone), HALF_TAKEN)).commands
    assert decode(write.transaction.changes[0].value).candidate == "dj-db1"  # its last primary


def test_of_whoever_replaces_it_the_last_primarys_positions_are_asked() -> None:
    seen = (last_seen_by_the_lost_site(496), *CANDIDATE_LOST)
    stops_at("candidate_not_behind", view(seen, HALF_TAKEN))


# The same in a takeover: dj-db1 was lost, dj-db2 has the lock and is lost with the rest of the site.
LOST_WITH_LOCK = replace(
    DCS,
    lock=Lock("dj-db2", lease=8, revision=50),
    sync=replace(DCS.sync, revision=21) if DCS.sync else None,
    operation=Operation(5, Phase.REVOKED, MoveKind.IN_SITE, "dj-db1", "dj-db2", old_lease=7),
    operation_revision=60,
)


@pytest.mark.parametrize("age_ms", [100, 3000, 29_000])
def test_a_candidate_that_is_lost_between_the_lock_and_sync_is_followed_by_a_third_host(age_ms: int) -> None:
    """Nothing happened until its lease had run out, and `hanbat failover` was blocked (review)."""
    decision = plan(view(SITE_LOST, LOST_WITH_LOCK, operation_age_ms=age_ms))
    assert (decision.row.pos, decision.row.action) == (715, Action.ABORT)
    write, told = decision.commands
    assert isinstance(write, Write)
    assert [change.key for change in write.transaction.changes] == [OPERATION]  # none of Patroni's
    assert isinstance(told, Tell)
    assert told.urgent
    ended = decode(write.transaction.changes[0].value)
    dcs = replace(LOST_WITH_LOCK, operation=ended, operation_revision=61)
    (intend,) = plan(view(SITE_LOST, dcs, operation_age_ms=0)).commands
    intent = decode(intend.transaction.changes[0].value)
    assert (intent.old, intent.candidate, intent.old_lease) == ("dj-db2", "gg-db1", 8)
    dcs = replace(dcs, operation=intent, operation_revision=62)
    assert plan(view(SITE_LOST, dcs, operation_age_ms=50)).row.action is Action.TRANSACT


def test_it_waits_for_a_person_where_the_move_does() -> None:
    note = "revoked: dj-db2 is unreachable from: gyeonggi, sejong"
    ended = replace(LOST_WITH_LOCK.operation or INTENT, phase=Phase.ABORTED, note=note)
    seen = view(SITE_LOST, replace(LOST_WITH_LOCK, operation=ended), operation_age_ms=0, policy=ASKS)
    assert plan(seen).row.action is Action.ASK


def test_back_to_the_primary_before_it_waits_as_after_any_attempt() -> None:
    """dj-db1 is back as a standby, and dj-db2 alone is lost."""
    note = "revoked: dj-db2 is unreachable from: gyeonggi, sejong"
    ended = replace(LOST_WITH_LOCK.operation or INTENT, phase=Phase.ABORTED, note=note)
    back = tuple(
        observation(site, standby("dj-db1"), gone("dj-db2", sync_lsn=480), standby("gg-db1"))
        for site in ("daejeon", "gyeonggi", "sejong")
    )
    told = replace(SITE_LOST[0], observer="daejeon/0")
    dcs = replace(LOST_WITH_LOCK, operation=ended)
    for age_ms, action in ((Policy().retry_ms - 1, Action.WAIT), (Policy().retry_ms, Action.INTEND)):
        assert plan(view((told, *back), dcs, operation_age_ms=age_ms)).row.action is action


def test_candidate_lost_before_sync_else_a_takeover_would_be_given_up_that_goes_well() -> None:
    one_site = (observation("gyeonggi", gone("dj-db1"), gone("dj-db2"), standby("gg-db1")), *HOST_LOST[::2])
    brief = tuple(
        observation(site, gone("dj-db1"), gone("dj-db2", for_ms=Policy().window_ms - 1), standby("gg-db1"))
        for site in ("gyeonggi", "sejong")
    )
    for seen in (HOST_LOST, one_site, brief):
        decision = plan(view(seen, LOST_WITH_LOCK, operation_age_ms=1000))
        assert (decision.row.pos, decision.row.action) == (720, Action.NOTHING)


def test_a_candidate_that_has_taken_sync_is_not_given_up_as_long_as_its_promotion_may_last() -> None:
    """Nobody else could follow it; and a new primary that cannot commit yet is missed, too."""
    taken = replace(LOST_WITH_LOCK, sync=SyncSet("dj-db2", frozenset(), 51, "{}"))
    assert plan(view(SITE_LOST, taken, operation_age_ms=1000)).row.pos == 720
    assert plan(view(SITE_LOST, replace(taken, sync=None), operation_age_ms=1000)).row.pos == 720


# The planned handover, a moment later: it has taken /sync with dj-db2, and is lost before it is promoted.
TAKEN = replace(HALF_TAKEN, sync=SyncSet("gg-db1", frozenset({"dj-db2"}), 51, "{}"))


def test_who_took_sync_and_was_never_seen_as_the_primary_is_replaced_by_whom_it_named() -> None:
    """Nobody had measured what it acknowledged: its lease was waited for."""
    seen = (last_seen_by_the_lost_site(480), *CANDIDATE_LOST)
    (write,) = plan(view(seen, TAKEN)).commands
    assert decode(write.transaction.changes[0].value).candidate == "dj-db2"
    stops_at("candidate_not_behind", view((last_seen_by_the_lost_site(496), *CANDIDATE_LOST), TAKEN))


def test_candidate_in_sync_else_an_asynchronous_standby_would_lose_commits() -> None:
    shrunk = replace(DCS, sync=SyncSet("dj-db1", frozenset({"dj-db2"}), 21, "{}"))
    assert plan(view(SITE_LOST, shrunk)).row.guard == "candidate_in_sync"
    decision = plan(intended(SITE_LOST, shrunk))
    assert (decision.row.guard, decision.row.action) == ("candidate_in_sync", Action.ABORT)


def test_candidate_ready_else_the_lock_would_be_offered_to_a_dead_host() -> None:
    unseen = (
        SITE_LOST[0],
        observation("gyeonggi", gone("dj-db1"), gone("dj-db2"), gone("gg-db1")),
        SITE_LOST[2],
    )
    stops_at("candidate_ready", view(unseen))


def test_candidate_not_behind_else_a_restored_standby_would_lose_commits() -> None:
    behind = (
        SITE_LOST[0],
        observation("gyeonggi", gone("dj-db1"), gone("dj-db2"), standby("gg-db1", lsn=479)),
        observation("sejong", gone("dj-db1"), gone("dj-db2"), standby("gg-db1", lsn=479)),
    )
    stops_at("candidate_not_behind", view(behind))


def test_candidate_not_behind_is_unknown_when_nobody_measured() -> None:
    stops_at("candidate_not_behind", view(SITE_LOST[1:]))
    assert plan(view(SITE_LOST[1:], replace(DCS, approval=YES))).row.action is Action.INTEND


def test_candidates_site_agrees_else_two_far_sites_would_move_a_primary_that_its_own_site_reaches() -> None:
    near = (CALM[0], *HOST_LOST[1:])
    stops_at("candidates_site_agrees", view(near))


def test_scope_proved_else_one_dead_host_would_change_the_site() -> None:
    lagging = replace(DCS, sync=SyncSet("dj-db1", frozenset({"gg-db1"}), 20, "{}"))
    stops_at("scope_proved", view(HOST_LOST, lagging))


def test_policy_allows_else_an_observed_kind_of_move_would_be_made() -> None:
    stops_at_policy(Policy(cross_site=Mode.OBSERVE), Action.SAY)


def test_policy_allows_else_nobody_would_have_approved() -> None:
    stops_at_policy(Policy(cross_site=Mode.APPROVE), Action.ASK)


def stops_at_policy(policy: Policy, action: Action) -> None:
    seen = view(policy=policy)
    assert plan(seen).row.action is action
    stops_at("policy_allows", seen)


def test_an_approval_is_for_one_candidate_and_one_lock() -> None:
    policy = Policy(cross_site=Mode.APPROVE)
    for approval, action in (
        (Approval("gg-db1", "dj-db1", lock_revision=10, by="kim"), Action.INTEND),
        (Approval("gg-db1", "dj-db1", lock_revision=9, by="kim"), Action.ASK),
        (Approval("gg-db1", "dj-db2", lock_revision=10, by="kim"), Action.ASK),
        (Approval("gg-db2", "dj-db1", lock_revision=10, by="kim"), Action.ASK),
    ):
        assert plan(view(dcs=replace(DCS, approval=approval), policy=policy)).row.action is action


def test_intent_stands_else_an_old_intent_would_hit_a_new_primary() -> None:
    seen = intended()
    assert not isinstance(seen.dcs, NotSeen)
    assert seen.dcs.lock is not None
    moved = replace(seen, dcs=replace(seen.dcs, lock=replace(seen.dcs.lock, lease=99)))
    assert plan(moved).row.action is Action.ABORT
    assert plan(moved).row.guard == "intent_stands"


def test_an_intent_outlives_the_lease_that_it_was_written_against() -> None:
    assert plan(intended(dcs=FREE)).row.action is Action.TRANSACT
    taken = replace(FREE, sync=SyncSet("dj-db2", frozenset({"gg-db1"}), 22, "{}"))
    assert plan(intended(dcs=taken)).row.guard == "intent_stands"  # another was primary since


def test_within_lock_limit_else_an_offer_nobody_takes_would_stand_for_ever() -> None:
    waiting = in_phase(Phase.TRANSACTED, None)
    assert plan(waiting).row.action is Action.NOTHING
    assert plan(replace(waiting, operation_age_ms=5000)).row.action is Action.ABORT


def test_an_intent_is_not_undone_by_a_controller_that_sees_otherwise() -> None:
    """Two controllers see the same silence some hundred milliseconds apart (drill host-loss: 10 s lost)."""
    for seen in (CALM, HOST_LOST, (SITE_LOST[0], CALM[1], SITE_LOST[2])):
        decision = plan(intended(seen))
        assert decision.row.action is Action.NOTHING, decision
    assert plan(intended(CALM, operation_age_ms=5000)).row.action is Action.ABORT


def test_an_intent_that_was_given_up_does_not_block_the_next() -> None:
    """Nothing was changed by it; a takeover that was begun does block."""
    for note, action in (("intended: seen again", Action.INTEND), ("transacted: taken back", Action.WAIT)):
        last = replace(INTENT, phase=Phase.ABORTED, note=note)
        dcs = replace(DCS, operation=last, operation_revision=40)
        assert plan(view(dcs=dcs, operation_age_ms=100)).row.action is action


def test_what_a_host_says_of_itself_is_not_a_sites_vote() -> None:
    """The observer on the silent host was heard a second ago; its neighbour knows better."""
    itself = replace(CALM[0], observer="dj-db1", age_ms=900)
    neighbour = replace(HOST_LOST[0], observer="dj-db2")
    assert plan(view((itself, neighbour, *HOST_LOST[1:]))).row.action is Action.INTEND
    stops_at("candidates_site_agrees", view((itself, *HOST_LOST[1:])))  # nobody else is there to say
