"""What controllers and gatekeepers put on a machine: their configuration and their units."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from hanbat.rendering import File, template
from hanbat.secrets_file import Secrets
from hanbat.topology import Host, HostRole, SiteRole, Topology
from primary.render import EDGE_PORT, POOLER_PORT
from replication import layout

UNITS = "/etc/systemd/system"


def render(topology: Topology, host: Host, secrets: Secrets) -> Iterator[File]:
    """Files of one machine; nothing where neither an observer nor a gatekeeper stands."""
    rows = [(each, topology.site_of(each.name)) for each in topology.hosts_with(HostRole.DB)]
    known = {"rows": rows, "etcd": layout.etcd_members_for(topology, host)}
    if host in layout.observers(topology):
        text = _text(
            "failover.yml.j2", topology, host,
            secrets=secrets, ms=_ms, poolers=layout.gatekeepers(topology),
            home=topology.site_with(SiteRole.PRIMARY).name, edge_port=EDGE_PORT, **known,
        )  # fmt: skip
        yield File("/etc/hanbat/failover.yml", text, mode=0o640, group="hanbat")
        unit = _text("hanbat-failover.service.j2", topology, host)
        yield File(f"{UNITS}/{layout.FAILOVER_UNIT}", unit)
        if host.has(HostRole.DB):
            yield File("/etc/hanbat/moves.json", _moves(topology))
    if host in layout.gatekeepers(topology):
        text = _text("gatekeeper.yml.j2", topology, host, pooler_port=POOLER_PORT, **known)
        yield File("/etc/hanbat/gatekeeper.yml", text)
        unit = _text("hanbat-gatekeeper.service.j2", topology, host)
        yield File(f"{UNITS}/{layout.GATEKEEPER_UNIT}", unit)


def _moves(topology: Topology) -> str:
    """For `replication.mends.held_back`: which moves wait for a person, where each database host stands."""
    sites = {each.name: topology.site_of(each.name).name for each in topology.hosts_with(HostRole.DB)}
    policy = topology.failover
    origin = "Rendered by hanbat from sites.yml and failover/render.py: change those, not this file."
    document = {"from": origin, "in_site": policy.in_site, "cross_site": policy.cross_site, "sites": sites}
    return json.dumps(document) + "\n"  # in one line: JSON has no comments


def _ms(length: timedelta) -> int:
    return round(length.total_seconds() * 1000)


def _text(name: str, topology: Topology, host: Host, **values: Any) -> str:
    known = {"topology": topology, "host": host, "site": topology.site_of(host.name), "layout": layout}
    return template("failover", name, **known, **values)
