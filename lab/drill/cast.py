"""Who plays which role of a matrix scenario, just now."""

from __future__ import annotations

from hanbat.topology import HostRole, SiteRole
from lab import sockets
from lab.drill import sight
from lab.drill.drill import Drill
from lab.drill.driver import LoadProcess
from lab.drill.errors import NotSteady

ETCD_PORT = 2379
LEADS = b"\netcd_server_is_leader 1"


def cast_of(drill: Drill, load: LoadProcess) -> dict[str, tuple[str, ...]]:
    """Every role of `matrix.ROLES` that somebody plays. Raises NotSteady without a primary."""
    topology = drill.lab.topology
    primary = sight.primary_of(load.watched)
    if primary is None:
        raise NotSteady("no primary, or two, when the roles were given out")
    home = topology.site_of(primary)
    db_hosts = [host.name for host in topology.hosts_with(HostRole.DB)]
    at_home = [name for name in db_hosts if topology.site_of(name).name == home.name and name != primary]
    sync = sight.sync_set_of(load.watched)
    backups = [site for site in topology.sites if site.role is not SiteRole.WITNESS and site != home]
    etcd_hosts = [host.name for host in topology.hosts_with(HostRole.ETCD)]
    return {
        "primary": (primary,),
        "in_site_standby": tuple(sorted(at_home, key=lambda name: name not in sync))[:1],
        "home": (home.name,),
        "backup": tuple(site.name for site in backups[:1]),
        "backup_db": tuple(host.name for site in backups[:1] for host in site.hosts_with(HostRole.DB)[:1]),
        "witness": tuple(name for name in etcd_hosts if topology.site_of(name).role is SiteRole.WITNESS)[:1],
        "etcd_leader": tuple(name for name in etcd_hosts if leads_etcd(drill, name))[:1],
        "etcd_hosts": tuple(etcd_hosts),
        "db_hosts": tuple(db_hosts),
        "sites": tuple(site.name for site in topology.sites),
    }


def leads_etcd(drill: Drill, host: str) -> bool:
    """Whether a member of etcd says that it is the leader."""
    address = str(drill.lab.topology.host(host).address)
    try:
        return LEADS in sockets.http_get(drill.lab.names.client, address, ETCD_PORT, "/metrics").body
    except OSError:
        return False
