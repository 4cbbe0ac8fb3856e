"""When a lab is healthy: conditions that are observed from outside, each with what was seen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hanbat.topology import HostRole, ProtectionMode, SiteRole, Topology
from lab import sockets
from lab.errors import NotHealthy
from primary.render import APP_PORT

ETCD_PORT = 2379
PATRONI_PORT = 8008
EDGE_PORT = 80
READY = "/healthz/ready"
PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that must hold, and whether it does."""

    name: str
    holds: bool
    seen: str
    hosts: tuple[str, ...] = ()  # where to look when it does not hold


def _json(namespace: str, address: str, port: int, path: str) -> Any:
    """Raises OSError or ValueError."""
    return json.loads(sockets.http_get(namespace, address, port, path).body)


def etcd_members(topology: Topology, client: str) -> Condition:
    """Every member says that it is healthy: it knows a leader."""
    bad: list[str] = []
    for host in topology.hosts_with(HostRole.ETCD):
        try:
            if _json(client, str(host.address), ETCD_PORT, "/health").get("health") != "true":
                bad.append(host.name)
        except (OSError, ValueError):
            bad.append(host.name)
    return Condition(
        "every etcd member is healthy",
        not bad,
        f"not healthy: {', '.join(bad)}" if bad else "all",
        tuple(bad),
    )


@dataclass(frozen=True, slots=True)
class Member:
    """One database host as Patroni shows it."""

    name: str
    role: str
    state: str


@dataclass(frozen=True, slots=True)
class Cluster:
    """What one Patroni shows of its cluster. `sync_nodes` None: Patroni did not say."""

    members: tuple[Member, ...]
    sync_nodes: int | None

    @property
    def primary(self) -> str | None:
        return next((each.name for each in self.members if each.role == "leader"), None)


def read_cluster(topology: Topology, client: str) -> Cluster | None:
    """The cluster as the first Patroni that answers shows it; None when none answers."""
    for host in topology.hosts_with(HostRole.DB):
        try:
            rows = _json(client, str(host.address), PATRONI_PORT, "/cluster")["members"]
            config = _json(client, str(host.address), PATRONI_PORT, "/config")
        except (OSError, ValueError, KeyError):
            continue
        members = tuple(Member(row["name"], row["role"], row["state"]) for row in rows)
        return Cluster(members, config.get("synchronous_node_count") if isinstance(config, dict) else None)
    return None


def judge_cluster(topology: Topology, cluster: Cluster | None) -> Iterator[Condition]:
    """Conditions on Patroni and replication. Pure."""
    hosts = tuple(host.name for host in topology.hosts_with(HostRole.DB))
    if cluster is None:
        yield Condition("Patroni answers", False, "no Patroni answers", hosts)
        return
    home = {host.name for host in topology.site_with(SiteRole.PRIMARY).hosts}
    primary = cluster.primary
    yield Condition(
        "the primary is at the primary site", primary in home, f"primary: {primary}", tuple(home & set(hosts))
    )
    states = {each.name: each.state for each in cluster.members}
    lagging = tuple(name for name in hosts if name != primary and states.get(name) != "streaming")
    seen = ", ".join(f"{name}: {states.get(name, 'absent')}" for name in lagging) or "all"
    yield Condition("every standby is streaming", primary is not None and not lagging, seen, lagging)
    standbys = len(hosts) - 1
    expected = (
        0
        if topology.replication.mode is ProtectionMode.MAX_PERFORMANCE
        else min(cluster.sync_nodes or 1, standbys)
    )
    sync = sum(each.role in ("sync_standby", "quorum_standby") for each in cluster.members)
    yield Condition(
        "the sync set is complete", sync >= expected, f"{sync} of {expected} sync standbys", hosts
    )


def edges(topology: Topology, client: str) -> Iterator[Condition]:
    """The application answers at every edge, for a client outside all sites."""
    for site in topology.sites:
        if site.edge is None:
            continue
        try:
            seen = str(sockets.http_get(client, str(site.edge), EDGE_PORT, READY, timeout_s=2.0).status)
        except OSError as error:
            seen = f"no answer ({error})"
        where = tuple(host.name for host in site.hosts_with(HostRole.APP))
        yield Condition(
            f"the application is ready at the edge of {site.name}", seen == "200", f"{READY}: {seen}", where
        )


def applications(topology: Topology, client: str) -> Iterator[Condition]:
    """The application is ready on every host, through its own pooler: an edge shows only that one is."""
    for host in topology.hosts_with(HostRole.APP):
        try:
            seen = str(sockets.http_get(client, str(host.address), APP_PORT, READY, timeout_s=2.0).status)
        except OSError as error:
            seen = f"no answer ({error})"
        name = f"the application is ready on {host.name}"
        yield Condition(name, seen == "200", f"{READY}: {seen}", (host.name,))


def besides_database(topology: Topology, client: str) -> Iterator[Condition]:
    """All that a drill does not see of PostgreSQL's hosts: etcd, application and poolers, edges."""
    yield etcd_members(topology, client)
    yield from applications(topology, client)
    yield from edges(topology, client)


def conditions(topology: Topology, client: str) -> Iterator[Condition]:
    """All conditions, in the order in which a lab comes to life; a false one makes the rest pointless."""
    yield etcd_members(topology, client)
    yield from judge_cluster(topology, read_cluster(topology, client))
    yield from applications(topology, client)
    yield from edges(topology, client)


def wait(
    judge: Callable[[], Iterator[Condition]],
    *,
    limit_s: float,
    explain: Callable[[Sequence[str]], str],
    progress: Callable[[str], None],
) -> None:
    """Wait until every condition holds. Raises NotHealthy: what is false, and units' logs."""
    end = time.monotonic() + limit_s
    last = ""
    while True:
        false = next((each for each in judge() if not each.holds), None)
        if false is None:
            return
        if false.name != last:
            progress(f"waiting: {false.name} ({false.seen})")
            last = false.name
        if time.monotonic() > end:
            fact = f"after {limit_s:g} s it is still false that {false.name}: {false.seen}"
            raise NotHealthy(f"{fact}\n{explain(false.hosts)}")
        time.sleep(PAUSE_S)
