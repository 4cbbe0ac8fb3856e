"""Why a handover is not begun: each reason alone, by value; and a whole cluster is ready."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failover.handover import Pooler, PoolerState
from failover.policy import MoveKind
from failover.preflight import REMEDIES, Weight, preflight
from failover.publication import Detail, Pulse
from failover.replay import MOST_BYTES, SOME_BYTES
from failover.view import NotSeen, Phase, SyncMode

from .test_status import MEMBERS, etcd
from .views import DCS, HOST_LOST, INTENT, gone, observation, primary, standby, view

WHOLE = tuple(
    observation(site, primary("dj-db1"), standby("dj-db2"), standby("gg-db1"), revision=number)
    for number, site in enumerate(("daejeon", "gyeonggi", "sejong"), 71)
)
OPEN = {name: Pooler(name, PoolerState.OPEN, "", "dj-db1") for name in ("dj-app1", "gg-app1")}


def pulses(observations, left=0, members=None):
    """What each observer says besides: every standby has all but `left` replayed; None: nobody knows."""
    return {
        one.observer: Pulse(
            one.observer, one.site, 1, one.hosts,
            {
                seen.host: Detail(replayed_lsn=seen.received_lsn - left)
                for seen in one.hosts
                if left is not None and seen.received_lsn is not None
            },
            members=etcd() if members is None else members,
        )
        for one in observations
    }  # fmt: skip


def judged(seen, target, poolers, before=None, **said):
    return preflight(seen, target, poolers, pulses(seen.observations, **said), MEMBERS, before)


def codes(found):
    return {one.code for one in found.reasons if one.weight is Weight.STOP}


def test_a_whole_cluster_is_ready():
    found = judged(view(WHOLE), "gyeonggi", OPEN)
    assert found.ready
    assert (found.old, found.candidate, found.kind) == ("dj-db1", "gg-db1", MoveKind.CROSS_SITE)
    assert found.reasons == ()


def test_a_host_can_be_named():
    found = judged(view(WHOLE), "dj-db2", OPEN)
    assert (found.ready, found.candidate, found.kind) == (True, "dj-db2", MoveKind.IN_SITE)


def test_there_already_is_nothing_to_do():
    found = judged(view(WHOLE), "daejeon", OPEN)
    assert found.already_there
    assert found.ready


@pytest.mark.parametrize(
    ("dcs", "code"),
    [
        (replace(DCS, config=replace(DCS.config, paused=True)), "not_paused"),
        (replace(DCS, hold_revision=90), "no_hold"),
        (replace(DCS, failover_revision=91), "no_failover_key"),
        (replace(DCS, config=replace(DCS.config, sync_mode=SyncMode.OFF)), "all_acknowledge"),
        (replace(DCS, sync=replace(DCS.sync, members=frozenset({"dj-db2"}))), "candidate_in_sync"),
        (
            replace(DCS, operation=replace(INTENT, phase=Phase.TAKEN), operation_revision=40),
            "takeover_under_way",
        ),
    ],
)
def test_each_reason_stops_it_and_has_a_remedy(dcs, code):
    found = judged(view(WHOLE, dcs), "gyeonggi", OPEN)
    assert codes(found) == {code}
    assert not found.ready
    assert all(one.remedy for one in found.reasons)


def test_a_primary_that_has_not_taken_sync_yet_hands_nothing_over():
    found = judged(view(WHOLE, replace(DCS, sync=replace(DCS.sync, leader="dj-db2"))), "gyeonggi", OPEN)
    assert codes(found) == {"sync_is_the_holders"}


def test_a_candidate_behind_what_was_acknowledged():
    late = tuple(
        replace(one, hosts=(primary("dj-db1", 900), standby("dj-db2", 900), standby("gg-db1", 500)))
        for one in WHOLE
    )
    assert codes(judged(view(late), "gyeonggi", OPEN)) == {"candidate_not_behind"}


def looked(needed, received):
    """All observers say so: what the sync set has flushed, and what the candidate has."""
    hosts = (primary("dj-db1", needed), standby("dj-db2", needed), standby("gg-db1", received))
    return view(tuple(replace(one, hosts=hosts) for one in WHOLE))


def test_a_candidate_that_has_come_to_the_earlier_look_is_not_behind():
    """While the primary writes, its position is always the newer one; a drill met it five times."""
    assert codes(judged(looked(920, 910), "gyeonggi", OPEN, looked(900, 890))) == set()
    assert codes(judged(looked(920, 900), "gyeonggi", OPEN, looked(900, 890))) == set()


def test_a_candidate_that_has_not_come_to_the_earlier_look_is_behind():
    """Its data directory was lost or restored, or it receives nothing: positions go on, its own stays."""
    assert codes(judged(looked(920, 899), "gyeonggi", OPEN, looked(900, 890))) == {"candidate_not_behind"}
    unmeasured = view(WHOLE, NotSeen("no answer"))
    unmeasured = replace(unmeasured, observations=())
    assert codes(judged(looked(920, 910), "gyeonggi", OPEN, unmeasured)) == {"candidate_not_behind"}


def test_a_candidate_that_its_own_site_does_not_reach():
    seen = [replace(one) for one in WHOLE]
    seen[1] = observation("gyeonggi", primary("dj-db1"), standby("dj-db2"), gone("gg-db1"), revision=72)
    assert "candidate_ready" in codes(judged(view(tuple(seen)), "gyeonggi", OPEN))


def test_a_primary_seen_from_one_site_only():
    seen = (
        WHOLE[0],
        *(
            observation(site, gone("dj-db1"), standby("dj-db2"), standby("gg-db1"))
            for site in ("gyeonggi", "sejong")
        ),
    )
    assert "not_reached" in codes(judged(view(seen), "gyeonggi", OPEN))


def test_a_silent_gatekeeper_stops_it_and_a_held_pooler_too():
    assert codes(judged(view(WHOLE), "gyeonggi", {**OPEN, "dj-app2": None})) == {"pooler_silent"}
    held = {**OPEN, "dj-app1": Pooler("dj-app1", PoolerState.HELD, "h9", "dj-db1")}
    assert codes(judged(view(WHOLE), "gyeonggi", held)) == {"held_already"}


def test_no_host_elsewhere_means_no_remote_copy_afterwards():
    seen = tuple(
        observation(site, primary("dj-db1"), standby("dj-db2"), gone("gg-db1"), revision=number)
        for number, site in enumerate(("daejeon", "gyeonggi", "sejong"), 71)
    )
    assert "not_site_safe_after" in codes(judged(view(seen), "dj-db2", OPEN))


def test_the_dcs_unseen_a_free_lock_and_an_unknown_target():
    assert codes(judged(view(WHOLE, NotSeen("no answer")), "gyeonggi", OPEN)) == {"dcs_unseen"}
    stranger = view(WHOLE, NotSeen("sites.yml does not name x", "name it"))
    assert judged(stranger, "gyeonggi", OPEN).reasons[0].remedy == "name it"
    assert codes(judged(view(WHOLE, replace(DCS, lock=None)), "gyeonggi", OPEN)) == {"no_primary"}
    assert codes(judged(view(WHOLE), "busan", OPEN)) == {"unknown_target"}


def test_every_guard_named_here_exists():
    from failover.guards import GUARDS

    assert set(GUARDS) >= set(REMEDIES)


LONG = tuple(
    replace(one, hosts=(primary("dj-db1"), standby("dj-db2", 200 << 20), standby("gg-db1", 200 << 20)))
    for one in WHOLE
)


@pytest.mark.parametrize("left", [MOST_BYTES + 1, None], ids=["minutes behind", "not known"])
def test_a_candidate_that_would_have_to_replay_for_long(left):
    """Planted: replay was paused there, and the first write came when minutes of WAL had been replayed."""
    found = judged(view(LONG), "gyeonggi", OPEN, left=left)
    assert codes(found) == {"replay_behind"}
    assert "pg_wal_replay_resume()" in found.reasons[0].remedy
    assert ("64 MB" if left else "not known") in found.reasons[0].fact


@pytest.mark.parametrize(("left", "told"), [(0, []), (SOME_BYTES, []), (SOME_BYTES + 1, ["replay_behind"])])
def test_some_replay_is_said_and_stops_nothing(left, told):
    found = judged(view(LONG), "gyeonggi", OPEN, left=left)
    assert found.ready
    assert [one.code for one in found.reasons] == told


def test_replay_is_not_measured_by_what_the_primary_has_written_meanwhile():
    """Its position is of another moment: a candidate that has replayed all it has is not behind by that."""
    busy = tuple(
        replace(one, hosts=(primary("dj-db1"), standby("dj-db2", 900 << 20), standby("gg-db1", 200 << 20)))
        for one in WHOLE
    )
    said = {
        name: replace(pulse, details={**pulse.details, "dj-db1": Detail(primary_lsn=999 << 20)})
        for name, pulse in pulses(busy).items()
    }
    assert preflight(view(busy), "gyeonggi", OPEN, said, MEMBERS).ready


def test_of_two_words_on_replay_the_newer_one_counts():
    """One observer's word is half a second older: paused since, or just caught up."""
    older, newer = pulses(LONG, left=100 << 20), pulses(LONG, left=0)
    mixed = {**newer, "daejeon/1": older["daejeon/1"]}
    assert preflight(view(LONG), "gyeonggi", OPEN, mixed, MEMBERS).ready


def test_an_old_word_on_replay_is_none():
    stale = tuple(replace(one, age_ms=60_000) for one in WHOLE)
    assert "replay_behind" in codes(judged(view(stale), "gyeonggi", OPEN))


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (etcd("sj-wt1"), "sj-wt1 (unreachable); 2 of 3 are"),
        ((), "dj-db1 (unknown), gg-db1 (unknown), sj-wt1 (unknown); 0 of 3 are"),
    ],
    ids=["a bare majority", "nobody knows"],
)
def test_a_member_of_etcd_that_is_away_is_said(members, words):
    found = judged(view(WHOLE), "gyeonggi", OPEN, members=members)
    assert found.ready
    assert [(one.weight, one.code) for one in found.reasons] == [(Weight.WARN, "members_missing")]
    assert words in found.reasons[0].fact


@pytest.mark.parametrize("target", ["daejeon", "dj-db1"])
@pytest.mark.parametrize(
    "seen",
    [
        HOST_LOST,
        tuple(
            observation(site, standby("dj-db1"), standby("dj-db2"), standby("gg-db1"))
            for site in ("daejeon", "gyeonggi", "sejong")
        ),
        (),
        (
            observation("daejeon", primary("dj-db1"), name="dj-db1"),
            observation("daejeon", gone("dj-db1"), name="dj-db2"),
            *HOST_LOST[1:],
        ),
    ],
    ids=["dead", "not promoted yet", "nobody looks", "its own observer alone"],
)
def test_a_lock_holder_that_serves_nobody_is_not_the_primary_already(target, seen):
    """Planted: "is the primary already", ready, exit status 0."""
    found = judged(view(seen), target, OPEN)
    assert (found.ready, found.already_there, codes(found)) == (False, False, {"not_reached"})
