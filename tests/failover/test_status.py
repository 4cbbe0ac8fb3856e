"""The screen says what the view says: site-safe, lags, who may take over, and each guard against it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from failover.publication import Detail, Pulse
from failover.status import HostRow, Overview, overview
from failover.status_cli import screen
from failover.view import Config, DcsState, NotSeen, Observation, SyncMode, SyncSet, View

from .views import DCS, HOST_LOST, HOSTS, observation, primary, standby, view

HEALTHY = tuple(
    observation(site, primary("dj-db1", 500), standby("dj-db2", 500), standby("gg-db1", 500))
    for site in ("daejeon", "gyeonggi", "sejong")
)
DETAILS = {
    "dj-db1": Detail(primary_lsn=520),
    "dj-db2": Detail(replayed_lsn=490),
    "gg-db1": Detail(replayed_lsn=480),
}


def shown(observations: tuple[Observation, ...] = HEALTHY, dcs: object = DCS) -> Overview:
    made: View = view(observations, dcs)
    pulses = {one.observer: Pulse(one.observer, one.site, 1, one.hosts, DETAILS) for one in observations}
    return overview(made, pulses, "hanbat")


def row(found: Overview, host: str) -> HostRow:
    return next(one for one in found.hosts if one.host == host)


def text(found: Overview) -> str:
    console = Console(width=200, no_color=True)
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
    assert found.notes == ("a hold is set: controllers keep still",)


@pytest.mark.parametrize(
    ("dcs", "safe"),
    [
        (replace(DCS, sync=None), "no"),
        (replace(DCS, sync=SyncSet("dj-db2", frozenset({"gg-db1"}), 21, "{}")), "unknown"),
        (replace(DCS, config=Config(SyncMode.OFF, False, 31)), "no"),
        (replace(DCS, config=Config(SyncMode.QUORUM, False, 31)), "unknown"),
        (replace(DCS, lock=None), "unknown"),
        (NotSeen("no majority"), "unknown"),
    ],
)
def test_site_safe_is_yes_no_or_unknown(dcs: DcsState | NotSeen, safe: str) -> None:
    assert shown(dcs=dcs).site_safe == safe


def test_without_the_dcs_nothing_is_claimed() -> None:
    found = shown(dcs=NotSeen("no majority"))
    assert found.primary is None
    assert {one.may_take_over for one in found.hosts} == {"unknown"}
    assert "THE DCS WAS NOT SEEN: no majority" in text(found)


def test_a_silent_host_has_no_figures_and_a_reason() -> None:
    found = shown(HOST_LOST)
    lost = row(found, "dj-db1")
    assert (lost.age_ms, lost.role) == (None, "unknown")
    assert set(lost.reach.values()) == {"unreachable"}
    assert row(found, "dj-db2").may_take_over == "yes"


def test_every_host_has_a_row() -> None:
    assert [one.host for one in shown().hosts] == [host.name for host in HOSTS]


def test_a_lost_host_says_from_where_and_it_fits_in_eighty_columns() -> None:
    console = Console(width=80, no_color=True)
    with console.capture() as capture:
        console.print(screen(shown(HOST_LOST)))
    said = capture.get()
    assert "dj-db1: unreachable from daejeon, unreachable from gyeonggi" in said
    assert "gyeonggi" in said.split("gg-db1", 2)[-1]
    assert "…" not in said
