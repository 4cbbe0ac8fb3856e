"""A promotion never takes a timeline that a lost primary may have taken.

PostgreSQL numbers a new timeline one above the newest whose history file it has. A host that is promoted
after a primary which it never heard of in that role (a kept member of ADR 9 whose candidate dies while it is
promoted; a host that a person forces) would take that primary's number a second time. When the lost one
returns, Patroni and `pg_rewind` see one and the same timeline on both, and join two histories that are two.

So who is promoted without having seen the leader of `/sync` as a primary *on its own timeline* first leaves a
number out: it puts a history file with nothing but a comment there. It stays: a standby that follows over the
gap asks for it. Where no promotion came of it, it goes again: with it this standby would not ask for the
history of that number, should another host take it, and could not follow.

And Patroni, which writes `/history` in every loop when the last line is not one below the primary's timeline,
writes it once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2

from replication.local_sql import Local
from replication.wrapping import wrap

logger = logging.getLogger(__name__)

TIMELINE = """
SELECT greatest(timeline_id, min_recovery_end_timeline) FROM pg_control_recovery(), pg_control_checkpoint()
"""
COMMENT = "# left out by hanbat: a primary that was lost may have used this timeline\n"
UNSETTLED = frozenset({"replica", "promoted"})  # holds the lock and comes to a new timeline


class Memory:
    """`seen`: the last primary that was seen on this member's own timeline. `untidy`: a file may be left."""

    def __init__(self) -> None:
        self.seen: str | None = None
        self.untidy = True

    def note(self, cluster: Any, name: str) -> None:
        """Look at one snapshot. Without a lock holder, or with its word missing, what was seen stays."""
        holder = cluster.leader and cluster.leader.name
        if not holder or holder == name:
            return
        leader, mine = (_word(cluster, one) for one in (holder, name))
        role, timeline, own = leader.get("role"), leader.get("timeline"), mine.get("timeline")
        if role in UNSETTLED:
            self.seen = None
        elif role in ("primary", "master") and timeline and own:
            self.seen = holder if timeline == own else None


def _word(cluster: Any, name: str) -> dict[str, Any]:
    member = cluster.get_member(name, False)
    return member.data if member is not None else {}


def leave_out(wal: Path, timeline: int) -> int:
    """Put a file where the next history would be; answers its number. Raises OSError."""
    number = timeline + 1
    while (path := wal / f"{number:08X}.history").exists():
        number += 1
    with path.open("x", encoding="utf-8") as file:
        file.write(COMMENT)
        file.flush()
        os.fsync(file.fileno())
    return number


def tidy(wal: Path) -> None:
    """Remove the comments above the newest history: a promotion would have put one there. Raises OSError."""
    for path in sorted(wal.glob("????????.history"), reverse=True):
        if path.read_bytes() != COMMENT.encode():
            return
        path.unlink()
        logger.info("%s is not left out: no promotion came of it", path.name)


def touch_member(original: Callable[[Any], bool], memory: Memory) -> Callable[[Any], bool]:
    """In the place of the function of that name, which each loop calls."""

    def touch(self: Any) -> bool:
        server = self.state_handler
        if self.cluster:
            memory.note(self.cluster, server.name)
        if memory.untidy and server.role == "replica" and not self._async_executor.busy:
            _tidy(server, memory)
        return original(self)

    return touch


def _tidy(server: Any, memory: Memory) -> None:
    try:
        tidy(Path(server.data_dir) / "pg_wal")
        memory.untidy = False
    except OSError:
        logger.exception("a left-out timeline was not looked for")


def before_promotion(
    original: Callable[[Any], bool], memory: Memory, new: Callable[[], Local] = Local
) -> Callable[[Any], bool]:
    """In the place of `process_sync_replication_prepromote`, and calls it; without a file it postpones."""

    def process_sync_replication_prepromote(self: Any) -> bool:
        lost, name = self.cluster.sync.leader, self.state_handler.name
        if lost and lost != name and lost != memory.seen:
            local, memory.untidy = new(), True
            try:
                timeline = int(local.ask(TIMELINE))
                number = leave_out(Path(self.state_handler.data_dir) / "pg_wal", timeline)
            except (psycopg2.Error, TimeoutError, OSError):
                logger.exception("no timeline could be left out")
                return False
            finally:
                local.close()
            logger.info("leaves timeline %d to %s, which may have used it", number, lost)
        promotes = original(self)
        if memory.untidy and not promotes:
            _tidy(self.state_handler, memory)
        return promotes

    return process_sync_replication_prepromote


def update_cluster_history(original: Callable[[Any], None]) -> Callable[[Any], None]:
    """In the place of the function of that name: not again what stands there, also after a gap."""

    def update(self: Any) -> None:
        written: list[Any] = list(self.cluster.history.lines) if self.cluster.history else []
        timeline = self.state_handler.get_primary_timeline()
        if written and len(written[-1]) == 5 and written[-1][0] < timeline - 1:
            own = list(self.state_handler.get_history(timeline))
            if own and tuple(own[-1][:2]) == tuple(written[-1][:2]):
                return
        original(self)

    return update


def install() -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `ha` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]

    memory, this = Memory(), ("self",)
    wrap(Ha, "touch_member", this, lambda original: touch_member(original, memory))
    wrap(Ha, "process_sync_replication_prepromote", this, lambda original: before_promotion(original, memory))
    wrap(Ha, "update_cluster_history", this, update_cluster_history)
