"""What the controllers put on a machine: their configuration and their unit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from hanbat.rendering import File, template
from hanbat.secrets_file import Secrets
from hanbat.topology import Host, HostRole, Topology
from replication import layout

UNITS = "/etc/systemd/system"


def render(topology: Topology, host: Host, secrets: Secrets) -> Iterator[File]:
    """Files of one machine; nothing where no observer stands."""
    if host not in layout.observers(topology):
        return
    rows = [(each, topology.site_of(each.name)) for each in topology.hosts_with(HostRole.DB)]
    text = _text(
        "failover.yml.j2", topology, host,
        secrets=secrets, rows=rows, ms=_ms, etcd=layout.etcd_members_for(topology, host),
    )  # fmt: skip
    yield File("/etc/hanbat/failover.yml", text, mode=0o640, group="hanbat")
    unit = _text("hanbat-failover.service.j2", topology, host)
    yield File(f"{UNITS}/{layout.FAILOVER_UNIT}", unit)


def _ms(length: timedelta) -> int:
    return round(length.total_seconds() * 1000)


def _text(name: str, topology: Topology, host: Host, **values: Any) -> str:
    known = {"topology": topology, "host": host, "site": topology.site_of(host.name), "layout": layout}
    return template("failover", name, **known, **values)
