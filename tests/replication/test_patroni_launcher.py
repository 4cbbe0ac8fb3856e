"""The launcher: version, environment, and which member of the DCS Patroni asks first."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hanbat.topology import ProtectionMode
from replication.patroni_launcher import (
    MODES,
    DcsUnhealthy,
    LauncherMisused,
    UnknownPatroni,
    check_version,
    drag_bounds,
    healthy_first,
    protection,
)

HOSTS = ("10.71.1.11:2379", "10.71.3.11:2379", "10.71.2.11:2379")


class Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        return self.at

    def sleep(self, length_s: float) -> None:
        self.at += length_s


def order(healthy: set[str], clock: Clock, limit_s: float = 10.0) -> tuple[str, ...]:
    return healthy_first(
        HOSTS, healthy=healthy.__contains__, limit_s=limit_s, now=clock.now, sleep=clock.sleep
    )


def test_the_own_sites_member_stays_first_while_it_is_healthy() -> None:
    assert order(set(HOSTS), Clock()) == HOSTS


def test_a_member_that_is_down_is_not_asked_first() -> None:
    assert order({HOSTS[1]}, Clock()) == (HOSTS[1], HOSTS[0], HOSTS[2])


def test_it_waits_for_a_member_and_gives_up_in_time() -> None:
    clock = Clock()
    with pytest.raises(DcsUnhealthy):
        order(set(), clock, limit_s=5.0)
    assert clock.at == pytest.approx(5.0, abs=0.3)


@pytest.mark.parametrize("version", ["4.0.7", "4.2.0", "4.10.1", "5.0"])
def test_another_minor_version_of_patroni_is_refused(version: str) -> None:
    with pytest.raises(UnknownPatroni):
        check_version(version)


def test_the_known_version_is_taken() -> None:
    check_version("4.1.5")


def test_the_mode_comes_from_the_unit() -> None:
    environment = {"HANBAT_PROTECTION_MODE": "max_protection", "HANBAT_REMOTE_MEMBERS": "gg-db1 gg-db2"}
    assert protection(environment) == ("max_protection", {"gg-db1", "gg-db2"})
    assert protection({"HANBAT_PROTECTION_MODE": "max_availability"})[0] == "max_availability"


def test_the_bounds_of_a_drag_come_from_the_unit() -> None:
    assert drag_bounds({"HANBAT_DRAG_LIMIT_S": "0.5", "HANBAT_DRAG_TIME_S": "5.0"}) == (0.5, 5.0)


@pytest.mark.parametrize("value", ["", "500ms", "0", "nan", "inf", "-1"])
def test_a_drag_without_bounds_is_refused(value: str) -> None:
    with pytest.raises(LauncherMisused):
        drag_bounds({"HANBAT_DRAG_LIMIT_S": value, "HANBAT_DRAG_TIME_S": "5.0"})


def test_the_modes_are_those_of_the_topology() -> None:
    assert {mode.value for mode in ProtectionMode} == MODES


def test_it_is_light_to_import() -> None:
    """The postmaster's fresh interpreter imports it while everyone waits for PostgreSQL."""
    heavy = "{'patroni', 'yaml', 'pydantic', 'urllib.request'}"
    code = f"import replication.patroni_launcher, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "environment", [{}, {"HANBAT_PROTECTION_MODE": "maximum"}, {"HANBAT_PROTECTION_MODE": "max_protection"}]
)
def test_a_unit_without_a_usable_mode_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(LauncherMisused):
        protection(environment)
