"""A standby asks a leader whether it must be rewound only if that leader can be reached.

Patroni 4.1 asks in its loop, over a connection of its own, and a leader that is lost lets it wait for 3 s
each time. A kept member (ADR 9) follows its new primary and asks it just when that one may be lost: the lock
that it is offered then was not taken for 8 s (drill `switchover-new-primary-dies`). A question that cannot be
asked is asked again in the next loop, as before.

One function is wrapped, `Rewind.check_leader_is_not_in_recovery`, which every such question begins with.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from typing import Any

from replication.mends.wrapping import wrap

REACH_S = 0.3

logger = logging.getLogger(__name__)


def is_reachable(address: str, port: int, limit_s: float = REACH_S) -> bool:
    """Whether a TCP connection is made in time. A socket folder, which is this host, always is."""
    if address.startswith("/"):
        return True
    try:
        socket.create_connection((address, port), limit_s).close()
    except OSError:  # refused, unreachable, timed out, no such name
        return False
    return True


def check_leader_is_not_in_recovery(
    original: Callable[[dict[str, Any]], bool | None], reachable: Callable[[str, int], bool] = is_reachable
) -> Callable[[dict[str, Any]], bool | None]:
    """In the place of the function of that name; None, as when it was not answered, without a way there."""

    def check(conn_kwargs: dict[str, Any]) -> bool | None:
        place = _place(conn_kwargs)
        if place is not None and not reachable(*place):
            logger.info("not asked whether a rewind is needed: %s:%d is not reached", *place)
            return None
        return original(conn_kwargs)

    return check


def _place(conn_kwargs: Mapping[str, Any]) -> tuple[str, int] | None:
    """Host and port; None where they are not plain, and Patroni's own way is taken."""
    host, port = conn_kwargs.get("host"), str(conn_kwargs.get("port", ""))
    return (host, int(port)) if isinstance(host, str) and "," not in host and port.isdigit() else None


def install() -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `rewind` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.postgresql.rewind import Rewind  # pyright: ignore[reportMissingTypeStubs]

    wrap(
        Rewind,
        "check_leader_is_not_in_recovery",
        ("conn_kwargs",),
        lambda original: staticmethod(check_leader_is_not_in_recovery(original)),  # pyright: ignore[reportArgumentType]
    )
