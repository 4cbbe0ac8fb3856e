"""The sync set changes one by one, and holds a host of each site where it can.

Patroni 4.1 picks by `sync_priority` first, and whom the pick leaves out it takes out of `/sync` at once;
those who are new in it are named a moment later, once they have caught up. With 2+2 hosts, gg-db1 the primary
and `/sync` = {gg-db2}, both hosts of Daejeon come back: picked are those two, `/sync` names nobody, and until
one of them is named nobody may follow gg-db1. And then each commit waits for two hosts over the WAN.

One function is wrapped, the constructor of `_ReplicaList`: the list that is picked from is put in the order
of `replication.sync_set.ordered`. Whom it holds does not change, nor what ADR 3 proves by counting.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from typing import Any, Protocol, cast

from replication.mends.grown_set import named
from replication.mends.wrapping import wrap
from replication.sync_set import ordered

SIGNATURE = ("self", "postgresql", "cluster")


class Replica(Protocol):
    @property
    def application_name(self) -> str: ...


def replacement(original: Callable[..., None], remote: frozenset[str]) -> Callable[..., None]:
    """The constructor that takes the place of Patroni's, which it calls."""

    def __init__(self: MutableSequence[Replica], postgresql: Any, cluster: Any) -> None:
        original(self, postgresql, cluster)
        names = [one.application_name for one in self]
        place = {name: at for at, name in enumerate(ordered(names, remote, named(postgresql, cluster)))}
        self[:] = sorted(self, key=lambda one: place[one.application_name])

    return __init__


def install(remote: frozenset[str]) -> None:
    """Wraps the constructor in the running Patroni. Raises ReplacedFunctionChanged.

    `remote`: the members at other sites than this host's.
    """
    from patroni.postgresql import sync  # pyright: ignore[reportMissingTypeStubs]

    replica_list = cast(Any, sync)._ReplicaList
    wrap(replica_list, "__init__", SIGNATURE, lambda original: replacement(original, remote))
