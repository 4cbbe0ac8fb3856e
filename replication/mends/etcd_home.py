"""Patroni goes back to the member of etcd that it should ask first.

Patroni 4.1 takes any member that answers when its own does not, and stays there. So after one fault a standby
may hang on the etcd of the host that is the primary. When that one is lost next, the candidate hears of it,
and of the lock that it is offered, only when its request has timed out (drill `host-loss` right after
`site-isolated`: 0.9 s of 3.0).

A thread looks every LOOK_S: an earlier member of the list (`replication.layout.etcd_members_for`) that has
been healthy at CALM looks in a row is the one to ask. One function is wrapped, the one that begins Patroni's
watch.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

LOOK_S = 2.0
CALM = 3
SIGNATURE = ("self",)


class Home:
    """Which member to go back to. `order`: addresses with port, the best first."""

    def __init__(self, order: Sequence[str], healthy: Callable[[str], bool]) -> None:
        self._order = tuple(order)
        self._healthy = healthy
        self._calm: dict[str, int] = {}

    def look(self, present: str) -> str | None:
        """The member to change to; None to stay. Only members before the present one are asked."""
        before = self._order[: self._order.index(present)] if present in self._order else self._order
        self._calm = {one: self._calm.get(one, 0) + 1 for one in before if self._healthy(one)}
        return next((one for one in before if self._calm.get(one, 0) >= CALM), None)


def goes_home(client: Any, home: Home, sleep: Callable[[float], None]) -> None:
    """For ever. `client`: Patroni's client of etcd."""
    while True:
        sleep(LOOK_S)
        base: str = client._base_uri
        scheme, _, present = base.rpartition("/")
        better = home.look(present)
        if better is not None:
            logger.info("etcd: back to %s, from %s", better, present)
            client.set_base_uri(f"{scheme}/{better}")


def replacement(original: Callable[[Any], None], home: Home) -> Callable[[Any], None]:
    """The function that takes the place of Patroni's, which it calls."""

    def start_watcher(self: Any) -> None:
        original(self)
        threading.Thread(
            target=goes_home, args=(self, home, time.sleep), name="etcd-home", daemon=True
        ).start()

    return start_watcher


def install(order: Sequence[str], healthy: Callable[[str], bool]) -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    from patroni.dcs.etcd3 import PatroniEtcd3Client  # pyright: ignore[reportMissingTypeStubs]

    home = Home(order, healthy)
    wrap(PatroniEtcd3Client, "start_watcher", SIGNATURE, lambda original: replacement(original, home))
