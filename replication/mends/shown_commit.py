"""A primary that was offered away takes its lock back only if it can still commit and extend a file.

A takeover takes the lock from a silent primary and offers it to a standby in /failover. A primary that is
alive after all takes the lock back at once: so a false alarm costs next to nothing (ADR 5). But Patroni
does not ask whether the server can still do anything. One whose disk hangs or is full, or whose processes
stand still, would be given its lock back again and again, and nobody could write.

So before it takes the lock back, while the offer stands, it extends a file (`replication.disk_room`) and
commits an empty message, locally (`synchronous_commit = local`: its standbys may have left already), within
LIMIT_S. What it cannot, it leaves to the candidate. It only ever keeps a host from a lock: that can cost
time and never data.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import psycopg2

from replication.async_sql import answered
from replication.disk_room import CREATE, EXTEND
from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

LIMIT_S = 0.7
DSN = "host=/run/postgresql user=postgres dbname=postgres options='-c synchronous_commit=local'"
# One transaction.
COMMIT = f"{CREATE}; {EXTEND}; SELECT pg_logical_emit_message(true, 'hanbat', 'still here')"
SIGNATURE = ("self",)


class Offer(Protocol):
    @property
    def leader(self) -> str | None: ...
    @property
    def candidate(self) -> str | None: ...


class Cluster(Protocol):
    @property
    def failover(self) -> Offer | None: ...


class Postgresql(Protocol):
    @property
    def name(self) -> str: ...
    def is_primary(self) -> bool: ...


class Ha(Protocol):
    """What is used of `patroni.ha.Ha`."""

    cluster: Cluster
    state_handler: Postgresql

    def is_paused(self) -> bool: ...


def commits(dsn: str = DSN, limit_s: float = LIMIT_S) -> bool:
    """Whether a file was extended and a commit flushed within the limit. Never raises or waits for longer."""
    end = time.monotonic() + limit_s
    connection: Any = None
    try:
        connection = psycopg2.connect(dsn, async_=1)
        if not answered(connection, end - time.monotonic()):
            return False
        cursor = connection.cursor()
        cursor.execute(COMMIT)
        return answered(connection, end - time.monotonic())
    except (psycopg2.Error, OSError) as error:
        logger.warning("no commit here: %s", " ".join(str(error).split())[:200])
        return False
    finally:
        if connection is not None:
            with contextlib.suppress(psycopg2.Error):
                connection.close()


def is_offered_away(ha: Ha) -> bool:
    """Whether this host runs as a primary, and /failover offers its lock to another one."""
    offer, name = ha.cluster.failover, ha.state_handler.name
    if offer is None or ha.is_paused() or offer.leader != name or offer.candidate in (None, "", name):
        return False
    return ha.state_handler.is_primary()


def replacement(original: Callable[[Any], bool], can_commit: Callable[[], bool]) -> Callable[[Any], bool]:
    """The function that takes the place of Patroni's, which it calls unless the host shows no commit."""

    def is_healthiest_node(self: Ha) -> bool:
        if is_offered_away(self) and not can_commit():
            logger.warning("%s cannot commit, and leaves its lock to another host", self.state_handler.name)
            return False
        return original(self)

    return is_healthiest_node


def install() -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Ha as PatroniHa  # pyright: ignore[reportMissingTypeStubs]

    wrap(PatroniHa, "is_healthiest_node", SIGNATURE, lambda original: replacement(original, commits))
