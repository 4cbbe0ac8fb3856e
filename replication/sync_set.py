"""The sync set: which standbys a commit waits for, and why one of another site is always among them.

Patroni picks the first `synchronous_node_count` streaming standbys, ordered by the tag
`sync_priority`, then by what is sync already, then by LSN (`patroni/postgresql/sync.py`,
`_ReplicaList`). The count is the largest number of database hosts at one site. A primary has at
most count - 1 standbys at its own site, so any `count` streaming standbys hold one of another site,
and fewer than `count` are all picked: the order does not matter for that (ADR 0003). The order
decides what else is picked: `ordered` puts one of another site first, then one of the primary's own,
and of each those that are in the set already (`replication.mends.steady_set`).

`pick` is a model of Patroni's choice for tests; `tests/replication/test_sync_set.py` compares it
with Patroni's own code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from hanbat.topology import HostRole, SiteRole, Topology


@dataclass(frozen=True, slots=True)
class Standby:
    """One streaming standby as the primary sees it; `lsn` is what it flushed, in bytes."""

    name: str
    sync_state: str = "async"  # of pg_stat_replication: sync, potential or async
    lsn: int = 0
    nofailover: bool = False
    named: bool = False  # in /sync


def node_count(topology: Topology) -> int:
    """`synchronous_node_count`: the largest number of database hosts at one site."""
    return max(len(site.hosts_with(HostRole.DB)) for site in topology.sites)


def priorities(topology: Topology) -> dict[str, int]:
    """Tag `sync_priority` of each database host, from 1 up; all differ, the highest is picked first.

    First hosts of all sites, then second hosts, and so on; in each turn the primary site leads. It
    decides only between hosts of one site of which none is in the set (`ordered`), and who comes third.
    """
    turns = [
        (place, site.role is not SiteRole.PRIMARY, site.name, host.name)
        for site in topology.sites
        for place, host in enumerate(site.hosts_with(HostRole.DB))
    ]
    names = [name for *_, name in sorted(turns)]
    return {name: len(names) - place for place, name in enumerate(names)}


def ordered(names: Sequence[str], remote: Collection[str], named: Collection[str]) -> list[str]:
    """In which order they are asked to be sync. `names`: all that stream, in Patroni's order; they differ.

    First one of another site, then one of the primary's, then the others; everywhere those that `/sync` names
    (`named`, in lower case) come first. So whenever some of those stream, one of them is among the first
    `node_count`: the set is never left as a whole. *Proof.* If one of another site is named, such a one is
    first. Else all are of the primary's site, one of them is second at the latest, and the count is 2 at
    least: that site has the primary, too. ∎
    """
    away = frozenset(name.lower() for name in remote)
    kept_first = sorted(names, key=lambda name: name.lower() not in named)
    leading = [
        next((name for name in kept_first if (name.lower() in away) is elsewhere), None)
        for elsewhere in (True, False)
    ]
    first = [name for name in leading if name is not None]
    return first + [name for name in kept_first if name not in first]


def pick(
    standbys: Iterable[Standby], priority: dict[str, int], count: int, remote: Collection[str]
) -> frozenset[str]:
    """The standbys that Patroni asks to be sync, of those that stream. `remote`: those of other sites."""
    found = sorted(standbys, key=lambda s: (priority[s.name], s.sync_state, s.lsn), reverse=True)
    named = frozenset(standby.name.lower() for standby in found if standby.named)
    order = ordered([standby.name for standby in found], remote, named)
    found.sort(key=lambda s: (s.nofailover, order.index(s.name)))
    return frozenset(standby.name for standby in found[:count])
