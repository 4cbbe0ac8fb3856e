"""Who holds the lock but is not named in `/sync` gives the lock back (ADR 0005).

Patroni 4.1 lets the *lock* decide who may be primary, and a lock by lease is worth nothing to a
process that slept: between its snapshot and its next step others may have taken the lock, changed
`/sync`, acknowledged, and lost the lock again. Four such histories lose acknowledged commits or let
two hosts acknowledge (H1 to H4 of the ADR; `tests/simulation` shows each). One rule closes them:
a holder that `/sync` does not name, as leader or member, in the snapshot whose revision it will
compare, neither promotes nor goes on as primary.

One function is wrapped, `Ha.enforce_primary_role`: every way to being primary goes through it, and
what it does here is what Patroni does there when its watchdog cannot be had.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

SIGNATURE = ("self", "message", "promote_message")


class SyncState(Protocol):
    def matches(self, name: str, check_leader: bool = ...) -> bool: ...


class Cluster(Protocol):
    @property
    def sync(self) -> SyncState: ...


class Postgresql(Protocol):
    @property
    def name(self) -> str: ...
    def is_primary(self) -> bool: ...


class Ha(Protocol):
    """What is used of `patroni.ha.Ha`."""

    cluster: Cluster
    state_handler: Postgresql

    def is_paused(self) -> bool: ...
    def sync_mode_is_active(self) -> bool: ...
    def demote(self, mode: str) -> bool | None: ...
    def release_leader_key_voluntarily(self) -> None: ...


Enforce = Callable[[Any, str, str], str]


def is_named(ha: Ha) -> bool:
    """Whether this member may be primary by `/sync`.

    True as well while there is nothing to be named in (bootstrap, or no synchronous mode), and while
    a person has paused Patroni: then the person decides.
    """
    if ha.is_paused() or not ha.sync_mode_is_active():
        return True
    return ha.cluster.sync.matches(ha.state_handler.name, True)


def replacement(original: Enforce) -> Enforce:
    """The function that takes the place of Patroni's, which it calls when the holder is named."""

    def enforce_primary_role(self: Ha, message: str, promote_message: str) -> str:
        if is_named(self):
            return original(self, message, promote_message)
        logger.warning("%s holds the lock, but /sync does not name it", self.state_handler.name)
        if self.state_handler.is_primary():
            self.demote("immediate")  # stops, and only then gives the lock back
            return "demoted self: /sync does not name me"
        self.release_leader_key_voluntarily()
        return "gave the lock back: /sync does not name me"

    return enforce_primary_role


def install() -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `ha` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Ha as PatroniHa  # pyright: ignore[reportMissingTypeStubs]

    wrap(PatroniHa, "enforce_primary_role", SIGNATURE, replacement)
