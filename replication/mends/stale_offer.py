"""An offer to a host that `/sync` does not name is no reason to hand over, nor to leave a free lock alone.

Such a host may not take the lock (`held_back`, `named_holder`), and Patroni 4.1 waits for it as long as it
lives, because it answers. Two ways lead there:

- A planned switchover stands in `/failover`; the primary takes its candidate out of `/sync`, and sleeps until
  its lease has run out, before it has looked at the offer (which it would have deleted then). Found by the
  nightly simulation (seed 5002786): nothing was acknowledged for a minute, by a cluster that was whole.
- `patronictl failover --candidate` writes an offer that names no leader. For that Patroni admits hosts that
  are not in the set: the primary hands over in good order, to a host that may not follow.

Two functions are wrapped. `Ha.manual_failover_process_no_leader`: such a candidate is left out, as one that
does not answer is. `Ha.process_manual_failover_from_leader`: the lock's holder empties `/failover`, and goes
on. Who may take the lock is decided as before, by `/sync`; so no promise of ADR 5 is touched. While a person
has paused Patroni, that person decides.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

SIGNATURE = ("self",)


class Offer(Protocol):
    @property
    def leader(self) -> str | None: ...
    @property
    def candidate(self) -> str | None: ...


class Sync(Protocol):
    def matches(self, name: str | None, check_leader: bool = ...) -> bool: ...


def is_stale(offer: Offer | None, sync: Sync, me: str) -> bool:
    """Whether it names another host, that `/sync` does not name."""
    if offer is None or not offer.candidate or offer.candidate == me:
        return False
    return not sync.matches(offer.candidate, True)


def replacement(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function that takes the place of Patroni's, which it calls with what is left of the offer."""

    def manual_failover_process_no_leader(self: Any) -> Any:
        whole = self.cluster
        me = self.state_handler.name
        decides = not self.is_paused() and self.sync_mode_is_active()
        if not decides or not is_stale(whole.failover, whole.sync, me):
            return original(self)
        # Both count their length by other rules than a tuple's, so `_replace` fails.
        offer = whole.failover
        left = type(offer)(offer.version, offer.leader, None, offer.scheduled_at)
        fields = {name: getattr(whole, name) for name in whole._fields}
        self.cluster = type(whole)(**{**fields, "failover": left})
        try:
            return original(self)
        finally:
            self.cluster = whole

    return manual_failover_process_no_leader


def from_leader(original: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    """In the place of `process_manual_failover_from_leader`: refuses an offer without a leader that is stale.

    One that names a leader is a switchover's; Patroni refuses it itself.
    """

    def process_manual_failover_from_leader(self: Any) -> str | None:
        offer: Any = self.cluster.failover
        stale = is_stale(offer, self.cluster.sync, self.state_handler.name)
        refused = stale and not offer.leader
        if not refused or self.is_paused() or not self.sync_mode_is_active():
            return original(self)
        logger.warning(
            "no failover to %s: /sync does not name it, so it may lack acknowledged commits and may not take "
            "the lock; wait until it is in the sync set, or sign for the loss: hanbat failover",
            offer.candidate,
        )
        self.dcs.manual_failover("", "", version=offer.version)
        return None

    return process_manual_failover_from_leader


def install() -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `ha` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]

    wrap(Ha, "manual_failover_process_no_leader", SIGNATURE, replacement)
    wrap(Ha, "process_manual_failover_from_leader", SIGNATURE, from_leader)
