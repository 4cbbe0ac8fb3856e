"""An offer to a host that `/sync` does not name is no reason to leave a free lock alone.

A planned switchover stands in `/failover`; the primary takes its candidate out of `/sync`, and its Patroni
sleeps until its lease has run out, before it has looked at the offer (which it would have deleted then). Now
the candidate may not take the lock, because `/sync` does not name it, and nobody else does, because the
candidate answers: Patroni 4.1 waits for it as long as it lives. Found by the nightly simulation (seed
5002786): nothing was acknowledged for a minute, by a cluster that was whole.

One function is wrapped, `Ha.manual_failover_process_no_leader`: such a candidate is left out, as one that
does not answer is. Who may take the lock is decided as before, by `/sync`; so no promise of ADR 5 is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from replication.wrapping import wrap

SIGNATURE = ("self",)


class Offer(Protocol):
    @property
    def leader(self) -> str | None: ...
    @property
    def candidate(self) -> str | None: ...


class Sync(Protocol):
    def matches(self, name: str | None, check_leader: bool = ...) -> bool: ...


def is_stale(offer: Offer | None, sync: Sync, me: str) -> bool:
    """Whether it is a switchover's offer, to another host, that `/sync` does not name."""
    if offer is None or not offer.leader or not offer.candidate or offer.candidate == me:
        return False
    return not sync.matches(offer.candidate, True)


def replacement(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function that takes the place of Patroni's, which it calls with what is left of the offer."""

    def manual_failover_process_no_leader(self: Any) -> Any:
        whole = self.cluster
        me = self.state_handler.name
        if not self.sync_mode_is_active() or not is_stale(whole.failover, whole.sync, me):
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


def install() -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `ha` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]

    wrap(Ha, "manual_failover_process_no_leader", SIGNATURE, replacement)
