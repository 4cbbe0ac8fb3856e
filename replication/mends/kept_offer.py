"""Whom an offer in `/failover` wants to be kept in the sync set; Patroni reads only fields that it knows."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from replication.mends.wrapping import wrap


@dataclass(frozen=True, slots=True)
class Offer:
    """Of a planned handover: its version in etcd, and whom it wants to be kept, in lower case."""

    version: Any = None
    kept: frozenset[str] = frozenset()


class Offers:
    """The offer that was read last."""

    def __init__(self) -> None:
        self.last = Offer()

    def note(self, version: Any, value: Any) -> None:
        """Keep the names of an offer; whatever is not one names nobody."""
        names: list[str] = []
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            found: Any = (json.loads(value) if isinstance(value, str) else value).get("kept")
            names = [str(name).lower() for name in cast(list[Any], found)] if isinstance(found, list) else []
        self.last = Offer(version, frozenset(names))

    def kept_by(self, offer: Any) -> frozenset[str]:
        """Whom Patroni's offer wants to be kept, in lower case."""
        return self.last.kept if offer is not None and offer.version == self.last.version else frozenset()


OFFERS = Offers()


def from_node(original: Callable[[Any, Any], Any], offers: Offers) -> Callable[[Any, Any], Any]:
    """In the place of `Failover.from_node`."""

    def parsed(version: Any, value: Any) -> Any:
        offers.note(version, value)
        return original(version, value)

    return parsed


def install(offers: Offers = OFFERS) -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `dcs` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.dcs import Failover  # pyright: ignore[reportMissingTypeStubs]

    wrap(Failover, "from_node", ("version", "value"), lambda original: from_node(original, offers))
