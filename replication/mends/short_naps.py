"""Patroni's naps of two seconds, ended by what they wait for.

After a takeover the third host is not in the sync set for as long as Patroni 4.1 sleeps: two seconds "to give
a time to somebody to take the leader lock" before it follows anybody (`Ha.process_unhealthy_cluster`), and on
the new primary two more until it looks whether PostgreSQL has made a standby synchronous
(`Ha._process_multisync_replication`). Meanwhile commits are acknowledged by fewer hosts than they should be:
after a takeover inside a site, by that site alone (seen in the drill `host-loss`: 6 s after the promotion).

Both functions are wrapped, and while they run, `sleep` of the module that they stand in is another one:

- Before following: until somebody holds the lock, and PROMOTE_S more, at most as long as Patroni would have
  slept. A host that follows at once takes a WAL segment from the new primary in the middle of its promotion,
  and once more on the new timeline: promotions took 0.4 to 1.2 s instead of 0.3 s in the lab.
- Before looking at the sync set: until it is known whether PostgreSQL waits for it (`grown_set`),
  SETTLE_S at the most. A standby that needs longer is looked at again when that is known.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial, wraps
from types import ModuleType
from typing import Any

from replication.mends.grown_set import GROWTH
from replication.mends.kept_offer import OFFERS
from replication.mends.wrapping import wrap

LOOK_S = 0.05
PROMOTE_S = 1.0
SETTLE_S = 0.3
SIGNATURE = ("self",)

Nap = Callable[[float], None]


class Clock:
    """What stands for the module `time` in `patroni.ha`: the same, but for `sleep` within `napping`."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module
        self._own = threading.local()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def sleep(self, seconds: float) -> None:
        nap: Nap | None = getattr(self._own, "nap", None)
        (nap or self._module.sleep)(seconds)

    def napping(self, original: Callable[[Any], Any], nap_of: Callable[[Any], Nap]) -> Callable[[Any], Any]:
        """The function, with `nap_of(self)` instead of `sleep` in the thread that runs it."""

        @wraps(original)  # others wrap the same function, and look at its parameters
        def function(ha: Any) -> Any:
            self._own.nap = nap_of(ha)
            try:
                return original(ha)
            finally:
                self._own.nap = None

        return function


def until_taken(ha: Any) -> Nap:
    """A nap that ends PROMOTE_S after somebody was seen to hold the lock."""

    def nap(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not _is_taken(ha):
            time.sleep(LOOK_S)
        kept = OFFERS.kept_by(ha.cluster.failover)
        if ha.state_handler.name.lower() not in kept:  # else commits wait for it
            time.sleep(max(0.0, min(PROMOTE_S, end - time.monotonic())))

    return nap


def until_settled(ha: Any) -> Nap:
    """A nap of SETTLE_S at most, which ends when the new names are in force."""

    def nap(seconds: float) -> None:
        GROWTH.pursue(ha.state_handler, ha.cluster)
        GROWTH.wait(min(seconds, SETTLE_S))

    return nap


def _is_taken(ha: Any) -> bool:
    try:
        return not ha.dcs.get_cluster().is_unlocked()
    except Exception:  # of Patroni's many kinds: etcd was not read
        return False


WRAPPED: dict[str, Callable[[Any], Nap]] = {
    "process_unhealthy_cluster": until_taken,
    "_process_multisync_replication": until_settled,
}


def install() -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `ha` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni import ha  # pyright: ignore[reportMissingTypeStubs]

    clock = Clock(time)
    for name, nap_of in WRAPPED.items():
        wrap(ha.Ha, name, SIGNATURE, partial(clock.napping, nap_of=nap_of))
    setattr(ha, "time", clock)  # noqa: B010
