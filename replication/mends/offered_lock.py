"""A lock that is offered to this member is free, whatever the old primary said of itself a moment ago.

While etcd cannot be read, a primary in failsafe mode tells every member that it goes on. Patroni 4.1 keeps
that word for a whole lease (`Failsafe.update_cluster`): to a standby a free lock is not free for so long,
also when etcd can be read again and says so. A primary that dies in the first 20 s after an outage of etcd
then has no successor: its lock is taken and offered, and the candidate "follows" it (drill `postgres-killed`
after `etcd-all-down`: 10.3 s).

One function is wrapped: for the member that an unscheduled offer in `/failover` names, the word does not
count. It is safe for the reason that the takeover is (ADR 5): a primary that goes on without etcd cannot
change `/sync`, so it acknowledges nothing that the candidate has not flushed, and nothing once the candidate
is promoted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from replication.mends.wrapping import wrap

SIGNATURE = ("self", "cluster")


class Offer(Protocol):
    @property
    def candidate(self) -> str | None: ...
    @property
    def scheduled_at(self) -> object | None: ...


class Cluster(Protocol):
    @property
    def failover(self) -> Offer | None: ...
    def is_unlocked(self) -> bool: ...


def is_offered(cluster: Cluster, name: str) -> bool:
    """Whether the lock is free and offered, now, to this member."""
    offer = cluster.failover
    return (
        cluster.is_unlocked() and offer is not None and offer.candidate == name and offer.scheduled_at is None
    )


def replacement(original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The function that takes the place of Patroni's, which it calls for a lock that is not offered to us."""

    def update_cluster(self: Any, cluster: Cluster) -> Any:
        return cluster if is_offered(cluster, self._dcs._name) else original(self, cluster)

    return update_cluster


def install() -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `ha` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Failsafe  # pyright: ignore[reportMissingTypeStubs]

    wrap(Failsafe, "update_cluster", SIGNATURE, replacement)
