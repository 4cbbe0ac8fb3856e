"""Where a change of site waits for a person, it waits, past Patroni's lease, too; with the yes, seconds.

The whole way, in a lab of its own whose `sites.yml` says `failover.cross_site: approve`: the main site loses
its power, nobody moves for longer than the lease, a person looks at the plan and says yes; nothing is
lost, and nobody had to sign. Before that a hold keeps controllers still that would replace a host.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest

from hanbat.errors import Exit
from hanbat.topology import HostRole, SiteRole
from lab.bench.variants import Variant, write
from lab.faults import make_fault
from lab.laboratory import Lab

from .conftest import ROOT
from .seeing import primaries, ready_at, until, whole

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")]
ASKS = Variant("approve", "a change of site waits for a person", {"failover": {"cross_site": "approve"}})
LEASE_S = 20.0  # `ttl`


@pytest.fixture(scope="module")
def booted(nothing_left: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    Lab.of_clone(ROOT).down(print)
    lab = Lab.of_clone(ROOT, write(ASKS, ROOT / "sites.yml", tmp_path_factory.mktemp("sites")))
    lab.up(print)
    yield lab
    lab.down(print)


@pytest.fixture
def asking(booted: Lab) -> Iterator[Lab]:
    """Whole before the test, and nothing broken after it."""
    until(lambda: whole(booted), what="the cluster is whole", limit_s=120)
    yield booted
    for fault in booted.faults.read():
        make_fault(booted, fault.name, fault.target).heal()


def stays_without_primary(lab: Lab, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert primaries(lab) == []
        time.sleep(1)


def test_a_hold_keeps_the_controllers_still_until_it_is_cleared(asking: Lab) -> None:
    home = asking.topology.site_with(SiteRole.PRIMARY)
    (old,) = primaries(asking)
    (other,) = [host.name for host in home.hosts_with(HostRole.DB) if host.name != old]
    held = asking.run(other, ["hanbat", "hold", "set", "--by", "Kim", "--reason", "a test"], timeout_s=20)
    assert held.returncode == Exit.DONE, held.stderr
    make_fault(asking, "power-cut", old).inject()
    stays_without_primary(asking, 5)  # a takeover inside the site takes two seconds
    assert "a hold is set" in asking.run(other, ["hanbat", "status"], timeout_s=20).stdout
    cleared = asking.run(other, ["hanbat", "hold", "clear"], timeout_s=20)
    assert cleared.returncode == Exit.DONE, cleared.stderr
    until(lambda: primaries(asking) == [other], what=f"{other} is the primary", limit_s=10)


def test_a_change_of_site_waits_for_a_person_past_the_lease(asking: Lab) -> None:
    home, backup = asking.topology.site_with(SiteRole.PRIMARY), asking.topology.site_with(SiteRole.BACKUP)
    (spare,) = [host.name for host in backup.hosts_with(HostRole.DB)]
    make_fault(asking, "power-cut", home.name).inject()
    stays_without_primary(asking, LEASE_S + 5)

    argv = ["hanbat", "failover", "--to", backup.name, "--json"]
    plan = asking.run(spare, argv, timeout_s=30)
    assert plan.returncode == Exit.WAITING, plan.stderr
    assert json.loads(plan.stdout)["plan"]["proved"]
    done = asking.run(spare, [*argv, "--execute"], timeout_s=60)
    assert done.returncode == Exit.DONE, done.stderr
    until(lambda: primaries(asking) == [spare], what=f"{spare} is the primary", limit_s=10)
    until(lambda: ready_at(asking, backup.name) == (200, backup.name), what="the backup serves", limit_s=15)
