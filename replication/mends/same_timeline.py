"""Only a standby on the primary's own timeline becomes sync.

A standby that has WAL of a history which was given up (it followed an old primary for a while after a
takeover) connects to the new primary, says how far it has flushed *on the other history*, is told to end,
and connects again. While it is connected, PostgreSQL and Patroni 4.1 take that position at its word: it is
far ahead, so Patroni asks for it as a sync standby and may name it in /sync, though it has none of the new
primary's WAL. Then commits wait for a host that comes and goes, until it leaves to be rewound (seen in the
drill `site-isolated`: 5.6 s at the heal), or, should it be there at the wrong moment, are acknowledged by
its position alone. That breaks what ADR 5 rests on (I1).

One function is wrapped, the constructor of `_ReplicaList`: members whose last published timeline is another
than the primary's are left out. A member publishes it once a second, from what it receives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, MutableSequence
from typing import Any, Protocol, cast

from replication.mends.kept_members import MEMORY
from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

SIGNATURE = ("self", "postgresql", "cluster")


class Member(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def data(self) -> dict[str, Any]: ...


class Cluster(Protocol):
    @property
    def members(self) -> Iterable[Member]: ...


class Postgresql(Protocol):
    def get_primary_timeline(self) -> int: ...


class Replica(Protocol):
    @property
    def application_name(self) -> str: ...


def on_another(members: Iterable[Member], timeline: int) -> frozenset[str]:
    """Names, in lower case, of members known to be on another timeline; unknown is not another."""
    return frozenset(
        member.name.lower()
        for member in members
        if (known := member.data.get("timeline")) and timeline and int(known) != timeline
    )


def replacement(original: Callable[..., None]) -> Callable[..., None]:
    """The constructor that takes the place of Patroni's, which it calls."""
    said: list[frozenset[str]] = []

    def __init__(self: MutableSequence[Replica], postgresql: Postgresql, cluster: Cluster) -> None:
        original(self, postgresql, cluster)
        strangers = on_another(cluster.members, postgresql.get_primary_timeline())
        strangers -= MEMORY.joined  # its word of its timeline is late: it has flushed the new one
        left_out = frozenset(
            one.application_name for one in self if one.application_name.lower() in strangers
        )
        if left_out and said[-1:] != [left_out]:
            logger.info("not asked to be sync, on another timeline: %s", ", ".join(sorted(left_out)))
        said[:] = [left_out]
        self[:] = [one for one in self if one.application_name not in left_out]

    return __init__


def install() -> None:
    """Wraps the constructor in the running Patroni. Raises ReplacedFunctionChanged."""
    from patroni.postgresql import sync  # pyright: ignore[reportMissingTypeStubs]

    wrap(cast(Any, sync)._ReplicaList, "__init__", SIGNATURE, replacement)
