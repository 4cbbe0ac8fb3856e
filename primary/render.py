"""What carries the application on a machine, and the base of every machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from backup_site.capacity import RESERVE_AFTER_S, sizes
from hanbat.rendering import File, template
from hanbat.secrets_file import Secrets
from hanbat.topology import Host, HostRole, Site, Topology
from replication import access, layout
from replication.scram import verifier

UNITS = "/etc/systemd/system"
APP_UNITS = (
    "hanbat-haproxy.service",
    "hanbat-pgbouncer.service",
    "hanbat-keepalived.service",
    "hanbat-app.service",
    "hanbat-app-migrate.service",
)
POOLER_PORT = 6432
DATABASE_PORT = 5000
APP_PORT = 8000
EDGE_PORT = 80
METRICS_PORT = 8405
PORTS = {
    "pooler": POOLER_PORT,
    "database": DATABASE_PORT,
    "app": APP_PORT,
    "edge": EDGE_PORT,
    "metrics": METRICS_PORT,
}


def units(host: Host) -> tuple[str, ...]:
    """Every unit of ours that a host starts at boot."""
    return layout.units(host) + (APP_UNITS if host.has(HostRole.APP) else ())


def controllers(topology: Topology, host: Host) -> tuple[str, ...]:
    """Observer and controller, gatekeeper, where there is one (`failover.render` writes them)."""
    controller = (layout.FAILOVER_UNIT,) if host in layout.observers(topology) else ()
    return controller + ((layout.GATEKEEPER_UNIT,) if host in layout.gatekeepers(topology) else ())


def render(topology: Topology, host: Host, secrets: Secrets) -> Iterator[File]:
    """Files of one machine: the base for each, the application's way for an app host."""
    yield from _base(topology, host)
    if host.has(HostRole.APP):
        yield from _proxies(topology, host, secrets)
        yield from _application(topology, host, secrets)


def _text(name: str, topology: Topology, host: Host, comment: str = "#", **values: Any) -> str:
    return template(
        "primary", name, comment,
        topology=topology, host=host, site=topology.site_of(host.name), layout=layout, access=access,
        port=PORTS,
        **values,
    )  # fmt: skip


def _base(topology: Topology, host: Host) -> Iterator[File]:
    yield File("/etc/hosts", _text("hosts.j2", topology, host))
    yield File("/etc/sysusers.d/hanbat.conf", _text("sysusers.conf.j2", topology, host))
    yield File("/etc/ssh/sshd_config.d/hanbat.conf", _text("sshd.conf.j2", topology, host))
    yield File("/etc/systemd/journald.conf.d/hanbat.conf", _text("journald.conf.j2", topology, host))
    yield File("/etc/sysctl.d/90-hanbat.conf", _text("sysctl.conf.j2", topology, host))
    wants = _text("multi-user.conf.j2", topology, host, units=(*units(host), *controllers(topology, host)))
    yield File(f"{UNITS}/multi-user.target.d/hanbat.conf", wants)


def _sites_with_application(topology: Topology, host: Host) -> list[Site]:
    """Sites that carry the application, the host's own first."""
    home = topology.site_of(host.name)
    sites = [site for site in topology.sites if site.hosts_with(HostRole.APP)]
    return sorted(sites, key=lambda site: site.name != home.name)


def _proxies(topology: Topology, host: Host, secrets: Secrets) -> Iterator[File]:
    carried = {h.name: sizes(topology, h) for h in topology.hosts_with(HostRole.APP)}
    sites = _sites_with_application(topology, host)
    edge = _text("haproxy.cfg.j2", topology, host, sites=sites, carried=carried)
    yield File("/etc/hanbat/haproxy.cfg", edge)
    yield File(f"{UNITS}/hanbat-haproxy.service", _text("hanbat-haproxy.service.j2", topology, host))
    mine = carried[host.name]
    pooler = _text("pgbouncer.ini.j2", topology, host, ";", sizes=mine, reserve_after_s=RESERVE_AFTER_S)
    yield File("/etc/hanbat/pgbouncer.ini", pooler)
    users = _text("pgbouncer-users.txt.j2", topology, host, ";", secrets=secrets, verifier=verifier)
    yield File("/etc/hanbat/pgbouncer-users.txt", users, mode=0o600, owner="postgres", group="postgres")
    yield File(f"{UNITS}/hanbat-pgbouncer.service", _text("hanbat-pgbouncer.service.j2", topology, host))
    yield from _edge_address(topology, host)


def _edge_address(topology: Topology, host: Host) -> Iterator[File]:
    group = topology.site_of(host.name).hosts_with(HostRole.APP)
    peers = [peer for peer in group if peer.name != host.name]
    place = [peer.name for peer in group].index(host.name)
    # Router identifiers differ between sites, should two of them share a segment.
    router = 71 + [site.name for site in topology.sites].index(topology.site_of(host.name).name)
    yield File(
        "/etc/hanbat/keepalived.conf",
        _text("keepalived.conf.j2", topology, host, peers=peers, priority=200 - place, router=router),
    )
    yield File(f"{UNITS}/hanbat-keepalived.service", _text("hanbat-keepalived.service.j2", topology, host))


def _application(topology: Topology, host: Host, secrets: Secrets) -> Iterator[File]:
    service = _text("app.env.j2", topology, host, secrets=secrets)
    yield File("/etc/hanbat/app.env", service, mode=0o640, group="hanbat")
    owner = _text("app-migrate.env.j2", topology, host, secrets=secrets)
    yield File("/etc/hanbat/app-migrate.env", owner, mode=0o600)
    carried = sizes(topology, host)
    yield File(f"{UNITS}/hanbat-app.service", _text("hanbat-app.service.j2", topology, host, sizes=carried))
    yield File(f"{UNITS}/hanbat-app-migrate.service", _text("hanbat-app-migrate.service.j2", topology, host))
