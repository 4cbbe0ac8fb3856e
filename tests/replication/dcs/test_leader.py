"""Where the leader of etcd goes: away from the active site, the witness first, never on a guess."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from replication.dcs.leader import DcsMember, Move, View, decide

DJ = DcsMember("dj-db1", "daejeon", False, True)
GG = DcsMember("gg-db1", "gyeonggi", False, True)
WT = DcsMember("sj-wt1", "sejong", True, True)
VIEW = View("dj-db1", "dj-db1", "daejeon", (DJ, GG, WT))


def test_from_the_active_site_to_the_witness() -> None:
    assert decide(VIEW) == Move("sj-wt1", "dj-db1 leads etcd at the active site daejeon")


def test_to_another_site_when_the_witness_is_not_healthy() -> None:
    for health in (False, None):
        move = decide(replace(VIEW, members=(DJ, GG, replace(WT, healthy=health))))
        assert move is not None
        assert move.target == "gg-db1"


def test_nothing_moves_when_the_active_site_is_unknown() -> None:
    assert decide(replace(VIEW, active_site=None)) is None


def test_nothing_moves_when_another_member_leads_or_nobody_knows() -> None:
    assert decide(replace(VIEW, leader="sj-wt1")) is None
    assert decide(replace(VIEW, leader=None)) is None


def test_a_leader_outside_the_active_site_stays() -> None:
    assert decide(replace(VIEW, active_site="gyeonggi")) is None


def test_nothing_moves_to_a_member_whose_health_is_unknown() -> None:
    doubtful = (DJ, replace(GG, healthy=None), replace(WT, healthy=False))
    assert decide(replace(VIEW, members=doubtful)) is None


members = st.builds(
    DcsMember,
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.sampled_from(["x", "y", "z"]),
    st.booleans(),
    st.sampled_from([True, False, None]),
)
views = st.builds(
    View,
    st.sampled_from("abc"),
    st.sampled_from(["a", "b", None]),
    st.sampled_from(["x", "y", "z", None]),
    st.lists(members, unique_by=lambda m: m.name).map(tuple),
)


@given(views)
def test_a_move_always_leaves_the_active_site_for_a_healthy_member(view: View) -> None:
    move = decide(view)
    if move is None:
        return
    target = next(member for member in view.members if member.name == move.target)
    assert view.leader == view.me
    assert target.healthy is True
    assert target.site != view.active_site
