"""What a site's capacity means: how many processes, connections and requests each app host carries.

Capacity is set here, in the processes and the pooler, and never in PostgreSQL's `max_connections`,
which is equal at all sites. Sizes are the figures of the full load x capacity / app hosts.
"""

from __future__ import annotations

from dataclasses import dataclass

from hanbat.errors import HanbatError
from hanbat.topology import Host, HostRole, Topology
from replication.layout import observers

# Connections of PostgreSQL that the poolers may not use.
SUPERUSER_RESERVED = 3  # superuser_reserved_connections, PostgreSQL's default
PATRONI_CONNECTIONS = 5  # Patroni's own: loop, REST, heartbeat, rewind, one to spare
OPERATOR_CONNECTIONS = 4  # psql, audits, checks on the primary
MIGRATION_CONNECTIONS = 1  # of each app host, past the pooler
OBSERVER_CONNECTIONS = 5  # of each observer, at most: failover.probe_lines, and the canary's
RESERVE_AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class FullLoad:
    """What 100 % of the load needs, over all app hosts of a site."""

    workers: int = 4  # gunicorn processes
    threads: int = 8  # of each process; not scaled
    # PgBouncer to PostgreSQL. Few, so that what has waited for a takeover comes in its order and is not
    # served by as many new logins. They do not carry a slow line, where a transaction takes a second
    # (22 a second over 7 connections broke down in the drill `wan-slow`): who has waited for longer
    # than RESERVE_AFTER_S takes one of the reserve. With it each thread of the application has one.
    server_connections: int = 12
    reserve_connections: int = 20
    requests: int = 2000  # requests that the edge holds at once, waiting ones included


FULL_LOAD = FullLoad()


@dataclass(frozen=True, slots=True)
class Sizes:
    """What one app host carries."""

    workers: int
    threads: int
    pool_size: int  # connections from PgBouncer to PostgreSQL
    reserve_size: int  # more of them, for who has waited for RESERVE_AFTER_S
    max_client_conn: int  # connections that PgBouncer accepts
    edge_maxconn: int  # connections that the edge accepts
    server_maxconn: int  # requests sent to this host's application at once; the rest waits at the edge


class PoolsDoNotFit(HanbatError):
    """`max_connections` leaves less than one connection to the pooler of some app host."""

    code = 130
    hint = "raise postgresql.max_connections in sites.yml, or run the application on fewer hosts"


def reserved_connections(topology: Topology) -> int:
    """Connections that are no pooler's: superuser, Patroni, operators, migrations, observers."""
    people = MIGRATION_CONNECTIONS * len(topology.hosts_with(HostRole.APP)) + OPERATOR_CONNECTIONS
    watching = OBSERVER_CONNECTIONS * len(observers(topology)) + PATRONI_CONNECTIONS
    return SUPERUSER_RESERVED + people + watching


def sizes(topology: Topology, host: Host, full: FullLoad = FULL_LOAD) -> Sizes:
    """Sizes of one app host.

    All poolers of both sites may be connected to the one primary at the same time, so their sum is
    what must fit. Raises PoolsDoNotFit.
    """
    site = topology.site_of(host.name)
    share = site.capacity / 100 / len(site.hosts_with(HostRole.APP))
    pool, reserve = _pool_sizes(topology, share, full)
    workers = max(1, round(full.workers * share))
    slots = workers * full.threads
    return Sizes(
        workers=workers,
        threads=full.threads,
        pool_size=pool,
        reserve_size=reserve,
        # Twice the application's threads: what it needs, and room for a restart side by side.
        max_client_conn=2 * slots + 20,
        edge_maxconn=max(20, round(full.requests * share)),
        server_maxconn=slots,
    )


def _pool_sizes(topology: Topology, share: float, full: FullLoad) -> tuple[int, int]:
    """The pool, and its reserve."""
    free = topology.postgresql.max_connections - reserved_connections(topology)
    total = sum(site.capacity for site in topology.sites) / 100
    hosts = len(topology.hosts_with(HostRole.APP))
    if free < hosts:
        raise PoolsDoNotFit(
            f"postgresql.max_connections = {topology.postgresql.max_connections} leaves {free} connections"
            f" to the poolers of {hosts} app hosts"
        )
    # One connection for each host, and its share of what is left, rounded down; the pool comes first.
    rest = int((free - hosts) / total)
    pool = int(min(full.server_connections, rest) * share)
    both = int(min(full.server_connections + full.reserve_connections, rest) * share)
    return 1 + pool, both - pool
