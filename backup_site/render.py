"""What a site's capacity puts on a machine: the sizes, for people and for what comes later."""

from __future__ import annotations

from collections.abc import Iterator

from backup_site.capacity import sizes
from hanbat.rendering import File, template
from hanbat.secrets_file import Secrets
from hanbat.topology import Host, HostRole, Topology


def render(topology: Topology, host: Host, secrets: Secrets) -> Iterator[File]:
    """One file on an app host: what it carries, and of which capacity that is a part."""
    if host.has(HostRole.APP):
        site = topology.site_of(host.name)
        text = template("backup_site", "capacity.yml.j2", site=site, host=host, sizes=sizes(topology, host))
        yield File("/etc/hanbat/capacity.yml", text)
