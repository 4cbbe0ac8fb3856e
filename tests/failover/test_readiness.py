"""Who would be left to move the primary: 'yes' only with two sites' voices and a majority of the DCS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from failover import planner, table
from failover.guards import GUARDS, Case, Held, Verdict
from failover.policy import MoveKind
from failover.publication import MemberSeen, Pulse
from failover.readiness import would_move
from failover.view import HostSeen, Observation, Reach

from .test_status import DCS, HEALTHY, MEMBERS, etcd, row, shown, text
from .views import HOST_LOST, SITE_LOST, observation, view

UP, GONE, UNKNOWN = Reach.REACHABLE, Reach.UNREACHABLE, Reach.UNKNOWN
HOLDS, FAILS, UNSURE = Held.HOLDS, Held.FAILS, Held.UNKNOWN
SIGHT = HEALTHY[0].hosts
FOUR = tuple(sorted(HEALTHY, key=lambda one: one.observer))


def without(*names: str) -> tuple[Observation, ...]:
    return tuple(one for one in FOUR if one.observer not in names)


def silent(name: str, *, alive: bool) -> tuple[Observation, ...]:
    return tuple(replace(one, age_ms=60_000, alive=alive) if one.observer == name else one for one in FOUR)


def judged(
    observations: Sequence[Observation] = FOUR,
    candidate: str = "gg-db1",
    members: tuple[MemberSeen, ...] | dict[str, tuple[MemberSeen, ...]] | None = None,
    known: dict[str, str] = MEMBERS,
    old: str | None = "dj-db1",
) -> dict[str, Verdict]:
    """`members`: what every observer says, or each by its name."""
    made = view(tuple(observations))
    said = {one.observer: members for one in observations} if not isinstance(members, dict) else members
    pulses = {
        one.observer: Pulse(
            one.observer, one.site, 1, one.hosts, {}, members=etcd() if words is None else words
        )
        for one in observations
        for words in [said.get(one.observer, ())]
    }
    kind = MoveKind.IN_SITE if old and made.site_of(candidate) == made.site_of(old) else MoveKind.CROSS_SITE
    return would_move(Case(made, DCS, old, candidate, kind, None), pulses, known)


def held(*given: Any, **named: Any) -> tuple[Held, Held]:
    found = judged(*given, **named)
    return found["two_sites_to_agree"].held, found["majority_left"].held


def test_a_whole_cluster() -> None:
    assert held() == held(candidate="dj-db2") == (HOLDS, HOLDS)
    assert held(HOST_LOST, "dj-db2") == held(SITE_LOST, "gg-db1") == (HOLDS, HOLDS)


def test_without_the_witness_nothing_could_move() -> None:
    """Planted: 'may take over: yes', with one site to say so, and one member of three that would be left."""
    assert held(without("sj-wt1"), "gg-db1", etcd("sj-wt1")) == (FAILS, FAILS)
    assert held(without("sj-wt1"), "dj-db2", etcd("sj-wt1")) == (HOLDS, FAILS)
    assert held(without("sj-wt1"), "gg-db1") == (FAILS, HOLDS)  # only its observer is gone


@pytest.mark.parametrize(
    ("gone", "candidate", "agree"),
    [
        ("dj-db1", "dj-db2", HOLDS),  # it would be lost with its host: nobody counts it anyway
        ("dj-db2", "dj-db2", FAILS),  # the candidate's site would have no voice: the other goes with its host
        ("gg-db1", "dj-db2", HOLDS),  # Daejeon and Sejong
        ("gg-db1", "gg-db1", FAILS),
        ("dj-db2", "gg-db1", HOLDS),  # all of Daejeon is lost with it
        ("sj-wt1", "dj-db2", HOLDS),
        ("sj-wt1", "gg-db1", FAILS),
    ],
)
def test_one_observer_is_gone(gone: str, candidate: str, agree: Held) -> None:
    assert held(without(gone), candidate)[0] is agree
    assert held(silent(gone, alive=False), candidate)[0] is agree


def test_an_observer_that_may_come_back_is_not_sure() -> None:
    found = judged(silent("sj-wt1", alive=True))["two_sites_to_agree"]
    assert (found.held, "not sure: sejong" in found.reason) == (UNSURE, True)
    both = (*FOUR, observation("sejong", *SIGHT, name="sj-wt2", age_ms=60_000))
    assert held(both)[0] is UNSURE  # a site's vote needs all of its living observers


def test_a_probe_that_tells_nothing_is_no_voice() -> None:
    """A host that Sejong's observer cannot ask: the loss of its site would never be proved from there."""
    deaf = replace(FOUR[3], hosts=(SIGHT[0], HostSeen("dj-db2", UNKNOWN, 0), SIGHT[2]))
    assert held((*FOUR[:3], deaf), "gg-db1")[0] is UNSURE
    assert held((*FOUR[:3], deaf), "dj-db2")[0] is HOLDS


@pytest.mark.parametrize(
    ("away", "candidate", "left"),
    [
        ("dj-db1", "gg-db1", HOLDS),
        ("dj-db1", "dj-db2", HOLDS),
        ("gg-db1", "dj-db2", FAILS),
        ("gg-db1", "gg-db1", FAILS),
        ("sj-wt1", "dj-db2", FAILS),
    ],
)
def test_one_member_is_away(away: str, candidate: str, left: Held) -> None:
    found = judged(FOUR, candidate, etcd(away))["majority_left"]
    assert found.held is left
    assert "needed: 2 of 3" in found.reason


def test_a_primary_without_a_member_takes_none_with_it() -> None:
    """dj-db2 is primary: dj-db1's member and one other are a majority, in the site; not when it is lost."""
    assert held(FOUR, "dj-db1", etcd("sj-wt1"), old="dj-db2") == (HOLDS, HOLDS)
    assert held(FOUR, "gg-db1", etcd("sj-wt1"), old="dj-db2")[1] is FAILS


def test_five_members() -> None:
    known = MEMBERS | {"dj-et1": "daejeon", "gg-et1": "gyeonggi"}
    words = (*etcd(), MemberSeen("dj-et1", UP, 9000, 300), MemberSeen("gg-et1", UP, 9000, 300))
    lame = (*etcd(), MemberSeen("dj-et1", UP, 9000, 300), MemberSeen("gg-et1", GONE, 9000, 300, "no leader"))
    assert held(FOUR, "gg-db1", words, known)[1] is HOLDS
    assert held(FOUR, "gg-db1", lame, known)[1] is FAILS
    assert held(FOUR, "dj-db2", lame, known)[1] is HOLDS


def test_what_nobody_asked_is_unknown() -> None:
    assert held(FOUR, "gg-db1", ())[1] is UNSURE  # observers of an older version
    assert held(FOUR, "gg-db1", None, {})[1] is UNSURE
    assert held(old=None) == (UNSURE, UNSURE)
    stale = tuple(replace(word, reach=UNKNOWN) for word in etcd())
    assert held(FOUR, "gg-db1", stale)[1] is UNSURE


def test_only_who_outlives_the_loss_is_asked() -> None:
    """Gyeonggi and Sejong do not reach each other's member: that Daejeon reaches both would not help."""
    whole = etcd()
    apart = {"dj-db1": whole, "dj-db2": whole, "gg-db1": etcd("sj-wt1"), "sj-wt1": etcd("gg-db1")}
    found = judged(FOUR, "gg-db1", apart)["majority_left"]
    assert (found.held, "not sure: gg-db1, sj-wt1" in found.reason) == (UNSURE, True)
    lonely = {"dj-db1": whole, "dj-db2": whole}
    assert held(FOUR, "gg-db1", lonely)[1] is UNSURE


def test_the_planner_does_not_ask_for_it() -> None:
    asked = {line.guard for line in table.TABLE} | set(GUARDS)
    assert not {"two_sites_to_agree", "majority_left"} & asked
    assert planner.plan(view(SITE_LOST)).commands  # no pulse of it says anything about a member


def test_the_screen_without_the_witness() -> None:
    """Its last word still stands; nobody is 'yes'."""
    found = shown(silent("sj-wt1", alive=False), members=etcd("sj-wt1"))
    assert [one.may_take_over for one in found.hosts] == ["", "no", "no"]
    assert set(row(found, "gg-db1").against) == {"two_sites_to_agree", "majority_left"}
    assert set(row(found, "dj-db2").against) == {"majority_left"}
    said = text(found)
    assert "DCS member sj-wt1 (sejong): not healthy from 2/3 sites for 4.1 s, 0.3 s ago" in said
    assert (
        "gg-db1 two_sites_to_agree: the loss of daejeon could be seen from: gyeonggi; "
        "needed: two sites, gyeonggi among them"
    ) in said
    assert "gg-db1 majority_left: members of the DCS without daejeon: gg-db1; needed: 2 of 3" in said
    assert "dj-db2 majority_left: members of the DCS without dj-db1: gg-db1; needed: 2 of 3" in said


def test_observers_of_an_older_version_make_no_yes() -> None:
    found = shown(FOUR, members=())
    assert [one.may_take_over for one in found.hosts] == ["", "unknown", "unknown"]
    assert "DCS member sj-wt1 (sejong): unknown" in text(found)
