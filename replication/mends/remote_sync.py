"""max_protection: a commit waits for a standby of another site, always (ADR 0003).

Patroni's own strict mode is not enough: with the other site gone it shrinks the sync set to the
in-site standby, and right after a promotion it writes `*`, which any standby satisfies. So one
function is replaced, `SyncHandler.set_synchronous_standby_names`. When the set asked for holds a
host of another site, Patroni's own code runs. Else **all** of what was asked and all remote members
are required: nothing is acknowledged until a remote standby streams and Patroni picks it into a
set of its own. Requiring all, and not `1 (remote members)`, keeps the invariant of Patroni: who is
listed in `/sync` has acknowledged every commit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING

from replication.mends.wrapping import wrap

if TYPE_CHECKING:
    from patroni.postgresql.sync import SyncHandler  # pyright: ignore[reportMissingTypeStubs]

logger = logging.getLogger(__name__)

SIGNATURE = ("self", "sync", "num")
Setter = Callable[["SyncHandler", Collection[str], "int | None"], None]


def required(asked: Iterable[str], remote: Iterable[str]) -> frozenset[str]:
    """Names that a commit must wait for, all of them, when Patroni asks for a set.

    What was asked for if it holds a remote member; else that together with all remote members.
    `*` (any standby) is never enough.
    """
    named = {name for name in asked if name != "*"}
    lowered = {name.lower() for name in named}
    if any(name.lower() in lowered for name in remote):
        return frozenset(named)
    return frozenset(named) | frozenset(remote)


def replacement(original: Setter, remote: frozenset[str]) -> Setter:
    """The function that takes the place of Patroni's, which it calls with the required names."""
    last: list[bool] = []

    def set_synchronous_standby_names(
        self: SyncHandler, sync: Collection[str], num: int | None = None
    ) -> None:
        names = required(sync, remote)
        widened = names != frozenset(sync)
        if widened and last[-1:] != [True]:
            logger.warning("no standby of another site: commits wait for all of %s", sorted(names))
        last[:] = [widened]
        # `num` matters in quorum mode only, which we do not run: all names are required.
        return original(self, names, None if widened else num)

    return set_synchronous_standby_names


def install(remote: frozenset[str]) -> None:
    """Replaces the function in the running Patroni. Raises ReplacedFunctionChanged."""
    from patroni.postgresql.sync import SyncHandler  # pyright: ignore[reportMissingTypeStubs]

    wrap(
        SyncHandler,
        "set_synchronous_standby_names",
        SIGNATURE,
        lambda original: replacement(original, remote),
    )
