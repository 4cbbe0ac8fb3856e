"""What the acceptance tests look at, from outside and inside the machines; every look is bounded."""

from __future__ import annotations

import time
from collections.abc import Callable

from hanbat.topology import HostRole
from lab.laboratory import Lab


def until(ok: Callable[[], bool], *, what: str, limit_s: float) -> float:
    """Seconds until it is so."""
    start = time.monotonic()
    while time.monotonic() - start < limit_s:
        if ok():
            return time.monotonic() - start
        time.sleep(0.3)
    raise AssertionError(f"{what}: not within {limit_s} s")


def ready_at(lab: Lab, site_name: str) -> tuple[int, str]:
    """Status of the edge's readiness, and the site whose application answered."""
    url = f"http://{lab.topology.site(site_name).edge}/healthz/ready"
    argv = ["curl", "-s", "-m", "3", "-o", "/dev/null", "-w", "%{http_code} %header{x-hanbat-site}", url]
    status, _, site = lab.run(None, argv, timeout_s=6).stdout.partition(" ")
    return int(status or 0), site


def primaries(lab: Lab) -> list[str]:
    """Database hosts whose PostgreSQL is out of recovery; one that does not run is none."""
    found = []
    for host in lab.topology.hosts_with(HostRole.DB):
        if not lab.machine(host.name).running():
            continue
        sql = ["psql", "-XAtc", "select pg_is_in_recovery()"]
        if lab.run(host.name, sql, timeout_s=10, user="postgres").stdout.strip() == "f":
            found.append(host.name)
    return found


def whole(lab: Lab) -> bool:
    """Every other database host streams synchronously from the one primary."""
    (primary,) = primaries(lab) or [None]
    if primary is None:
        return False
    sql = ["psql", "-XAtc", "select count(*) from pg_stat_replication where sync_state = 'sync'"]
    count = lab.run(primary, sql, timeout_s=10, user="postgres").stdout.strip()
    return count == str(len(lab.topology.hosts_with(HostRole.DB)) - 1)
