"""Names, ports, paths and orders that the replication parts share, all from the topology."""

from __future__ import annotations

from hanbat.topology import Host, HostRole, SiteRole, Topology
from replication import unprotected

POSTGRESQL_PORT = 5432
WAL_SEGMENT_MB = 1  # PostgreSQL's own default is 16
PATRONI_PORT = 8008
LSN_RING_PORT = 8010
ETCD_CLIENT_PORT = 2379
ETCD_PEER_PORT = 2380

SUPERUSER = "postgres"
REPLICATION_USER = "replicator"
REWIND_USER = "rewinder"
REST_USER = "patroni"
OBSERVER_USER = "hanbat_observer"

ETCD_UNITS = ("hanbat-etcd.service", "hanbat-dcs-steward.service")
FAILOVER_UNIT = "hanbat-failover.service"
GATEKEEPER_UNIT = "hanbat-gatekeeper.service"
# An operator may mount a volume here: a full disk for data then leaves WAL its room, and the other way round.
WAL_MOUNT = "/var/lib/postgresql-wal"
# Evidence of what a returning host had alone: outside the data directory, which a re-clone removes.
SALVAGE_DIR = "/var/lib/hanbat/salvage"
# The record of intervals in which a standby was left out of the sync set (replication/unprotected.py).
UNPROTECTED_DIR = str(unprotected.PATH.parent)
DB_UNITS = ("hanbat-patroni.service", "hanbat-lsn-ring.service")


def units(host: Host) -> tuple[str, ...]:
    """Units of replication that a host starts at boot."""
    etcd = ETCD_UNITS if host.has(HostRole.ETCD) else ()
    return etcd + (DB_UNITS if host.has(HostRole.DB) else ())


def observers(topology: Topology) -> tuple[Host, ...]:
    """Hosts on which an observer and a controller stand; none when they are not enabled."""
    if not topology.failover.enabled:
        return ()
    return tuple(host for host in topology.hosts if host.has(HostRole.ETCD) or host.has(HostRole.DB))


def gatekeepers(topology: Topology) -> tuple[Host, ...]:
    """Application hosts on which a gatekeeper stands; none when the controllers are not enabled."""
    return topology.hosts_with(HostRole.APP) if topology.failover.enabled else ()


def bin_dir(topology: Topology) -> str:
    """Where Debian puts the programs of this major version."""
    return f"/usr/lib/postgresql/{topology.postgresql.version}/bin"


def version_dir(topology: Topology) -> str:
    """Folder of this major version; `postgres` owns it. Holds the data directory and its passwords."""
    return f"/var/lib/postgresql/{topology.postgresql.version}"


def data_dir(topology: Topology) -> str:
    """The data directory: Patroni makes it, and may remove it to clone the host anew."""
    return f"{version_dir(topology)}/{topology.cluster}"


def wal_version_dir(topology: Topology) -> str:
    """Folder of this major version's WAL; `postgres` owns it. A volume for WAL is mounted one above it."""
    return f"{WAL_MOUNT}/{topology.postgresql.version}"


def wal_dir(topology: Topology) -> str:
    """Where `pg_wal` of a new data directory points to. Patroni removes and renames it: no mount point."""
    return f"{wal_version_dir(topology)}/{topology.cluster}"


def etcd_url(host: Host) -> str:
    """Where a member answers clients."""
    return f"http://{host.address}:{ETCD_CLIENT_PORT}"


def etcd_members_for(topology: Topology, host: Host) -> tuple[Host, ...]:
    """The etcd members in the order in which a host should ask them.

    Its own first, and one of its own site that stands apart from the databases. Then the witness: its loss
    is never the loss of an active site. A neighbour that is a database host comes after it: when that one
    is the primary and dies, whoever asked it would be blind for seconds just when a takeover is decided
    (measured: 1.9 s until the in-site standby saw that the lock was free).
    """
    home = topology.site_of(host.name)

    def distance(member: Host) -> int:
        site = topology.site_of(member.name)
        if member.name == host.name:
            return 0
        if site.name == home.name:
            return 3 if member.has(HostRole.DB) else 1
        return 2 if site.role is SiteRole.WITNESS else 4

    return tuple(sorted(topology.hosts_with(HostRole.ETCD), key=distance))


def remote_members(topology: Topology, host: Host) -> tuple[Host, ...]:
    """Database hosts of other sites, seen from a host."""
    home = topology.site_of(host.name).name
    return tuple(h for h in topology.hosts_with(HostRole.DB) if topology.site_of(h.name).name != home)
