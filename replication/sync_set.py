"""The sync set: which standbys a commit waits for, and why one of another site is always among them.

Patroni picks the first `synchronous_node_count` streaming standbys, ordered by the tag
`sync_priority`, then by what is sync already, then by LSN (`patroni/postgresql/sync.py`,
`_ReplicaList`). The count is the largest number of database hosts at one site. A primary has at
most count - 1 standbys at its own site, so any `count` streaming standbys hold one of another site,
and fewer than `count` are all picked: the order does not matter for that (ADR 0003). The order
decides what else is picked: hosts of the sites take turns, so that an in-site standby is kept too.

`pick` is a model of Patroni's choice for tests; `tests/replication/test_sync_set.py` compares it
with Patroni's own code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hanbat.topology import HostRole, SiteRole, Topology


@dataclass(frozen=True, slots=True)
class Standby:
    """One streaming standby as the primary sees it; `lsn` is what it flushed, in bytes."""

    name: str
    sync_state: str = "async"  # of pg_stat_replication: sync, potential or async
    lsn: int = 0
    nofailover: bool = False


def node_count(topology: Topology) -> int:
    """`synchronous_node_count`: the largest number of database hosts at one site."""
    return max(len(site.hosts_with(HostRole.DB)) for site in topology.sites)


def priorities(topology: Topology) -> dict[str, int]:
    """Tag `sync_priority` of each database host, from 1 up; all differ, the highest is picked first.

    First hosts of all sites, then second hosts, and so on; in each turn the primary site leads. A
    tag is fixed while the primary moves, so with 2+2 hosts one of the four choices (the first host
    of the backup being the primary) must be without an in-site standby; it is site-safe all the same.
    """
    turns = [
        (place, site.role is not SiteRole.PRIMARY, site.name, host.name)
        for site in topology.sites
        for place, host in enumerate(site.hosts_with(HostRole.DB))
    ]
    names = [name for *_, name in sorted(turns)]
    return {name: len(names) - place for place, name in enumerate(names)}


def pick(standbys: Iterable[Standby], priority: dict[str, int], count: int) -> frozenset[str]:
    """The standbys that Patroni asks to be sync, of those that stream."""
    ordered = sorted(standbys, key=lambda s: (priority[s.name], s.sync_state, s.lsn), reverse=True)
    ordered.sort(key=lambda s: s.nofailover)
    return frozenset(standby.name for standby in ordered[:count])
