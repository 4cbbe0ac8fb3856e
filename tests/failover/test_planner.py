"""Decisions by value: a view in, a row and commands out."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.candidates import choose
from failover.commands import RevokeLease, TakeLock, Tell, Write
from failover.planner import plan
from failover.policy import Mode, MoveKind, Policy
from failover.table import TABLE, Action, Row, problems
from failover.transaction import (
    APPROVAL,
    CONFIG,
    FAILOVER,
    HOLD,
    LEADER,
    OPERATION,
    STATUS,
    SYNC,
    VERDICT,
    Compare,
    Delete,
    Put,
    Target,
    absent,
    decode,
    encode,
    takeover,
    unchanged,
    woken,
)
from failover.view import (
    Approval,
    DcsState,
    Host,
    HostSeen,
    Move,
    Observation,
    Operation,
    Phase,
    Prospect,
    Reach,
    Role,
    Status,
    SyncSet,
    Waiting,
)

from .views import DCS, HOST_LOST, INTENT, SITE_LOST, gone, in_phase, intended, observation, standby, view

APPROVED = Approval("gg-db1", "dj-db1", lock_revision=10, by="kim", revision=90)


def test_a_lost_site_begins_with_an_intent() -> None:
    (write,) = plan(view(SITE_LOST)).commands
    assert isinstance(write, Write)
    assert write.transaction.compares == (
        unchanged(OPERATION, 0),
        Compare(LEADER, Target.VALUE, "dj-db1"),
        unchanged(LEADER, 10),
    )
    (put,) = write.transaction.changes
    assert isinstance(put, Put)
    assert decode(put.value) == Operation(0, Phase.INTENDED, MoveKind.CROSS_SITE, "dj-db1", "gg-db1", 7)


def test_a_lost_host_is_replaced_inside_its_site() -> None:
    (write,) = plan(view(HOST_LOST)).commands
    assert isinstance(write, Write)
    put = write.transaction.changes[0]
    assert isinstance(put, Put)
    assert (decode(put.value).candidate, decode(put.value).kind) == ("dj-db2", MoveKind.IN_SITE)


def test_an_intent_remembers_the_takeover_that_it_follows() -> None:
    """Else one that is given up would hide it, and the primary could go back to whom it left."""
    taken = Operation(4, Phase.DONE, MoveKind.IN_SITE, "dj-db2", "dj-db1", 3)
    tried = Operation(4, Phase.ABORTED, MoveKind.CROSS_SITE, "dj-db1", "gg-db1", 7, "transacted: taken back")
    followed, block_ms = Move("dj-db2", "dj-db1"), Policy().block_ms
    for last, age_ms, after in (
        (taken, 100, followed),
        (taken, block_ms, None),
        (tried, 5000, None),
        (replace(tried, after=followed), 5000, followed),
        (replace(tried, after=followed), block_ms, None),
    ):
        dcs = replace(DCS, operation=last, operation_revision=40)
        (write,) = plan(view(dcs=dcs, operation_age_ms=age_ms)).commands
        assert isinstance(write, Write)
        put = write.transaction.changes[0]
        assert isinstance(put, Put)
        assert decode(put.value).after == after


def test_an_operation_of_a_version_before_is_read() -> None:
    text = json.loads(encode(INTENT))
    del text["after"]
    assert decode(json.dumps(text)) == INTENT


def test_the_transaction_compares_the_whole_proof_and_deletes_the_lock_first() -> None:
    (command,) = plan(intended(SITE_LOST)).commands
    assert isinstance(command, TakeLock)
    assert command.valid_ms == 980
    assert command.transaction.compares == (
        Compare(LEADER, Target.VALUE, "dj-db1"),
        unchanged(LEADER, 10),
        unchanged(SYNC, 20),
        unchanged(CONFIG, 30),
        absent(FAILOVER),
        absent(HOLD),
        unchanged(OPERATION, 40),
        unchanged(VERDICT + "gyeonggi/1", 72),
        unchanged(VERDICT + "sejong/1", 73),
    )
    assert command.transaction.changes == (
        Delete(LEADER),
        Put(SYNC, '{"leader": "dj-db1"}'),
        Put(FAILOVER, '{"leader": "dj-db1", "member": "gg-db1"}'),
        Put(OPERATION, encode(replace(INTENT, phase=Phase.TRANSACTED, epoch=5))),
    )


def test_a_free_lock_is_offered_to_whom_a_person_approved_and_the_candidate_is_woken() -> None:
    """Nothing of the primary's silence is compared: /sync alone makes it safe (ADR 5, the register)."""
    dcs = replace(DCS, lock=None, approval=APPROVED, status=Status('{"optime": 7}', 35))
    held_back = Policy(cross_site=Mode.APPROVE)
    (write,) = plan(view(dcs=dcs, policy=held_back)).commands
    assert isinstance(write, Write)
    put = write.transaction.changes[0]
    assert isinstance(put, Put)
    intent = decode(put.value)
    assert intent == Operation(0, Phase.INTENDED, MoveKind.CROSS_SITE, "dj-db1", "gg-db1", old_lease=0)
    after = replace(dcs, operation=intent, operation_revision=41)
    (take,) = plan(view(dcs=after, policy=held_back, operation_age_ms=50)).commands
    assert isinstance(take, TakeLock)
    assert take.transaction.compares == (
        absent(LEADER),
        unchanged(SYNC, 20),
        unchanged(CONFIG, 30),
        absent(FAILOVER),
        absent(HOLD),
        unchanged(OPERATION, 41),
        unchanged(APPROVAL, 90),
        unchanged(STATUS, 35),
    )
    assert take.transaction.changes == (
        Put(SYNC, '{"leader": "dj-db1"}'),
        Put(FAILOVER, '{"leader": "dj-db1", "member": "gg-db1"}'),
        Put(OPERATION, encode(replace(intent, phase=Phase.TRANSACTED, epoch=1))),
        Delete(APPROVAL),
        Put(STATUS, '{"optime": 7} '),
    )


def test_an_approval_is_used_up_by_the_takeover_that_it_allows() -> None:
    dcs = replace(DCS, approval=APPROVED)
    (take,) = plan(intended(dcs=dcs, policy=Policy(cross_site=Mode.APPROVE))).commands
    assert isinstance(take, TakeLock)
    assert unchanged(APPROVAL, 90) in take.transaction.compares
    assert Delete(APPROVAL) in take.transaction.changes
    assert Delete(LEADER) in take.transaction.changes


def test_a_waking_write_changes_the_text_and_not_the_meaning() -> None:
    first = woken('{"optime":7}')
    assert first != '{"optime":7}' != woken(first) + " "
    assert json.loads(first) == json.loads(woken(first)) == {"optime": 7}


def test_a_person_names_the_candidate() -> None:
    """Although the in-site standby comes first otherwise."""
    dcs = replace(DCS, approval=APPROVED)
    assert choose(view(HOST_LOST, dcs), dcs) == ("gg-db1", MoveKind.CROSS_SITE)
    assert choose(view(HOST_LOST), DCS) == ("dj-db2", MoveKind.IN_SITE)
    assert plan(view(HOST_LOST, dcs)).row.action is Action.INTEND


def test_there_is_no_lease_to_revoke_after_a_free_lock() -> None:
    seen = in_phase(Phase.TAKEN, "gg-db1")
    assert isinstance(seen.dcs, DcsState)
    assert seen.dcs.operation is not None
    dcs = replace(seen.dcs, operation=replace(seen.dcs.operation, old_lease=0))
    (only,) = plan(replace(seen, dcs=dcs)).commands
    assert isinstance(only, Write)


def test_a_failover_key_that_patroni_has_emptied_is_compared_as_it_stands() -> None:
    """Otherwise there could be one takeover in the life of a cluster."""
    decision = plan(intended(dcs=replace(DCS, failover_emptied=43)))
    take = decision.commands[0]
    assert isinstance(take, TakeLock)
    assert unchanged(FAILOVER, 43) in take.transaction.compares
    assert absent(FAILOVER) not in take.transaction.compares


def test_a_takeover_needs_its_three_keys() -> None:
    with pytest.raises(ValueError, match="needs /sync"):
        takeover(DCS, {})


@pytest.mark.parametrize(
    ("phase", "holder", "action"),
    [
        (Phase.TRANSACTED, "gg-db1", Action.CONFIRM),
        (Phase.TRANSACTED, "dj-db1", Action.ABORT),  # a false alarm: it has taken its lock back
        (Phase.TRANSACTED, "dj-db2", Action.ABORT),  # another sync standby won: safe, and not our plan
        (Phase.TRANSACTED, None, Action.NOTHING),
        (Phase.TAKEN, "gg-db1", Action.REVOKE),
        (Phase.TAKEN, "dj-db1", Action.ABORT),  # its lease must not be revoked now
        (Phase.REVOKED, "gg-db1", Action.NOTHING),
    ],
)
def test_after_the_transaction_the_lock_decides(phase: Phase, holder: str | None, action: Action) -> None:
    assert plan(in_phase(phase, holder)).row.action is action


def test_an_offer_of_ours_is_withdrawn_with_the_abort() -> None:
    ours = plan(in_phase(Phase.TRANSACTED, "dj-db1", revision=60, failover=60)).commands[0]
    theirs = plan(in_phase(Phase.TRANSACTED, "dj-db1", revision=60, failover=61)).commands[0]
    assert isinstance(ours, Write)
    assert isinstance(theirs, Write)
    assert Delete(FAILOVER) in ours.transaction.changes
    assert unchanged(FAILOVER, 60) in ours.transaction.compares
    assert Delete(FAILOVER) not in theirs.transaction.changes


def test_the_lease_goes_only_after_the_lock_is_taken_and_the_phase_after_the_lease() -> None:
    first, second = plan(in_phase(Phase.TAKEN, "gg-db1")).commands
    assert first == RevokeLease(7)
    assert isinstance(second, Write)


def test_it_is_done_once_the_candidate_accepts_writes() -> None:
    writes = observation("gyeonggi", HostSeen("gg-db1", Reach.REACHABLE, 100, Role.PRIMARY))
    decided = plan(in_phase(Phase.REVOKED, "gg-db1", observations=(writes,)))
    assert decided.row.action is Action.FINISH
    (done,) = decided.commands
    assert isinstance(done, Write)
    assert done.what == Phase.DONE


def test_a_promotion_that_does_not_end_calls_people() -> None:
    commands = plan(in_phase(Phase.REVOKED, "gg-db1", operation_age_ms=30_000)).commands
    assert any(isinstance(one, Tell) and one.urgent for one in commands)


def test_an_intent_is_written_only_if_the_lock_is_as_it_was_read() -> None:
    """The simulation's find (seed 40107): a controller slept in between, and the lock ran out."""
    (write,) = plan(view()).commands
    assert isinstance(write, Write)
    assert unchanged(LEADER, 10) in write.transaction.compares
    assert absent(OPERATION) in write.transaction.compares


def test_a_lost_sites_last_word_does_not_choose_the_candidate() -> None:
    """Planted: dj-db2 stood in the way until its dead neighbours' word was old (0.4 s in a drill)."""
    seen = (replace(SITE_LOST[0], age_ms=300, alive=True), *SITE_LOST[1:])
    assert choose(view(seen), DCS) == ("gg-db1", MoveKind.CROSS_SITE)
    assert plan(view(seen)).row.action is Action.INTEND
    one_misses_it = (seen[0], seen[1], replace(HOST_LOST[2]))
    assert choose(view(one_misses_it), DCS) == ("dj-db2", MoveKind.IN_SITE)


def test_the_higher_position_then_the_name_chooses_at_the_other_site() -> None:
    hosts = (*view().hosts, Host("gg-db2", "gyeonggi"))
    dcs = replace(DCS, sync=SyncSet("dj-db1", frozenset({"gg-db1", "gg-db2"}), 20, "{}"))
    for lsn, best in ((501, "gg-db2"), (500, "gg-db1"), (499, "gg-db1")):
        seen = (observation("gyeonggi", gone("dj-db1"), standby("gg-db1"), standby("gg-db2", lsn)),)
        assert choose(view(seen, dcs, hosts=hosts), dcs) == (best, MoveKind.CROSS_SITE)


def test_where_the_proof_fails_a_person_is_told_what_is_at_stake() -> None:
    dcs = replace(DCS, sync=replace(DCS.sync, members=frozenset()) if DCS.sync else None)
    seen = view(
        dcs=dcs,
        prospects=(Prospect("gg-db1", "dj-db1", False, 8192, 41, 500, 3200),),
        waiting=Waiting(12_000, 3),
    )
    (told,) = plan(seen).commands
    assert isinstance(told, Tell)
    assert told.urgent
    assert "promoting gg-db1 now loses an unknown amount (going back about 3.2 s)" in told.text
    assert "of what it had then up to 8192 bytes, up to 41 transactions" in told.text
    assert "waiting crosses 3 bid deadlines" in told.text


def test_the_table_is_checked() -> None:
    assert problems(TABLE) == []
    assert problems((*TABLE[:-1], Row(800, "routing", "lock_free", frozenset(), Action.FINISH)))
    assert any(
        "no guard" in one for one in problems((*TABLE, Row(999, "idle", "wish", frozenset(), Action.SAY)))
    )
    assert "positions must rise" in problems((*TABLE, TABLE[0]))
    assert any(
        "no row for taken" in one for one in problems(tuple(row for row in TABLE if row.phase != "taken"))
    )


# --- properties ----------------------------------------------------------------------------------

_hosts = st.sampled_from(["dj-db1", "dj-db2", "gg-db1"])
_seen = st.builds(
    HostSeen,
    host=_hosts,
    reach=st.sampled_from(Reach),
    for_ms=st.sampled_from([0, 1499, 1500, 9000]),
    role=st.sampled_from(Role),
    received_lsn=st.sampled_from([None, 100, 500]),
    sync_lsn=st.sampled_from([None, 100, 500]),
)
_observations = st.lists(
    st.builds(
        Observation,
        observer=st.sampled_from(["a", "b", "c", "d"]),
        site=st.sampled_from(["daejeon", "gyeonggi", "sejong"]),
        age_ms=st.sampled_from([0, 1500, 1501]),
        verdict_revision=st.integers(1, 99),
        hosts=st.lists(_seen, max_size=3).map(tuple),
    ),
    max_size=5,
).map(tuple)
_operations = st.none() | st.builds(
    Operation,
    epoch=st.integers(0, 9),
    phase=st.sampled_from(Phase),
    kind=st.sampled_from(MoveKind),
    old=_hosts,
    candidate=_hosts,
    old_lease=st.sampled_from([7, 8]),
    after=st.none() | st.builds(Move, old=_hosts, candidate=_hosts),
)
_dcs = st.builds(
    DcsState,
    lock=st.sampled_from([None, DCS.lock]),
    sync=st.sampled_from([None, DCS.sync]),
    config=st.sampled_from([None, DCS.config]),
    failover_revision=st.sampled_from([0, 5]),
    operation=_operations,
    operation_revision=st.integers(0, 9),
    hold_revision=st.sampled_from([0, 5]),
)


@given(_observations, _dcs)
def test_every_view_has_one_decision_and_the_same_one_again(
    seen: tuple[Observation, ...], dcs: DcsState
) -> None:
    assert plan(view(seen, dcs)) == plan(view(seen, dcs))


@given(_observations, _dcs)
def test_a_lock_is_taken_only_from_the_intents_phase_against_two_sites(
    seen: tuple[Observation, ...], dcs: DcsState
) -> None:
    decision = plan(view(seen, dcs, operation_age_ms=50))
    for command in decision.commands:
        if isinstance(command, TakeLock):
            assert dcs.operation is not None
            assert dcs.operation.phase is Phase.INTENDED
            sites = {
                one.site
                for one in seen
                if one.age_ms <= 1500 and one.of(dcs.operation.old).reach is Reach.UNREACHABLE
            }
            assert len(sites) >= 2


@given(_operations.filter(lambda one: one is not None))
def test_an_operation_is_read_back_as_written(operation: Operation) -> None:
    assert decode(encode(operation)) == operation
