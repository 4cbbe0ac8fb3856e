"""A planned handover keeps its sync set: the new primary acknowledges nothing alone (ADR 9).

Patroni 4.1 lets a new primary name only itself in `/sync`, and acknowledge alone until a standby is in the
set again, two seconds and more. A host that is lost in between takes with it what it acknowledged; and nobody
may follow it (ADR 5), since nobody can know that it acknowledged nothing. Here:

- Who is in the sync set of another primary asks PostgreSQL to wait for a standby that does not exist (GATE).
  A standby acknowledges nothing anyway; promoted, it still acknowledges nothing. It is set long before:
  PostgreSQL needs a moment until it has taken a new value in, and a promotion does not wait for that.
- The offer in `/failover` may name the `kept` members. The candidate takes `/sync` for itself *and them*, in
  the swap in which it would have left them out. Until the next swap the gate stands, so whoever of them
  becomes primary instead has everything that was ever acknowledged.
- Promoted, it writes a record of the new history and looks which kept members have flushed it (PATIENCE_S).
  They stay in `/sync`, the others leave it; only after that swap PostgreSQL waits for them, not for the gate.

A standby of the old history can claim a position that it has not received on the new one. It cannot have been
*sent* the new record: a walsender of the old timeline ends where the new one begins. So both are asked for.

Whatever goes wrong in between leaves the gate, and Patroni's next loop sets up the set as it always does:
`/sync` is swapped first, then PostgreSQL is told.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import psycopg2

from replication.async_sql import answered
from replication.wrapping import wrap

logger = logging.getLogger(__name__)

GATE = "hanbat_gate"  # no member may have this name; underscores are none in host names
GATE_AGE_S = 1.0  # a gate that was set later may not be in force yet
PATIENCE_S = 0.8
LOOK_S = 0.02
LIMIT_S = 0.7
DSN = "host=/run/postgresql user=postgres dbname=postgres options='-c synchronous_commit=local'"
IS_PRIMARY = "SELECT NOT pg_is_in_recovery()"
RECORD = "SELECT pg_logical_emit_message(true, 'hanbat', 'new history')::text"
JOINED = """
SELECT coalesce(json_agg(DISTINCT lower(application_name)), '[]') FROM pg_stat_replication
 WHERE state = 'streaming' AND sent_lsn >= '{lsn}' AND flush_lsn >= '{lsn}'
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """`/sync` as the candidate took it: with whom, and its version."""

    ha: Any
    members: frozenset[str]
    version: Any


class Memory:
    """What this process knows of the handover under way; all of it may be lost at any time."""

    def __init__(self) -> None:
        self.offered: tuple[Any, frozenset[str]] = (None, frozenset())
        self.wanted: frozenset[str] = frozenset()
        self.gate_since_s: float | None = None
        self.taken: Taken | None = None
        self.joined: frozenset[str] = frozenset()

    def note(self, version: Any, value: Any) -> None:
        """Keep the names of an offer; whatever is not one names nobody."""
        names: list[str] = []
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            found: Any = (json.loads(value) if isinstance(value, str) else value).get("kept")
            names = [str(name).lower() for name in cast(list[Any], found)] if isinstance(found, list) else []
        self.offered = (version, frozenset(names))

    def kept_by(self, offer: Any) -> frozenset[str]:
        """Whom an offer wants to be kept, in lower case."""
        version, names = self.offered
        return names if offer is not None and offer.version == version else frozenset()


MEMORY = Memory()


class Local:
    """PostgreSQL here, over one connection. Each question is bounded: psycopg2.Error or TimeoutError."""

    def __init__(self, dsn: str = DSN) -> None:
        self._dsn = dsn
        self._connection: Any = None

    def ask(self, sql: str) -> Any:
        if self._connection is None:
            self._connection = psycopg2.connect(self._dsn, async_=1)
            self._wait()
        cursor = self._connection.cursor()
        cursor.execute(sql)
        self._wait()
        return cursor.fetchone()[0]

    def _wait(self) -> None:
        if not answered(self._connection, LIMIT_S):
            raise TimeoutError("PostgreSQL here gave no answer in time")

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()


def gated(ha: Any, memory: Memory, now_s: float) -> None:
    """Shut the gate on a sync standby, open it on another standby; nothing on a primary."""
    server = ha.state_handler
    if server.role != "replica" or server.state != "running" or ha._async_executor.busy:
        memory.gate_since_s = None
        return
    sync = ha.cluster.sync if ha.cluster else None
    shut = bool(
        sync and ha.is_synchronous_mode() and sync.leader != server.name and sync.matches(server.name, False)
    )
    stands = server.config._server_parameters.get("synchronous_standby_names") == GATE
    if shut and not stands:
        server.sync_handler.set_synchronous_standby_names({GATE})
        memory.gate_since_s = now_s
    elif shut and memory.gate_since_s is None:
        memory.gate_since_s = now_s
    elif not shut:
        memory.gate_since_s = None
        if stands:
            server.sync_handler.set_synchronous_standby_names(set())


def touch_member(original: Callable[[Any], bool], memory: Memory) -> Callable[[Any], bool]:
    """In the place of the function of that name, which each loop calls."""

    def touch(self: Any) -> bool:
        try:
            gated(self, memory, time.monotonic())
        except Exception:  # of Patroni's many kinds
            logger.exception("the gate was not looked after")
        return original(self)

    return touch


def from_node(original: Callable[[Any, Any], Any], memory: Memory) -> Callable[[Any, Any], Any]:
    """In the place of `Failover.from_node`: Patroni keeps only the fields that it knows."""

    def parsed(version: Any, value: Any) -> Any:
        memory.note(version, value)
        return original(version, value)

    return parsed


def unhealthy(original: Callable[[Any], str], memory: Memory) -> Callable[[Any], str]:
    """In the place of `process_unhealthy_cluster`: the offer is emptied on the way to the promotion."""

    def process_unhealthy_cluster(self: Any) -> str:
        offer = self.cluster.failover
        mine = offer is not None and offer.candidate == self.state_handler.name
        memory.wanted = memory.kept_by(offer) if mine else frozenset()
        return original(self)

    return process_unhealthy_cluster


def before_promotion(original: Callable[[Any], bool], memory: Memory) -> Callable[[Any], bool]:
    """In the place of `process_sync_replication_prepromote`, which it calls when nobody can be kept."""

    def process_sync_replication_prepromote(self: Any) -> bool:
        wanted, memory.wanted, memory.taken, memory.joined = memory.wanted, frozenset(), None, frozenset()
        name, sync, since_s = self.state_handler.name, self.cluster.sync, memory.gate_since_s
        members = frozenset(one for one in sync.voters if one != name and one.lower() in wanted)
        old = since_s is not None and time.monotonic() - since_s >= GATE_AGE_S
        if not (members and old and self.is_synchronous_mode()):
            return original(self)
        taken = self.dcs.write_sync_state(name, members, 0, version=sync.version)
        if not taken:
            return False
        memory.taken = Taken(self, members, taken.version)
        logger.info("took /sync and keeps %s in it", ", ".join(sorted(members)))
        return True

    return process_sync_replication_prepromote


def wait_promote(original: Callable[[Any, int], Any], memory: Memory) -> Callable[[Any, int], Any]:
    """In the place of `_wait_promote`, which follows PostgreSQL's order to promote."""

    def waits(self: Any, wait_seconds: int) -> Any:
        taken, memory.taken = memory.taken, None
        if taken is not None:
            local = Local()
            try:
                joined = settle(taken, local.ask, time.sleep, time.monotonic, time.monotonic() + wait_seconds)
                memory.joined = frozenset(name.lower() for name in joined)
            except Exception:  # of Patroni's and psycopg2's kinds: its next loop sets the set up
                logger.exception("the gate stays shut until the next loop")
            finally:
                local.close()
        return original(self, wait_seconds)

    return waits


def settle(
    taken: Taken,
    ask: Callable[[str], Any],
    sleep: Callable[[float], None],
    clock: Callable[[], float],
    end_s: float,
) -> frozenset[str]:
    """Once promoted: who has joined stays in `/sync`, and is waited for from then on. Answers who."""
    while not ask(IS_PRIMARY):
        if clock() >= end_s:
            return frozenset()
        sleep(LOOK_S)
    lsn, patient_until_s = ask(RECORD), clock() + PATIENCE_S
    while not (joined := _named(taken.members, ask(JOINED.format(lsn=lsn)))) and clock() < patient_until_s:
        sleep(LOOK_S)
    ha = taken.ha
    if not ha.dcs.write_sync_state(ha.state_handler.name, joined or None, 0, version=taken.version):
        logger.warning("/sync has changed: the gate stays shut")
        return frozenset()
    ha.state_handler.sync_handler.set_synchronous_standby_names(set(joined))
    logger.info("acknowledges with %s", ", ".join(sorted(joined)) or "nobody: no kept member came in time")
    return joined


def _named(members: frozenset[str], found: Iterable[str]) -> frozenset[str]:
    there = frozenset(found)
    return frozenset(name for name in members if name.lower() in there)


def install(memory: Memory = MEMORY) -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    import patroni.postgresql as module  # pyright: ignore[reportMissingTypeStubs]
    from patroni.dcs import Failover  # pyright: ignore[reportMissingTypeStubs]
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]

    this = ("self",)
    wrap(Failover, "from_node", ("version", "value"), lambda original: from_node(original, memory))
    wrap(Ha, "touch_member", this, lambda original: touch_member(original, memory))
    wrap(Ha, "process_unhealthy_cluster", this, lambda original: unhealthy(original, memory))
    wrap(Ha, "process_sync_replication_prepromote", this, lambda original: before_promotion(original, memory))
    wait = ("self", "wait_seconds")
    wrap(module.Postgresql, "_wait_promote", wait, lambda original: wait_promote(original, memory))
