"""One host of a site lost: the site goes on. This the real system had before its backup centre."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hanbat.topology import HostRole, SiteRole
from lab.faults import make_fault
from lab.laboratory import Lab

from .seeing import primaries, ready_at, until, whole

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")]


@pytest.fixture(autouse=True)
def healed(lab: Lab) -> Iterator[None]:
    until(lambda: whole(lab), what="the cluster is whole", limit_s=60)
    yield
    for fault in lab.faults.read():
        make_fault(lab, fault.name, fault.target).heal()


@pytest.mark.parametrize("lost", [0, 1])
def test_an_application_host_is_lost_and_its_edge_goes_on(lab: Lab, lost: int) -> None:
    site = lab.topology.site_with(SiteRole.PRIMARY)
    fault = make_fault(lab, "power-cut", site.hosts_with(HostRole.APP)[lost].name)
    fault.inject()
    assert fault.active()
    until(lambda: ready_at(lab, site.name) == (200, site.name), what=f"the edge of {site.name}", limit_s=15)
    fault.heal()
    assert not fault.active()


def test_requests_reach_the_active_site_from_either_edge(lab: Lab) -> None:
    home = lab.topology.site_of(primaries(lab)[0]).name
    for site in lab.topology.sites:
        if site.edge is not None:
            until(lambda edge=site.name: ready_at(lab, edge) == (200, home), what=f"{site.name}", limit_s=15)


def test_the_backups_only_application_host_is_lost_and_the_service_goes_on(lab: Lab) -> None:
    home, backup = lab.topology.site_with(SiteRole.PRIMARY), lab.topology.site_with(SiteRole.BACKUP)
    with_fault = make_fault(lab, "power-cut", backup.hosts_with(HostRole.APP)[0].name)
    with_fault.inject()
    assert ready_at(lab, home.name) == (200, home.name)


def test_the_primary_database_host_is_lost_and_the_site_goes_on(lab: Lab) -> None:
    home = lab.topology.site_with(SiteRole.PRIMARY)
    (old,) = primaries(lab)
    assert lab.topology.site_of(old) == home
    fault = make_fault(lab, "power-cut", old)
    fault.inject()
    assert fault.active()
    until(lambda: len(primaries(lab)) == 1, what="another primary", limit_s=45)
    (new,) = primaries(lab)
    assert new != old
    assert lab.topology.site_of(new) == home, "the loss of one host must not move the site"
    until(lambda: ready_at(lab, home.name) == (200, home.name), what="the edge of the site", limit_s=15)
    fault.heal()
    until(lambda: whole(lab), what="the lost host is a sync standby again, by itself", limit_s=90)
