"""What replication puts on a machine: etcd, its steward, Patroni, the first SQL, the LSN ring."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hanbat.rendering import File, template
from hanbat.secrets_file import Secrets
from hanbat.topology import Host, HostRole, SiteRole, Topology
from replication import access, layout, protection, server, sync_set
from replication.salvage.settings import LIMITS, described_tables
from replication.scram import verifier

UNITS = "/etc/systemd/system"


def render(topology: Topology, host: Host, secrets: Secrets) -> Iterator[File]:
    """Files of one machine; nothing for a host without the roles `etcd` and `db`."""
    if host.has(HostRole.ETCD):
        yield from _etcd(topology, host)
    if host.has(HostRole.DB):
        yield from _patroni(topology, host, secrets)
        yield _salvage(topology, host)
        yield from _lsn_ring(topology, host, secrets)


def _text(name: str, topology: Topology, host: Host, comment: str = "#", **values: Any) -> str:
    site = topology.site_of(host.name)
    known = {"topology": topology, "host": host, "site": site, "layout": layout}
    return template("replication", name, comment, **known, **values)


def _etcd(topology: Topology, host: Host) -> Iterator[File]:
    members = topology.hosts_with(HostRole.ETCD)
    yield File("/etc/hanbat/etcd.yml", _text("etcd.yml.j2", topology, host, members=members))
    yield File(f"{UNITS}/hanbat-etcd.service", _text("hanbat-etcd.service.j2", topology, host))
    rows = [(member.name, topology.site_of(member.name)) for member in members]
    yield File("/etc/hanbat/dcs-steward.yml", _text("dcs-steward.yml.j2", topology, host, rows=rows))
    yield File(f"{UNITS}/hanbat-dcs-steward.service", _text("hanbat-dcs-steward.service.j2", topology, host))


def _patroni(topology: Topology, host: Host, secrets: Secrets) -> Iterator[File]:
    dynamic = protection.dynamic_configuration(topology)
    at_home = topology.site_of(host.name).role is SiteRole.PRIMARY
    yield File(
        "/etc/hanbat/patroni.yml",
        _text(
            "patroni.yml.j2", topology, host,
            secrets=secrets, dynamic=dynamic, parameters=server.parameters(topology),
            hba=access.rules(topology), priority=sync_set.priorities(topology)[host.name],
            failover_priority=2 if at_home else 1,
            etcd=layout.etcd_members_for(topology, host), may_bootstrap=at_home,
        ),
        mode=0o600, owner="postgres", group="postgres",
    )  # fmt: skip
    members = layout.etcd_members_for(topology, host)
    control = _text("patronictl.yml.j2", topology, host, secrets=secrets, etcd=members)
    yield File("/etc/hanbat/patronictl.yml", control, mode=0o640, group="postgres")
    yield File("/etc/hanbat/dcs.yml", _text("dcs.yml.j2", topology, host, dynamic=dynamic))
    if at_home:
        sql = _text(
            "post-bootstrap.sql.j2", topology, host, "--", secrets=secrets, access=access, verifier=verifier
        )
        yield File("/etc/hanbat/post-bootstrap.sql", sql, mode=0o600, owner="postgres", group="postgres")
    remote = layout.remote_members(topology, host)
    unit = _text("hanbat-patroni.service.j2", topology, host, remote=remote)
    yield File(f"{UNITS}/hanbat-patroni.service", unit)


def _salvage(topology: Topology, host: Host) -> File:
    text = _text("salvage.yml.j2", topology, host, limits=LIMITS, tables=described_tables())
    return File("/etc/hanbat/salvage.yml", text)


def _lsn_ring(topology: Topology, host: Host, secrets: Secrets) -> Iterator[File]:
    rows = [(h, topology.site_of(h.name)) for h in topology.hosts_with(HostRole.DB)]
    yield File("/etc/hanbat/lsn-ring.yml", _text("lsn-ring.yml.j2", topology, host, rows=rows))
    yield File(f"{UNITS}/hanbat-lsn-ring.service", _text("hanbat-lsn-ring.service.j2", topology, host))
