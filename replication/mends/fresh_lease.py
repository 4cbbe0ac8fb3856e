"""Who takes the lock does not renew a lease first that has just been renewed.

Patroni 4.1 renews its lease in etcd once a loop, forgets when it did so as soon as it waits for the next one,
and renews it again before it asks for the lock: one more question to etcd's leader while nobody can write.
A lease that was renewed within a quarter of its time is as good; the loop after the next renews it anyway.

Two functions of `patroni.dcs.etcd3` are wrapped, the one that renews, to see when it did, and the one that
asks for the lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from replication.mends.wrapping import wrap

SHARE = 0.25  # of the lease's time
RENEWED = "_hanbat_renewed"


def do_refresh_lease(
    original: Callable[..., bool], clock: Callable[[], float] = time.monotonic
) -> Callable[..., bool]:
    """In the place of the function of that name, and calls it; it leaves a mark when it has asked etcd."""

    def refresh(self: Any, force: bool = False, retry: Any = None) -> bool:
        before, began_s = self._last_lease_refresh, clock()
        granted = original(self, force, retry)
        if self._last_lease_refresh != before:
            setattr(self, RENEWED, (self._lease, began_s))
        return granted

    return refresh


def attempt_to_acquire_leader(
    original: Callable[[Any], bool], clock: Callable[[], float] = time.monotonic
) -> Callable[[Any], bool]:
    """In the place of the function of that name, and calls it; a new mark stands for a renewal."""

    def attempt(self: Any) -> bool:
        lease, renewed_s = getattr(self, RENEWED, (None, 0.0))
        if lease is not None and lease == self._lease and clock() - renewed_s < SHARE * self._ttl:
            self._last_lease_refresh = time.time()
        return original(self)

    return attempt


def install() -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `dcs` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.dcs.etcd3 import Etcd3  # pyright: ignore[reportMissingTypeStubs]

    wrap(Etcd3, "_do_refresh_lease", ("self", "force", "retry"), do_refresh_lease)
    # Patroni hides its parameters behind a decorator.
    wrap(Etcd3, "attempt_to_acquire_leader", ("args", "kwargs"), attempt_to_acquire_leader)
