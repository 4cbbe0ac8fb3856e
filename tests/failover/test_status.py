"""The screen says what the view says: site-safe, lags, who may take over, and each guard against it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from failover.handover import Pooler, PoolerState
from failover.publication import Detail, EdgeSeen, EdgeState, MemberSeen, Pulse, Remembered
from failover.status import HostRow, Overview, overview
from failover.status_cli import _seen, screen
from failover.view import Config, DcsState, Move, NotSeen, Observation, Phase, Reach, SyncMode, SyncSet, View

from .views import DCS, HOST_LOST, HOSTS, INTENT, SITE_LOST, gone, observation, primary, standby, view

# As on real machines: an observer's name is its machine's.
HEALTHY = tuple(
    observation(site, primary("dj-db1", 500), standby("dj-db2", 500), standby("gg-db1", 500), name=name)
    for name, site in (
        ("dj-db2", "daejeon"),
        ("gg-db1", "gyeonggi"),
        ("sj-wt1", "sejong"),
        ("dj-db1", "daejeon"),
    )
)
DETAILS = {
    "dj-db1": Detail(primary_lsn=520, patroni="answers"),
    "dj-db2": Detail(replayed_lsn=490, patroni="answers"),
    "gg-db1": Detail(replayed_lsn=480, patroni="answers"),
}
EDGES = tuple(EdgeSeen(site, EdgeState.OK, 9000, 12, 300) for site in ("daejeon", "gyeonggi"))
POOLERS: dict[str, Pooler | None] = {
    host: Pooler(host, PoolerState.OPEN, "", "dj-db1") for host in ("dj-app1", "dj-app2", "gg-app1")
}
MEMBERS = {"dj-db1": "daejeon", "gg-db1": "gyeonggi", "sj-wt1": "sejong"}


def etcd(*away: str) -> tuple[MemberSeen, ...]:
    """What every observer sees of the members; these are away."""
    return tuple(
        MemberSeen(name, Reach.UNREACHABLE, 4000, 200, "connection refused")
        if name in away
        else MemberSeen(name, Reach.REACHABLE, 9000, 300)
        for name in MEMBERS
    )


def shown(
    observations: tuple[Observation, ...] = HEALTHY,
    dcs: object = DCS,
    details: dict[str, Detail] = DETAILS,
    edges: tuple[EdgeSeen, ...] = EDGES,
    poolers: dict[str, Pooler | None] = POOLERS,
    operation: Remembered | None = None,
    members: tuple[MemberSeen, ...] | None = None,
    offer: Remembered | None = None,
    **changes: Any,
) -> Overview:
    made: View = view(observations, dcs, **changes)
    pulses = {
        one.observer: Pulse(
            one.observer,
            one.site,
            1,
            one.hosts,
            details,
            edges,
            operation,
            etcd() if members is None else members,
            offer,
        )
        for one in observations
    }
    return overview(made, pulses, "hanbat", poolers, MEMBERS)


def row(found: Overview, host: str) -> HostRow:
    return next(one for one in found.hosts if one.host == host)


def text(found: Overview, width: int = 200) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as capture:
        console.print(screen(found))
    return capture.get()


def test_a_healthy_cluster() -> None:
    found = shown()
    assert (found.primary, found.active_site, found.site_safe) == ("dj-db1", "daejeon", "yes")
    assert [one.may_take_over for one in found.hosts] == ["", "yes", "yes"]
    assert (row(found, "gg-db1").received_lag, row(found, "gg-db1").replayed_lag) == (20, 40)
    assert row(found, "dj-db1").received_lag is None
    assert row(found, "gg-db1").age_ms == 100
    assert "site-safe: yes" in text(found)


def test_who_is_not_in_the_sync_set_may_not_and_the_guard_is_named() -> None:
    sync = SyncSet("dj-db1", frozenset({"dj-db2"}), 21, "{}")
    found = shown(dcs=replace(DCS, sync=sync))
    assert found.site_safe == "no"
    assert row(found, "gg-db1").may_take_over == "no"
    assert set(row(found, "gg-db1").against) == {"candidate_in_sync"}
    assert "gg-db1 candidate_in_sync" in text(found)


def test_a_hold_keeps_all_from_it() -> None:
    found = shown(dcs=replace(DCS, hold_revision=5))
    assert [one.may_take_over for one in found.hosts] == ["", "no", "no"]
    assert found.notes == ("a hold is set; the controllers keep still",)


def test_a_hold_says_by_whom_and_since_when() -> None:
    words = "a hold is set by kim since 2026-11-29T09:00:00+00:00: the network"
    said = text(shown(dcs=replace(DCS, hold_revision=5, hold=words)))
    assert f"! {words}; the controllers keep still" in said


def test_an_offer_is_not_called_a_switchover_for_ever() -> None:
    """Planted: 'a switchover is under way' of one that has stood for hours. Who is late asks the others."""
    dcs = replace(DCS, failover_revision=7)
    young = "an offer stands in /failover for at least 0.4 s: a switchover is under way, or was left behind"
    assert shown(dcs=dcs, offer_age_ms=400).notes == (young,)
    assert shown(dcs=dcs, offer_age_ms=400, offer=Remembered(6, 99_000)).notes == (young,)
    (old,) = shown(dcs=dcs, offer_age_ms=400, offer=Remembered(7, 7_200_000)).notes
    assert old.startswith("an offer stands in /failover for at least 2 h: left behind, or scheduled")


def test_a_takeovers_own_offer_is_no_switchover() -> None:
    operation = replace(INTENT, phase=Phase.TRANSACTED)
    dcs = replace(DCS, failover_revision=40, operation=operation, operation_revision=40)
    assert shown(dcs=dcs).notes == ()


@pytest.mark.parametrize(
    ("dcs", "safe"),
    [
        (replace(DCS, sync=None), "no"),
        (replace(DCS, sync=SyncSet("dj-db2", frozenset({"gg-db1"}), 21, "{}")), "unknown"),
        (replace(DCS, config=Config(SyncMode.OFF, False, 31)), "no"),
        (replace(DCS, config=Config(SyncMode.QUORUM, False, 31)), "unknown"),
        (replace(DCS, sync=SyncSet("dj-db1", frozenset({"dj-db2", "gg-db1"}), 21, "{}", 1)), "unknown"),
        (replace(DCS, lock=None), "unknown"),
        (NotSeen("no majority"), "unknown"),
    ],
)
def test_site_safe_is_yes_no_or_unknown(dcs: DcsState | NotSeen, safe: str) -> None:
    assert shown(dcs=dcs).site_safe == safe


def test_without_the_dcs_nothing_is_claimed() -> None:
    found = shown((), dcs=NotSeen("no majority"))
    assert found.primary is None
    assert {colour(one) for one in found.hosts} == {("unknown", "yellow")}
    assert {one["state"] for one in found.observers} == {"unknown"}
    assert {one.may_take_over for one in found.hosts} == {"unknown"}
    assert "THE DCS WAS NOT SEEN: no majority" in text(found)


def test_a_dcs_that_cannot_be_judged_says_what_to_do() -> None:
    found = shown(dcs=NotSeen("sites.yml does not name dj-db9", "name it there"))
    assert "THE CLUSTER CANNOT BE JUDGED: sites.yml does not name dj-db9" in text(found)
    assert "name it there" in text(found)


def colour(one: HostRow) -> tuple[str, str]:
    """How it is shown that a host is seen."""
    found = _seen(one)
    return found.plain, str(found.style)


def test_without_observers_nothing_is_green() -> None:
    """Planted: every host was seen by 0/0 sites, in green."""
    found = shown(())
    assert {colour(one) for one in found.hosts} == {("unknown", "yellow")}
    assert "dj-db1, dj-db2, gg-db1: unknown from daejeon, gyeonggi, sejong" in text(found)
    assert "observers: dj-db1 gone  dj-db2 gone  gg-db1 gone  sj-wt1 gone" in text(found)


def test_a_site_without_an_observer_is_counted() -> None:
    """Planted: without the witness's observer all was well from 2/2 sites; nothing said that it is gone."""
    found = shown(tuple(one for one in HEALTHY if one.site != "sejong"))
    assert {colour(one) for one in found.hosts} == {("2/3", "yellow")}
    assert row(found, "gg-db1").reach["sejong"] is Reach.UNKNOWN
    said = text(found)
    assert "sj-wt1 gone" in said
    assert "edge daejeon: commits from 2/3 sites" in said
    assert "DCS member gg-db1 (gyeonggi): healthy from 2/3 sites" in said
    assert {colour(one) for one in shown().hosts} == {("3/3", "green")}


def test_who_is_silent_under_a_living_lease_is_not_gone() -> None:
    late = tuple(replace(one, age_ms=5000) if one.site == "sejong" else one for one in HEALTHY)
    assert "sj-wt1 silent 5.0 s" in text(shown(late))


def test_why_a_primary_that_answers_is_doubted() -> None:
    why = "cannot extend a file: Read-only file system"
    found = shown(details=DETAILS | {"dj-db1": replace(DETAILS["dj-db1"], why=why)})
    assert row(found, "dj-db1").why == why
    assert f"dj-db1: {why}" in text(found)


def test_a_silent_host_has_no_figures_and_a_reason() -> None:
    found = shown(HOST_LOST)
    lost = row(found, "dj-db1")
    assert (lost.age_ms, lost.role) == (None, "unknown")
    assert set(lost.reach.values()) == {"unreachable"}
    assert row(found, "dj-db2").may_take_over == "yes"


def test_nobody_lags_behind_a_primary_that_nobody_reaches() -> None:
    """Planted: its last word was kept, and an old lag shown with the age of the standby's fresh one."""
    found = shown(HOST_LOST)
    for host in ("dj-db2", "gg-db1"):
        assert (row(found, host).received_lag, row(found, host).replayed_lag) == (None, None)
        assert row(found, host).age_ms == 100
    assert "unknown" in next(line for line in text(found).splitlines() if line.split()[:1] == ["gg-db1"])
    assert row(shown(SITE_LOST), "gg-db1").received_lag is None


def test_a_lag_is_measured_by_who_reaches_both() -> None:
    """Gyeonggi does not reach the primary any more: Daejeon's word of it counts, while that is fresh."""
    away = observation("gyeonggi", gone("dj-db1"), standby("dj-db2", 500), standby("gg-db1", 500))
    assert row(shown((HEALTHY[0], away, HEALTHY[2])), "gg-db1").received_lag == 20
    old = [replace(one, age_ms=5000) for one in (HEALTHY[0], HEALTHY[2])]
    found = row(shown((old[0], away, old[1])), "gg-db1")
    assert (found.received_lag, found.replayed_lag, found.age_ms) == (None, None, 100)


def test_every_host_has_a_row() -> None:
    assert [one.host for one in shown().hosts] == [host.name for host in HOSTS]


def test_a_lost_host_says_from_where_and_it_fits_in_eighty_columns() -> None:
    said = text(shown(HOST_LOST), width=80)
    assert "dj-db1: unreachable from daejeon, gyeonggi, sejong" in said
    assert "gyeonggi" in said.split("gg-db1", 2)[-1]
    assert "…" not in said


def test_a_healthy_screen_fits_a_small_terminal() -> None:
    """Four observers, as in the reference shape; each line ends where it should."""
    lines = text(shown(), width=80).splitlines()
    assert len(lines) <= 24
    assert "observers: dj-db1 0.1 s  dj-db2 0.1 s  gg-db1 0.1 s  sj-wt1 0.1 s" in lines
    assert "edge daejeon: commits from 3/3 sites, 12 ms, 0.4 s ago" in lines
    assert "DCS member sj-wt1 (sejong): healthy from 3/3 sites, 0.4 s ago" in lines
    assert "poolers open to dj-db1: dj-app1, dj-app2, gg-app1 (at most 4 s old)" in lines


def test_edges_that_fail() -> None:
    edges = (EDGES[0], EdgeSeen("gyeonggi", EdgeState.FAILED, 4000, None, 200, "this server is a standby"))
    said = text(shown(edges=edges))
    assert "edge gyeonggi: no commit from 3/3 sites for 4.1 s, 0.3 s ago" in said
    assert "; daejeon, gyeonggi, sejong: this server is a standby" in said
    assert "edge daejeon: unknown" in text(shown(edges=(EdgeSeen("daejeon", EdgeState.UNKNOWN),)))


def test_poolers_that_hold_or_are_silent() -> None:
    poolers = POOLERS | {"dj-app2": Pooler("dj-app2", PoolerState.HELD, "abc", "dj-db1"), "gg-app1": None}
    said = text(shown(poolers=poolers))
    assert "poolers held to dj-db1 for handover abc: dj-app2" in said
    assert "poolers silent: gg-app1" in said
    free = {"dj-app1": Pooler("dj-app1", PoolerState.OPEN, "", "")}
    assert "poolers open, HAProxy's checks decide: dj-app1" in text(shown(poolers=free))


def test_the_poolers_are_unknown_without_the_dcs() -> None:
    found = shown(dcs=NotSeen("no majority"))
    assert {one.state for one in found.poolers} == {"unknown"}
    assert "poolers unknown: dj-app1" in text(found)


def test_the_operation_is_as_old_as_any_observer_knows() -> None:
    """Who has just come to look knows nothing of it; an older revision's age does not count."""
    dcs = replace(DCS, operation=replace(INTENT, phase=Phase.DONE), operation_revision=40)
    young = {"operation_age_ms": 800}
    assert shown(dcs=dcs, **young).operation_age_ms == 800
    old = shown(dcs=dcs, operation=Remembered(40, 412_000), **young)
    assert old.operation_age_ms == 412_100
    assert old.operation == "takeover 4, dj-db1 to gg-db1: done at least 7 min ago"
    assert shown(dcs=dcs, operation=Remembered(39, 412_000), **young).operation_age_ms == 800
    assert shown(dcs=dcs, **young).operation.endswith("done at least 0.8 s ago; not back to dj-db1 for 9.2 s")
    assert shown().operation_age_ms is None


def test_what_still_waits_after_an_operation_is_told() -> None:
    """An intent that was given up blocks nothing; an attempt that came to nothing does, for a moment."""
    given_up = replace(INTENT, phase=Phase.ABORTED, note="intended: x")
    tried = replace(INTENT, phase=Phase.ABORTED, note="transacted: x")
    after = replace(tried, after=Move("dj-db2", "dj-db1"))
    for operation, told in (
        (given_up, "aborted at least 0.8 s ago"),
        (tried, "aborted at least 0.8 s ago; blocked 2.2 s"),
        (after, "aborted at least 0.8 s ago; blocked 2.2 s; not back to dj-db2 for 9.2 s"),
    ):
        dcs = replace(DCS, operation=operation, operation_revision=40)
        assert shown(dcs=dcs, operation_age_ms=800).operation.endswith(told)


def test_a_mute_patroni_is_named() -> None:
    mute = Detail(replayed_lsn=490, patroni="refused", patroni_mute_ms=4200)
    found = shown(details=DETAILS | {"dj-db2": mute})
    assert (row(found, "dj-db2").patroni, row(found, "dj-db1").patroni) == ("refused", "answers")
    assert "dj-db2: Patroni: refused for 4.2 s" in text(found)
    assert row(shown(details={}), "dj-db1").patroni == "unknown"


def test_the_same_reason_is_said_once() -> None:
    said = text(shown(dcs=replace(DCS, hold_revision=5)))
    assert "dj-db2, gg-db1 no_hold: a hold is set" in said


def test_a_standby_is_not_behind_by_what_was_written_between_two_probes() -> None:
    def may(received: int) -> str:
        seen = (primary("dj-db1", 84_000_000), standby("dj-db2", received), standby("gg-db1", received))
        everywhere = tuple(observation(one.site, *seen, name=one.observer) for one in HEALTHY)
        return row(shown(everywhere), "dj-db2").may_take_over

    assert may(84_000_000 - 328) == "yes"
    assert may(84_000_000 - 20_000_000) == "no"


def test_a_lost_primarys_word_is_taken_as_it_is() -> None:
    """No moment lies between two probes of what does not move any more."""
    behind = [replace(one, hosts=(one.hosts[0], standby("dj-db2", 470), one.hosts[2])) for one in HOST_LOST]
    assert "candidate_not_behind" in row(shown(tuple(behind)), "dj-db2").against
