"""A failover by a person: what is proved, what is refused, and what is written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from failover import manual
from failover.decision_support import promoting
from failover.etcd_json import Entry
from failover.failover_cli import (
    Blocked,
    NoProof,
    NotConfirmed,
    PrimaryAlive,
    confirmed,
    planned,
    refuse,
)
from failover.guards import Held
from failover.manual import Progress, Signature, approve, assess, force, withdraw
from failover.patroni_keys import dcs_state
from failover.policy import Mode, MoveKind, Policy
from failover.transaction import (
    APPROVAL,
    FAILOVER,
    HOLD,
    LEADER,
    OPERATION,
    SIGNED,
    STATUS,
    SYNC,
    Delete,
    Put,
    absent,
    decode,
    unchanged,
)
from failover.view import (
    Config,
    DcsState,
    HostSeen,
    Observation,
    Phase,
    Prospect,
    Reach,
    Role,
    SyncMode,
    SyncSet,
    View,
)
from hanbat.errors import Exit

from .views import DCS, HOST_LOST, SITE_LOST, gone, in_phase, observation, primary, standby, view

CALM = tuple(
    observation(site, primary("dj-db1"), standby("dj-db2"), standby("gg-db1"))
    for site in ("daejeon", "gyeonggi", "sejong")
)
ASYNC = replace(DCS, sync=SyncSet("dj-db1", frozenset({"dj-db2"}), 20, "{}"))
ASKS = Policy(cross_site=Mode.APPROVE)
LACKS = Prospect("gg-db1", "dj-db1", False, 4096, None, 700, 3000)
SIGNED_BY = Signature("kim", "2026-01-01T00:00:00+00:00", promoting(LACKS), LACKS)
READ = {
    "patroni/leader": Entry("dj-db1", 10, 7),
    "patroni/sync": Entry('{"leader": "dj-db1", "sync_standby": "dj-db2"}', 20),
    "patroni/config": Entry('{"synchronous_mode": "on"}', 30),
    "patroni/failover": Entry("{}", 33),
    "patroni/status": Entry('{"optime": 1}', 35),
}


def plan(target: str, seen: View) -> manual.Plan:
    assert isinstance(seen.dcs, DcsState)
    return assess(seen, seen.dcs, target, "hanbat")


@pytest.mark.parametrize("target", ["gyeonggi", "gg-db1"])
@pytest.mark.parametrize("lock", [DCS.lock, None], ids=["held", "free"])
def test_a_lost_site_is_proved_without_a_signature(target: str, lock: object) -> None:
    found = plan(target, view(SITE_LOST, replace(DCS, lock=lock), policy=ASKS))
    assert (found.old, found.candidate, found.kind) == ("dj-db1", "gg-db1", MoveKind.CROSS_SITE)
    assert (found.proved, found.alive, found.waits) == (True, False, True)
    refuse(found, accept_loss=False)
    assert planned(found)[0] is Exit.WAITING


def test_a_lost_host_may_be_replaced_at_the_other_site_if_a_person_says_so() -> None:
    assert plan("gyeonggi", view(HOST_LOST)).proved
    assert plan("daejeon", view(HOST_LOST)).candidate == "dj-db2"
    assert planned(plan("daejeon", view(HOST_LOST)))[0] is Exit.DONE


def test_a_primary_that_is_alive_is_handed_over_instead() -> None:
    found = plan("gyeonggi", view(CALM))
    assert (found.alive, found.proved) == (True, False)
    with pytest.raises(PrimaryAlive, match="alive") as caught:
        refuse(found, accept_loss=False)
    assert "hanbat switchover --to gg-db1" in caught.value.hint
    refuse(found, accept_loss=True)


def test_an_offer_that_stands_is_shown_and_is_no_lack_of_proof() -> None:
    """Planted: nothing was ever proved with one. Whoever has only just come does not know how old it is."""
    found = plan("gyeonggi", view(SITE_LOST, replace(DCS, failover_revision=33), offer_age_ms=200))
    assert found.proved
    refuse(found, accept_loss=False)
    assert "for 3.0 s" in found.notes[0]
    assert found.as_dict()["notes"] == list(found.notes)
    assert plan("gyeonggi", view(SITE_LOST)).notes == ()


def test_who_is_not_in_the_sync_set_needs_a_signature() -> None:
    found = plan("gg-db1", view(SITE_LOST, ASYNC))
    assert found.missing == {"candidate_in_sync": "fails: gg-db1 is not in /sync"}
    with pytest.raises(NoProof, match="candidate_in_sync") as caught:
        refuse(found, accept_loss=False)
    assert "--accept-loss --confirm hanbat" in caught.value.hint
    refuse(found, accept_loss=True)
    assert planned(found)[0] is Exit.NOT_READY


@pytest.mark.parametrize(
    "seen",
    [
        view(SITE_LOST, replace(ASYNC, config=Config(SyncMode.ON, paused=True, revision=30))),
        view(SITE_LOST, replace(ASYNC, hold_revision=9)),
        view((*SITE_LOST[:1], observation("gyeonggi", gone("gg-db1")), *SITE_LOST[2:]), ASYNC),
        in_phase(Phase.TAKEN, "dj-db1"),
    ],
    ids=["paused", "held", "dead candidate", "under way"],
)
def test_some_things_no_signature_helps(seen: View) -> None:
    with pytest.raises(Blocked):
        refuse(plan("gg-db1", seen), accept_loss=True)


def test_targets() -> None:
    assert plan("dj-db1", view(CALM)).already
    assert plan("daejeon", view(CALM)).already
    assert plan("dj-db1", view(SITE_LOST, replace(DCS, lock=None))).blocked  # its own lock is its own
    with pytest.raises(KeyError):
        plan("sejong", view(CALM))


PROMOTING = tuple(
    observation(site, standby("dj-db1"), standby("dj-db2"), standby("gg-db1"))
    for site in ("daejeon", "gyeonggi", "sejong")
)


@pytest.mark.parametrize(
    ("seen", "target", "words"),
    [
        (SITE_LOST, "dj-db1", "nobody reaches it"),
        ((), "dj-db1", "nobody reaches it"),
        (PROMOTING, "dj-db1", "does not accept writes yet"),
        (PROMOTING, "daejeon", "does not accept writes yet"),
    ],
    ids=["dead", "nobody looks", "not promoted yet", "not promoted yet, by its site"],
)
def test_a_lock_holder_that_serves_nobody_is_not_there_already(
    seen: tuple[Observation, ...], target: str, words: str
) -> None:
    """Planted: "is the primary already", exit status 0, of a host that nobody reached."""
    found = plan(target, view(seen))
    assert not found.already
    assert words in found.blocked[0]
    assert planned(found)[0] is Exit.NOT_READY
    with pytest.raises(Blocked, match="holds the lock"):
        refuse(found, accept_loss=True)


def test_a_site_whose_lock_holder_is_dead_has_another_host() -> None:
    found = plan("daejeon", view(HOST_LOST))
    assert (found.already, found.blocked, found.candidate) == (False, (), "dj-db2")


def test_the_name_of_the_cluster_is_typed() -> None:
    confirmed("hanbat", "hanbat")
    with pytest.raises(NotConfirmed):
        confirmed("hanbat", "hanbta")


def test_an_approval_is_for_what_was_seen() -> None:
    given = manual.approval(DCS, "dj-db1", "gg-db1", "kim")
    written = approve(DCS, given, lease=8)
    assert written.compares == (unchanged(LEADER, 10), unchanged(SYNC, 20))
    (put,) = written.changes
    assert isinstance(put, Put)
    assert (put.key, put.lease) == (APPROVAL, 8)
    read = dcs_state(READ | {APPROVAL: Entry(put.value, 90)})
    assert isinstance(read, DcsState)
    assert read.approval == replace(given, revision=90)
    assert approve(replace(DCS, lock=None), given, 8).compares[0] == absent(LEADER)
    assert withdraw(90).changes == (Delete(APPROVAL),)


def forced(read: dict[str, Entry]) -> tuple[tuple[object, ...], tuple[object, ...]]:
    dcs = dcs_state(read)
    assert isinstance(dcs, DcsState)
    found = assess(view(SITE_LOST, dcs), dcs, "gg-db1", "hanbat")
    written = force(dcs, read, found, SIGNED_BY)
    return written.compares, written.changes


def test_a_forced_failover_compares_all_that_was_read() -> None:
    compares, _ = forced(READ)
    for one in (
        unchanged(LEADER, 10), unchanged(SYNC, 20), unchanged("patroni/config", 30), unchanged(FAILOVER, 33),
        unchanged(STATUS, 35), absent(HOLD), absent(OPERATION), absent(APPROVAL),
    ):  # fmt: skip
        assert one in compares
    free = {key: entry for key, entry in READ.items() if key != LEADER}
    assert absent(LEADER) in forced(free)[0]


def test_a_forced_failover_names_the_candidate_alone_and_who_signed() -> None:
    _, changes = forced(READ)
    assert changes[0] == Delete(LEADER)
    written = {one.key: one.value for one in changes if isinstance(one, Put)}
    assert json.loads(written[SYNC]) == {"leader": "gg-db1", "sync_standby": None, "quorum": 0}
    assert json.loads(written[FAILOVER]) == {"leader": "dj-db1", "member": "gg-db1"}
    operation = decode(written[OPERATION])
    assert (operation.epoch, operation.phase, operation.old_lease) == (1, Phase.TRANSACTED, 7)
    assert operation.note == "forced by kim"
    signed = json.loads(written[SIGNED + "1"])
    assert (signed["by"], signed["stated"]) == ("kim", promoting(LACKS))
    figures = {name: signed[name] for name in ("no_loss_proved", "lacks_bytes", "lacks_transactions")}
    assert figures == {"no_loss_proved": False, "lacks_bytes": 4096, "lacks_transactions": None}
    assert (signed["primary_seen_ms"], signed["back_ms"]) == (700, 3000)
    assert signed["not_proved"] == {"candidate_in_sync": "fails: gg-db1 is not in /sync"}
    assert "dj-db2" in signed["sync_before"]
    assert written[STATUS] == '{"optime": 1} '


def test_a_candidate_that_nobody_reached_is_signed_for_without_figures() -> None:
    signature = replace(SIGNED_BY, stated="unknown", prospect=None)
    dcs = dcs_state(READ)
    assert isinstance(dcs, DcsState)
    transaction = force(dcs, READ, assess(view(SITE_LOST, ASYNC), ASYNC, "gg-db1", "c"), signature)
    (record,) = [one.value for one in transaction.changes if isinstance(one, Put) and one.key == SIGNED + "1"]
    signed = json.loads(record)
    assert (signed["no_loss_proved"], signed["lacks_bytes"], signed["primary_seen_ms"]) == (False, None, None)


def test_without_a_sync_mode_sync_is_left_alone() -> None:
    _, changes = forced(READ | {"patroni/config": Entry('{"synchronous_mode": "off"}', 30)})
    assert SYNC not in [one.key for one in changes if isinstance(one, Put)]


def test_the_next_epoch_is_signed() -> None:
    _, changes = forced(READ | {OPERATION: Entry(_ended(4), 40)})
    assert SIGNED + "5" in [one.key for one in changes if isinstance(one, Put)]


def _ended(epoch: int) -> str:
    from failover.transaction import encode

    from .views import INTENT

    return encode(replace(INTENT, phase=Phase.DONE, epoch=epoch))


def test_progress() -> None:
    writes = (observation("gyeonggi", HostSeen("gg-db1", Reach.REACHABLE, 10, Role.PRIMARY)),)
    before = replace(DCS, operation_revision=39)
    judge = Progress(before, "gg-db1").judge
    assert judge(view()) != "done"
    assert judge(in_phase(Phase.REVOKED, "gg-db1", observations=writes)) == "done"
    assert judge(in_phase(Phase.TRANSACTED, None)) == ""
    assert judge(in_phase(Phase.ABORTED, "dj-db1")) == "refused"
    assert judge(in_phase(Phase.ABORTED, None)) == "incomplete"
    assert judge(in_phase(Phase.ABORTED, "gg-db1")) == "incomplete"  # it has the lock
    assert judge(in_phase(Phase.ABORTED, "dj-db1", revision=39)) == ""  # the one before
    assert Progress(before, "dj-db2").judge(in_phase(Phase.TRANSACTED, None)) == "refused"


def test_every_guard_of_the_proof_counts() -> None:
    found = plan("gg-db1", view(SITE_LOST))
    for name in found.guards:
        for held in (Held.FAILS, Held.UNKNOWN):
            verdict = replace(found.guards[name], held=held)
            assert not replace(found, guards=found.guards | {name: verdict}).proved
    assert not replace(found, guards={}).proved  # none of none is no proof
