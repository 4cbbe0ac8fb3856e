"""Who may connect to PostgreSQL (`pg_hba.conf`): the cluster's own hosts, each by its address."""

from __future__ import annotations

from hanbat.topology import HostRole, Topology
from replication.layout import OBSERVER_USER, REPLICATION_USER, REWIND_USER, observers

DATABASE = "procurement"
OWNER_ROLE = "procurement_owner"
SERVICE_ROLE = "procurement_app"


def rules(topology: Topology) -> list[str]:
    """Lines of pg_hba.conf, first match wins; anything else is refused.

    The superuser has no way in over the network: Patroni and the operators use the local socket.
    """
    lines = [
        "local all postgres peer",
        "local replication postgres peer",
        f"host replication {REPLICATION_USER} 127.0.0.1/32 scram-sha-256",
        f"host {DATABASE} {OWNER_ROLE},{SERVICE_ROLE} 127.0.0.1/32 scram-sha-256",
    ]
    for host in topology.hosts_with(HostRole.DB):
        lines.append(f"host replication {REPLICATION_USER} {host.address}/32 scram-sha-256")
        lines.append(f"host postgres {REWIND_USER} {host.address}/32 scram-sha-256")
    for host in observers(topology):
        # The application's database too: how many deadlines a person who must decide would let pass.
        lines.append(f"host postgres,{DATABASE} {OBSERVER_USER} {host.address}/32 scram-sha-256")
    for host in topology.hosts_with(HostRole.APP):
        lines.append(f"host {DATABASE} {OWNER_ROLE},{SERVICE_ROLE} {host.address}/32 scram-sha-256")
    return lines
