"""`/sync` names a standby only once PostgreSQL waits for it (I1 of ADR 5).

Patroni 4.1 names a standby that `pg_stat_replication` calls `sync` and that has flushed what the primary had
flushed when the names changed. Both can be had while commits are acknowledged without that standby: see
`in_force`. After every unplanned takeover that is so for as long as a checkpoint takes, since Patroni asks
for one in the moment in which the set grows. If the primary is lost then, they are gone.

Two functions are wrapped:

- `SyncHandler.current_state`. Whom `/sync` does not name yet is confirmed only when the present names are
  shown to be in force, and when it has flushed a position that was reached after that. The look is taken in
  a thread, once for each value of the names, and wakes Patroni's loop when it has ended. The checkpointer is
  waited for only where `/sync` names nobody: else commits wait for somebody already, by I1 itself.
- `ConfigHandler.set_synchronous_standby_names`: what was shown of other names counts no more.

A planned handover that keeps its set needs neither: it names the kept in `/sync` while the gate, which is in
force, lets nobody acknowledge (ADR 9).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Any

import psycopg2

from replication.local_sql import Local
from replication.mends.gate import GATE
from replication.mends.in_force import LOOK_S, read_by_checkpointer, read_by_walsenders, record, shown
from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

NAMES = "synchronous_standby_names"
FLUSH_S = 0.5
ALIVE = "SELECT 1"
BEHIND = """
SELECT count(*) FROM pg_stat_replication
 WHERE sync_state = 'sync' AND (flush_lsn IS NULL OR pg_wal_lsn_diff(flush_lsn, '0/0') < {lsn})
"""


@dataclass(frozen=True, slots=True)
class InForce:
    """Since when: by `lsn`, in bytes, at the latest. While the session lives, so does that postmaster."""

    local: Local
    lsn: int

    def lives(self) -> bool:
        try:
            return self.local.ask(ALIVE) == 1
        except (psycopg2.Error, TimeoutError):
            return False


def look(
    value: str,
    bare: bool,
    new: Callable[[], Local] = Local,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> InForce | None:
    """Until these names are in force; None where PostgreSQL does not show them.

    `bare`: it may be that no commit waited for anybody before. At the end who is sync gets FLUSH_S to flush
    the position, so that Patroni's loop, woken then, finds it there. Raises psycopg2.Error or TimeoutError.
    """
    local = shown(value, new, sleep, clock)
    if local is None:
        return None
    try:
        record(local)  # fails on a server that is still being promoted, which must not be slowed down
        if bare:
            read_by_checkpointer(local)
        read_by_walsenders(local, sleep, clock)
        found, end_s = InForce(local, record(local)), clock() + FLUSH_S
        while local.ask(BEHIND.format(lsn=found.lsn)) and clock() < end_s:
            sleep(LOOK_S)
        return found
    except BaseException:
        local.close()
        raise


def in_a_thread(value: str, bare: bool, ended: Callable[[], None]) -> Future[InForce | None]:
    """`look`, beside Patroni's loop."""
    future: Future[InForce | None] = Future()

    def work() -> None:
        try:
            found = look(value, bare)
        except Exception as error:  # told by the future; the next loop looks again, when its time has come
            logger.warning("not known whether %s is in force: %s", value, " ".join(str(error).split())[:200])
            future.set_exception(error)
            return
        future.set_result(found)
        if found is not None:
            ended()

    Thread(target=work, name="looks at the sync set", daemon=True).start()
    return future


Begin = Callable[[str, bool, Callable[[], None]], "Future[InForce | None]"]


class Growth:
    """What is known of the names that PostgreSQL was told last; all of it may be lost at any time."""

    def __init__(self, begin: Begin = in_a_thread) -> None:
        self._begin = begin
        self._value = ""
        self._look: Future[InForce | None] | None = None
        self.wakeup: Callable[[], None] = lambda: None

    def forget(self) -> None:
        """Whatever was seen counts no more."""
        old, self._look = self._look, None
        if old is not None:
            old.add_done_callback(_close)

    def pursue(self, server: Any, cluster: Any) -> None:
        """Begin to look, where the names hold somebody whom `/sync` does not name, and no look stands."""
        value = wanted(server)
        if value in ("", GATE) or not names_in(value) - named(server, cluster):
            return
        stands = self._look is not None and (not self._look.done() or _found(self._look) is not None)
        if stands and value == self._value:
            return
        self.forget()
        self._value = value
        self._look = self._begin(value, not named(server, cluster), self.wakeup)

    def wait(self, limit_s: float) -> None:
        """Until a look that is under way has ended; the whole time where none is."""
        under_way = self._look is not None and not self._look.done()
        end_s = time.monotonic() + limit_s
        while not (under_way and _ended(self._look)) and (left_s := end_s - time.monotonic()) > 0:
            time.sleep(min(LOOK_S, left_s))

    def since(self, value: str) -> int | None:
        """The position that was reached when these names were in force; None while that is not known."""
        found = _found(self._look)
        if found is None or value != self._value:
            return None
        if found.lives():
            return found.lsn
        self.forget()
        return None


GROWTH = Growth()


def wanted(server: Any) -> str:
    """The names that PostgreSQL was told last."""
    return server.config._server_parameters.get(NAMES) or ""


def names_in(value: str) -> frozenset[str]:
    """In lower case. What cannot be read, and `*`, names nobody."""
    from patroni.postgresql.sync import (  # pyright: ignore[reportMissingTypeStubs]
        parse_sync_standby_names,
    )

    try:
        parsed = parse_sync_standby_names(value)
    except ValueError:
        return frozenset()
    return frozenset() if parsed.has_star else _lower(parsed.members)


def named(server: Any, cluster: Any) -> frozenset[str]:
    """Whom `/sync` names with this member as its leader, in lower case; nobody while it names a quorum.

    Of a quorum no single one has to have everything. On the way back from the mode `quorum` Patroni confirms
    its voters with the snapshot of before the swap to nobody, whatever they have flushed.
    """
    sync = cluster.sync
    return _lower(sync.voters) if sync.leader_matches(server.name) and not sync.quorum else frozenset()


def current_state(original: Callable[[Any, Any], Any], growth: Growth) -> Callable[[Any, Any], Any]:
    """In the place of the function of that name, which it calls; some of the confirmed are not yet."""

    def state(self: Any, cluster: Any) -> Any:
        found, server = original(self, cluster), self._postgresql
        growth.pursue(server, cluster)
        value, names = wanted(server), named(server, cluster)
        confirmed = [name for name in found.sync_confirmed if name.lower() in names_in(value)]
        new = {name for name in confirmed if name.lower() not in names}
        if new:
            new &= _flushed(server, growth.since(value))
        kept = [name for name in confirmed if name.lower() in names or name in new]
        return found._replace(sync_confirmed=type(found.sync_confirmed)(kept))

    return state


def _flushed(server: Any, lsn: int | None) -> set[str]:
    """Who has flushed that position; nobody where it is not known."""
    if lsn is None:
        return set()
    rows = server.pg_stat_replication()
    return {row["application_name"] for row in rows if (row["flush_lsn"] or 0) >= lsn}


def told(original: Callable[[Any, Any], Any], growth: Growth) -> Callable[[Any, Any], Any]:
    """In the place of `ConfigHandler.set_synchronous_standby_names`, which it calls."""

    def set_synchronous_standby_names(self: Any, value: str | None) -> Any:
        changed = original(self, value)
        if changed:
            growth.forget()
        return changed

    return set_synchronous_standby_names


def woken(original: Callable[[Any], None], growth: Growth) -> Callable[[Any], None]:
    """In the place of `Ha.process_sync_replication`: a look comes to know whom to wake."""

    def process_sync_replication(self: Any) -> None:
        growth.wakeup = self.wakeup
        original(self)

    return process_sync_replication


def _lower(names: Iterable[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)


def _close(old: Future[InForce | None]) -> None:
    found = _found(old)
    if found is not None:
        found.local.close()


def _ended(one: Future[InForce | None] | None) -> bool:
    return one is None or one.done()


def _found(one: Future[InForce | None] | None) -> InForce | None:
    return None if one is None or not one.done() or one.exception() is not None else one.result()


def install(growth: Growth = GROWTH) -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `ha` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]
    from patroni.postgresql.config import ConfigHandler  # pyright: ignore[reportMissingTypeStubs]
    from patroni.postgresql.sync import SyncHandler  # pyright: ignore[reportMissingTypeStubs]

    wrap(SyncHandler, "current_state", ("self", "cluster"), lambda original: current_state(original, growth))
    names = ("self", "value")
    wrap(ConfigHandler, "set_synchronous_standby_names", names, lambda original: told(original, growth))
    wrap(Ha, "process_sync_replication", ("self",), lambda original: woken(original, growth))
