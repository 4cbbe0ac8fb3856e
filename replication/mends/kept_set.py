"""`synchronous_standby_names` is emptied only after /sync was (H5 of ADR 0005).

When `synchronous_mode` is off in its snapshot, Patroni 4.1 deletes /sync by compare-and-swap, and empties
PostgreSQL's set whether or not that succeeded; a candidate promotes likewise. If the mode is on again by
then, and it slept, it acknowledges alone, or is promoted, while /sync still names others as having it all.

Two functions are replaced. Where the swap fails nothing is changed, and the next loop, with a newer
snapshot, decides anew. A third is wrapped, `ConfigHandler.get_server_parameters`: right after a loop that saw
the mode go off Patroni reads its own settings anew, and leaves the names out of them, whatever became of the
swap. What PostgreSQL was told last stays until it is told something else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

SIGNATURE = ("self",)
NAMES = "synchronous_standby_names"


class SyncState(Protocol):
    @property
    def is_empty(self) -> bool: ...
    @property
    def version(self) -> Any: ...


class Cluster(Protocol):
    @property
    def sync(self) -> SyncState: ...


class Ha(Protocol):
    """What is used of `patroni.ha.Ha`."""

    cluster: Cluster
    dcs: Any
    state_handler: Any

    def is_synchronous_mode(self) -> bool: ...
    def disable_synchronous_replication(self) -> bool | None: ...


def disable_synchronous_replication(self: Ha) -> bool:
    """In the place of Patroni's. False: /sync has changed since the snapshot, and nothing was done."""
    from patroni.collections import CaseInsensitiveSet  # pyright: ignore[reportMissingTypeStubs]

    if not self.cluster.sync.is_empty:
        if not self.dcs.delete_sync_state(version=self.cluster.sync.version):
            logger.warning("/sync has changed: synchronous_standby_names stays as it is")
            return False
        logger.info("Disabled synchronous replication")
        self.state_handler.sync_handler.set_synchronous_standby_names(CaseInsensitiveSet())
    # As Patroni does: what the user has set himself, if anything.
    configured = self.state_handler.config.synchronous_standby_names
    self.state_handler.config.set_synchronous_standby_names(configured)
    return True


def before_promotion(original: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """In the place of `process_sync_replication_prepromote`: False postpones the promotion."""

    def process_sync_replication_prepromote(self: Ha) -> bool:
        if self.is_synchronous_mode():
            return original(self)
        return self.disable_synchronous_replication() is True

    return process_sync_replication_prepromote


def get_server_parameters(original: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """In the place of the function of that name, which it calls."""

    def parameters(self: Any, config: Any) -> Any:
        found, told = original(self, config), self._server_parameters.get(NAMES)
        if told is not None:
            found[NAMES] = told
        return found

    return parameters


def install() -> None:
    """Replaces the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Ha as PatroniHa  # pyright: ignore[reportMissingTypeStubs]
    from patroni.postgresql.config import ConfigHandler  # pyright: ignore[reportMissingTypeStubs]

    wrap(PatroniHa, "disable_synchronous_replication", SIGNATURE, lambda _: disable_synchronous_replication)
    wrap(PatroniHa, "process_sync_replication_prepromote", SIGNATURE, before_promotion)
    wrap(ConfigHandler, "get_server_parameters", ("self", "config"), get_server_parameters)
