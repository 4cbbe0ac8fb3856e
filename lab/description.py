"""What a lab tells about itself: `hanbat lab status --json` and `hanbat lab env --json`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from hanbat.errors import HanbatError
from hanbat.topology import Host, HostRole, Site
from lab import health, leftovers, record, sockets

if TYPE_CHECKING:
    from lab.laboratory import Lab

POOLER_PORT = 6432
DATABASE = "procurement"
SERVICE_ROLE = "procurement_app"


def status(lab: Lab) -> dict[str, Any]:
    """Which machines run, answer ssh, have failed units; Patroni's roles; injected faults."""
    known = record.read(lab.names)
    base = {"identity": lab.identity, "clone": str(lab.clone), "up": lab.is_up()}
    if not lab.is_up():
        return {**base, "leftovers": leftovers.find(lab.names).text()}
    cluster = health.read_cluster(lab.topology, lab.names.client)
    members = {each.name: each for each in cluster.members} if cluster else {}
    with ThreadPoolExecutor(4) as pool:
        rows = pool.map(lambda host: _host_status(lab, host, members.get(host.name)), lab.topology.hosts)
        hosts = dict(zip((host.name for host in lab.topology.hosts), rows, strict=True))
    edges = {
        site.name: next(
            health.edges(lab.topology.model_copy(update={"sites": (site,)}), lab.names.client)
        ).seen
        for site in lab.topology.sites
        if site.edge
    }
    faults = [{"name": each.name, "target": each.target, "at": each.at} for each in lab.faults.read()]
    primary = cluster.primary if cluster else None
    return {
        **base,
        "wan": known.wan if known else "",
        "image": known.image if known else "",
        "seconds": known.seconds if known else {},
        "primary": primary,
        "hosts": hosts,
        "edges": edges,
        "faults": faults,
    }


def _host_status(lab: Lab, host: Host, member: health.Member | None) -> dict[str, Any]:
    machine = lab.machine(host.name)
    running = machine.running()
    row: dict[str, Any] = {
        "site": lab.topology.site_of(host.name).name,
        "running": running,
        "frozen": machine.group.frozen(),
        "ssh": sockets.ssh_banner(lab.names.client, str(host.address), timeout_s=1.0),
        "failed_units": None,  # unknown
        "patroni": {"role": member.role, "state": member.state} if member else None,
    }
    if running and not row["frozen"]:
        argv = ["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"]
        try:
            lines = machine.run(argv, timeout_s=5).stdout.splitlines()
            row["failed_units"] = [line.split()[0] for line in lines if line.strip()]
        except HanbatError as error:
            row["error"] = str(error)
    return row


def environment(lab: Lab) -> dict[str, Any]:
    """Raises LabNotUp."""
    lab.require_up()
    cluster = health.read_cluster(lab.topology, lab.names.client)
    primary = cluster.primary if cluster else None
    return {
        "cluster": lab.topology.cluster,
        "identity": lab.identity,
        "sites": {site.name: _site(site, primary) for site in lab.topology.sites},
        "hosts": {host.name: _host(lab, site, host) for site in lab.topology.sites for host in site.hosts},
        "ssh": {"key": str(lab.operator_key), "known_hosts": str(lab.known_hosts), "user": "root"},
        "client_exec": lab.client_command([]),
        "ca": None,
        "operator_key_file": str(lab.secrets_path),
    }


def _site(site: Site, primary: str | None) -> dict[str, Any]:
    return {
        "role": site.role.value,
        "edge_url": f"http://{site.edge}" if site.edge else None,
        "active": None if primary is None else any(host.name == primary for host in site.hosts),
    }


def _host(lab: Lab, site: Site, host: Host) -> dict[str, Any]:
    row: dict[str, Any] = {
        "address": str(host.address),
        "site": site.name,
        "roles": [role.value for role in host.roles],
    }
    if host.has(HostRole.APP):
        row["pooler_dsn"] = (
            f"host={host.address} port={POOLER_PORT} dbname={DATABASE} user={SERVICE_ROLE} "
            f"password={lab.secrets.app_service} connect_timeout=2"
        )
    return row
