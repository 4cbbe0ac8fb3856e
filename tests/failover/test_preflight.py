"""Why a handover is not begun: each reason alone, by value; and a whole cluster is ready."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failover.handover import Pooler, PoolerState
from failover.policy import MoveKind
from failover.preflight import REMEDIES, Weight, preflight
from failover.view import NotSeen, Phase, SyncMode

from .views import DCS, INTENT, gone, observation, primary, standby, view

WHOLE = tuple(
    observation(site, primary("dj-db1"), standby("dj-db2"), standby("gg-db1"), revision=number)
    for number, site in enumerate(("daejeon", "gyeonggi", "sejong"), 71)
)
OPEN = {name: Pooler(name, PoolerState.OPEN, "", "dj-db1") for name in ("dj-app1", "gg-app1")}


def codes(found):
    return {one.code for one in found.reasons if one.weight is Weight.STOP}


def test_a_whole_cluster_is_ready():
    found = preflight(view(WHOLE), "gyeonggi", OPEN)
    assert found.ready
    assert (found.old, found.candidate, found.kind) == ("dj-db1", "gg-db1", MoveKind.CROSS_SITE)
    assert found.reasons == ()


def test_a_host_can_be_named():
    found = preflight(view(WHOLE), "dj-db2", OPEN)
    assert (found.ready, found.candidate, found.kind) == (True, "dj-db2", MoveKind.IN_SITE)


def test_there_already_is_nothing_to_do():
    found = preflight(view(WHOLE), "daejeon", OPEN)
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
    found = preflight(view(WHOLE, dcs), "gyeonggi", OPEN)
    assert codes(found) == {code}
    assert not found.ready
    assert all(one.remedy for one in found.reasons)


def test_a_primary_that_has_not_taken_sync_yet_hands_nothing_over():
    found = preflight(view(WHOLE, replace(DCS, sync=replace(DCS.sync, leader="dj-db2"))), "gyeonggi", OPEN)
    assert codes(found) == {"sync_is_the_holders"}


def test_a_candidate_behind_what_was_acknowledged():
    late = tuple(
        replace(one, hosts=(primary("dj-db1", 900), standby("dj-db2", 900), standby("gg-db1", 500)))
        for one in WHOLE
    )
    assert codes(preflight(view(late), "gyeonggi", OPEN)) == {"candidate_not_behind"}


def looked(needed, received):
    """All observers say so: what the sync set has flushed, and what the candidate has."""
    hosts = (primary("dj-db1", needed), standby("dj-db2", needed), standby("gg-db1", received))
    return view(tuple(replace(one, hosts=hosts) for one in WHOLE))


def test_a_candidate_that_has_come_to_the_earlier_look_is_not_behind():
    """While the primary writes, its position is always the newer one; a drill met it five times."""
    assert codes(preflight(looked(920, 910), "gyeonggi", OPEN, looked(900, 890))) == set()
    assert codes(preflight(looked(920, 900), "gyeonggi", OPEN, looked(900, 890))) == set()


def test_a_candidate_that_has_not_come_to_the_earlier_look_is_behind():
    """Its data directory was lost or restored, or it receives nothing: positions go on, its own stays."""
    assert codes(preflight(looked(920, 899), "gyeonggi", OPEN, looked(900, 890))) == {"candidate_not_behind"}
    unmeasured = view(WHOLE, NotSeen("no answer"))
    unmeasured = replace(unmeasured, observations=())
    assert codes(preflight(looked(920, 910), "gyeonggi", OPEN, unmeasured)) == {"candidate_not_behind"}


def test_a_candidate_that_its_own_site_does_not_reach():
    seen = [replace(one) for one in WHOLE]
    seen[1] = observation("gyeonggi", primary("dj-db1"), standby("dj-db2"), gone("gg-db1"), revision=72)
    assert "candidate_ready" in codes(preflight(view(tuple(seen)), "gyeonggi", OPEN))


def test_a_primary_seen_from_one_site_only():
    seen = (
        WHOLE[0],
        *(
            observation(site, gone("dj-db1"), standby("dj-db2"), standby("gg-db1"))
            for site in ("gyeonggi", "sejong")
        ),
    )
    assert "not_reached" in codes(preflight(view(seen), "gyeonggi", OPEN))


def test_a_silent_gatekeeper_stops_it_and_a_held_pooler_too():
    assert codes(preflight(view(WHOLE), "gyeonggi", {**OPEN, "dj-app2": None})) == {"pooler_silent"}
    held = {**OPEN, "dj-app1": Pooler("dj-app1", PoolerState.HELD, "h9", "dj-db1")}
    assert codes(preflight(view(WHOLE), "gyeonggi", held)) == {"held_already"}


def test_no_host_elsewhere_means_no_remote_copy_afterwards():
    seen = tuple(
        observation(site, primary("dj-db1"), standby("dj-db2"), gone("gg-db1"), revision=number)
        for number, site in enumerate(("daejeon", "gyeonggi", "sejong"), 71)
    )
    assert "not_site_safe_after" in codes(preflight(view(seen), "dj-db2", OPEN))


def test_the_dcs_unseen_a_free_lock_and_an_unknown_target():
    assert codes(preflight(view(WHOLE, NotSeen("no answer")), "gyeonggi", OPEN)) == {"dcs_unseen"}
    stranger = view(WHOLE, NotSeen("sites.yml does not name x", "name it"))
    assert preflight(stranger, "gyeonggi", OPEN).reasons[0].remedy == "name it"
    assert codes(preflight(view(WHOLE, replace(DCS, lock=None)), "gyeonggi", OPEN)) == {"no_primary"}
    assert codes(preflight(view(WHOLE), "busan", OPEN)) == {"unknown_target"}


def test_every_guard_named_here_exists():
    from failover.guards import GUARDS

    assert set(GUARDS) >= set(REMEDIES)
