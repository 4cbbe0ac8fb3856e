"""A planned handover keeps its sync set: the new primary acknowledges nothing alone (ADR 9).

Patroni 4.1 lets a new primary name only itself in `/sync`, and acknowledge alone until a standby is in the
set again, two seconds and more. A host that is lost in between takes with it what it acknowledged; and nobody
may follow it (ADR 5), since nobody can know that it acknowledged nothing. Here:

- Who is in the sync set of another primary asks PostgreSQL to wait for a standby that does not exist (GATE).
  A standby acknowledges nothing anyway; promoted, it still acknowledges nothing. It is set long before, and
  shown to be in force (`gate_in_force`): a promotion does not wait until PostgreSQL has taken a value in.
- The offer in `/failover` may name the `kept` members. They stream from the candidate as soon as the old
  primary has ended, which it does when they have all its WAL, and before it gives the lock back: so they
  follow the new history at once, and have nothing that the candidate does not have. Not sooner: transactions
  are under way.
- The candidate takes `/sync` for itself *and those that stream from it*, in the swap in which it would have
  left them out. Until the gate opens, whoever of them becomes primary has all that was ever acknowledged.
- Promoted, it writes a record of the new history and looks whether the kept have flushed it (PATIENCE_S).
  Who has not leaves `/sync`; only then PostgreSQL waits for those who have, not for the gate.

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
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread
from typing import Any, cast

import psycopg2

from replication.async_sql import answered
from replication.wrapping import wrap

logger = logging.getLogger(__name__)

GATE = "hanbat_gate"  # no member may have this name; underscores are none in host names
PATIENCE_S = 0.8
ATTACH_S = 0.25  # how long a candidate waits for a kept member that does not stream from it yet
LOOK_S = 0.02
LIMIT_S = 0.7
PARTING_S = 15.0
PARTING_LOOK_S = 0.04
NUDGES = 10
NUDGE = "SELECT pg_reload_conf()"
GATE_S = 5.0
RESTARTPOINT_S = 60.0
DSN = "host=/run/postgresql user=postgres dbname=postgres options='-c synchronous_commit=local'"
IS_PRIMARY = "SELECT NOT pg_is_in_recovery()"
STREAMS = "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming')"
ALIVE = "SELECT 1"
SHOWN = "SELECT current_setting('synchronous_standby_names')"
ATTACHED = """
SELECT coalesce(json_agg(DISTINCT lower(application_name)), '[]') FROM pg_stat_replication
 WHERE state IN ('catchup', 'streaming') AND flush_lsn <= pg_last_wal_receive_lsn()
"""
RECORD = "SELECT pg_logical_emit_message(true, 'hanbat', 'new history')::text"
JOINED = """
SELECT coalesce(json_agg(DISTINCT lower(application_name)), '[]') FROM pg_stat_replication
 WHERE state = 'streaming' AND sent_lsn >= '{lsn}' AND flush_lsn >= '{lsn}'
"""


class Local:
    """PostgreSQL here, over one connection. Each question is bounded: psycopg2.Error or TimeoutError."""

    def __init__(self, dsn: str = DSN) -> None:
        self._dsn = dsn
        self._connection: Any = None

    def ask(self, sql: str) -> Any:
        """The first column of the first row."""
        return self.run(sql, LIMIT_S).fetchone()[0]

    def run(self, sql: str, limit_s: float) -> Any:
        if self._connection is None:
            self._connection = psycopg2.connect(self._dsn, async_=1)
            self._wait(LIMIT_S)
        cursor = self._connection.cursor()
        cursor.execute(sql)
        self._wait(limit_s)
        return cursor

    def _wait(self, limit_s: float) -> None:
        if not answered(self._connection, limit_s):
            raise TimeoutError("PostgreSQL here gave no answer in time")

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg2.Error):
                self._connection.close()


@dataclass(frozen=True, slots=True)
class Offer:
    """Of a planned handover: its version in etcd, and whom it wants to be kept, in lower case."""

    version: Any = None
    kept: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Taken:
    """`/sync` as the candidate took it: with whom, and its version."""

    ha: Any
    members: frozenset[str]
    version: Any
    local: Local


class Memory:
    """What this process knows of the handover under way; all of it may be lost at any time."""

    def __init__(self) -> None:
        self.offered = Offer()
        self.watched: Any = None  # the offer whose old primary is waited for to end
        self.parted: Any = None  # the offer whose old primary streams no more
        self.wanted: frozenset[str] = frozenset()
        self.gate: Future[Local | None] | None = None  # the session that saw it in force
        self.taken: Taken | None = None
        self.joined: frozenset[str] = frozenset()

    def note(self, version: Any, value: Any) -> None:
        """Keep the names of an offer; whatever is not one names nobody."""
        names: list[str] = []
        with contextlib.suppress(ValueError, TypeError, AttributeError):
            found: Any = (json.loads(value) if isinstance(value, str) else value).get("kept")
            names = [str(name).lower() for name in cast(list[Any], found)] if isinstance(found, list) else []
        self.offered = Offer(version, frozenset(names))

    def kept_by(self, offer: Any) -> frozenset[str]:
        """Whom an offer wants to be kept, in lower case."""
        noted = self.offered
        return noted.kept if offer is not None and offer.version == noted.version else frozenset()


MEMORY = Memory()


def gate_in_force(new: Callable[[], Local] | None = None) -> Local | None:
    """The session to which PostgreSQL here has shown that the gate is in force; None when it is not.

    A new session shows what the postmaster has read, and by then it has signalled all its children. It is the
    checkpointer that makes commits wait, and it reads its settings before it starts what it is asked for: a
    restartpoint that is asked for now ends after that. While the session lives, so does that postmaster.
    Raises psycopg2.Error or TimeoutError.
    """
    end_s = time.monotonic() + GATE_S
    while time.monotonic() < end_s:
        local = (new or Local)()
        try:
            if local.ask(SHOWN) == GATE:
                local.run("CHECKPOINT", RESTARTPOINT_S)
                return local
        except BaseException:
            local.close()
            raise
        local.close()
        time.sleep(LOOK_S)
    return None


def gated(ha: Any, memory: Memory, shown: Callable[[], Future[Local | None]]) -> None:
    """Shut the gate on a sync standby, open it on another standby; nothing on a primary."""
    server = ha.state_handler
    if server.role != "replica" or server.state != "running":
        return forget(memory)
    if ha._async_executor.busy:
        return None
    sync = ha.cluster.sync if ha.cluster else None
    shut = bool(
        sync and ha.is_synchronous_mode() and sync.leader != server.name and sync.matches(server.name, False)
    )
    stands = server.config._server_parameters.get("synchronous_standby_names") == GATE
    if not shut:
        forget(memory)
        if stands:
            server.config.set_synchronous_standby_names(None)
        return None
    if not stands:
        forget(memory)
        server.config.set_synchronous_standby_names(GATE)  # not by way of `remote_sync`
    if memory.gate is None or (memory.gate.done() and not _lives(_found(memory.gate))):
        forget(memory)
        memory.gate = shown()
    return None


def forget(memory: Memory) -> None:
    """Whatever was seen of the gate counts no more, unless a promotion needs the session."""
    if memory.taken is not None:
        return
    gate, memory.gate = memory.gate, None
    if gate is not None:
        gate.add_done_callback(_close)


def _close(gate: Future[Local | None]) -> None:
    local = _found(gate)
    if local is not None:
        local.close()


def _found(gate: Future[Local | None] | None) -> Local | None:
    """The session that saw the gate in force; None while it looks, and when it could not look."""
    if gate is None or not gate.done() or gate.exception() is not None:
        return None
    return gate.result()


def _lives(local: Local | None) -> bool:
    try:
        return local is not None and local.ask(ALIVE) == 1
    except (psycopg2.Error, TimeoutError):
        return False


def in_a_thread() -> Future[Local | None]:
    """`gate_in_force`, beside Patroni's loop."""
    future: Future[Local | None] = Future()

    def look() -> None:
        try:
            future.set_result(gate_in_force())
        except Exception as error:  # told by the future; the next loop looks again
            future.set_exception(error)

    Thread(target=look, name="looks at the gate", daemon=True).start()
    return future


def touch_member(original: Callable[[Any], bool], memory: Memory) -> Callable[[Any], bool]:
    """In the place of the function of that name, which each loop calls."""

    def touch(self: Any) -> bool:
        try:
            gated(self, memory, in_a_thread)
            parting(self, memory, _beside)
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


def parting(ha: Any, memory: Memory, in_a_thread: Callable[[Callable[[], None]], None]) -> None:
    """While an offer stands that keeps this member, look for the end of its stream from the old primary."""
    offer = ha.cluster.failover if ha.cluster else None
    if offer is None or offer.version == memory.watched or ha.state_handler.role != "replica":
        return
    if ha.state_handler.name.lower() in memory.kept_by(offer):
        memory.watched = offer.version
        in_a_thread(lambda: parted(ha.wakeup, memory, offer.version, time.sleep, time.monotonic))


def parted(
    wakeup: Callable[[], None],
    memory: Memory,
    version: Any,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> None:
    """Wake Patroni once nothing streams to here; ends with the offer, and after PARTING_S.

    Patroni then names the candidate to PostgreSQL, which may have just begun to wait before it tries the old
    primary again (`wal_retrieve_retry_interval`, 1 s). To be told once more ends that wait.
    """
    local, end_s = Local(), clock() + PARTING_S
    try:
        while memory.offered.version == version and clock() < end_s:
            if not local.ask(STREAMS):
                memory.parted = version
                wakeup()
                return nudged(local, sleep)
            sleep(PARTING_LOOK_S)
    except (psycopg2.Error, TimeoutError):
        logger.exception("the end of the old primary is not looked for: not kept")
    finally:
        local.close()


def nudged(local: Local, sleep: Callable[[float], None]) -> None:
    """Tell PostgreSQL to read its settings until something streams to here again, NUDGES times at most."""
    for _ in range(NUDGES):
        sleep(PARTING_LOOK_S)
        if local.ask(STREAMS):
            return
        local.ask(NUDGE)


def _beside(work: Callable[[], None]) -> None:
    Thread(target=work, name="looks for the end of the old primary", daemon=True).start()


def node_to_follow(original: Callable[[Any, Any], Any], memory: Memory) -> Callable[[Any, Any], Any]:
    """In the place of `_get_node_to_follow`: a kept member streams from the candidate of a standing offer."""

    def _get_node_to_follow(self: Any, cluster: Any) -> Any:
        return original(self, _as_if_handed_over(self, cluster, memory) or cluster)

    return _get_node_to_follow


def _as_if_handed_over(ha: Any, cluster: Any, memory: Memory) -> Any:
    """The cluster with the candidate as its leader, None where this member is not one that is kept."""
    offer, holder = cluster.failover, cluster.leader and cluster.leader.name
    mine = ha.state_handler.name
    if mine.lower() not in memory.kept_by(offer) or offer.version != memory.parted:
        return None
    if mine in (offer.leader, offer.candidate) or (holder and holder != offer.leader):
        return None
    candidate = cluster.get_member(offer.candidate, False)
    if candidate is None:
        return None
    leader = cluster.leader
    changed = leader._replace(member=candidate) if leader else _leader(candidate)
    return type(cluster)(**{**cluster._asdict(), "leader": changed})


def _leader(member: Any) -> Any:
    from patroni.dcs import Leader  # pyright: ignore[reportMissingTypeStubs]

    return Leader("", None, member)


def before_promotion(original: Callable[[Any], bool], memory: Memory) -> Callable[[Any], bool]:
    """In the place of `process_sync_replication_prepromote`, which it calls when nobody can be kept."""

    def process_sync_replication_prepromote(self: Any) -> bool:
        wanted, memory.wanted, memory.taken, memory.joined = memory.wanted, frozenset(), None, frozenset()
        name, sync, local = self.state_handler.name, self.cluster.sync, _found(memory.gate)
        members = frozenset(one for one in sync.voters if one != name and one.lower() in wanted)
        if not (members and local is not None and self.is_synchronous_mode()):
            return original(self)
        members = attached(members, local.ask, time.sleep, time.monotonic)
        if not members:
            return original(self)
        taken = self.dcs.write_sync_state(name, members, 0, version=sync.version)
        if not taken:
            return False
        memory.taken = Taken(self, members, taken.version, local)
        logger.info("took /sync and keeps %s in it", ", ".join(sorted(members)))
        return True

    return process_sync_replication_prepromote


def attached(
    members: frozenset[str],
    ask: Callable[[str], Any],
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> frozenset[str]:
    """Who of them streams from here; nobody if the session that saw the gate has ended."""
    try:
        end_s = clock() + ATTACH_S
        while (found := _named(members, ask(ATTACHED))) != members and clock() < end_s:
            sleep(LOOK_S)
    except (psycopg2.Error, TimeoutError):
        logger.exception("it is not known who streams from here: nobody is kept")
        return frozenset()
    return found


def wait_promote(original: Callable[[Any, int], Any], memory: Memory) -> Callable[[Any, int], Any]:
    """In the place of `_wait_promote`, which follows PostgreSQL's order to promote."""

    def waits(self: Any, wait_seconds: int) -> Any:
        taken = memory.taken
        if taken is not None:
            try:
                joined = settle(taken, time.sleep, time.monotonic, time.monotonic() + wait_seconds)
                memory.joined = frozenset(name.lower() for name in joined)
            except Exception:  # of Patroni's and psycopg2's kinds: its next loop sets the set up
                logger.exception("the gate stays shut until the next loop")
            finally:
                memory.gate, memory.taken = None, None
                taken.local.close()
        return original(self, wait_seconds)

    return waits


def settle(
    taken: Taken, sleep: Callable[[float], None], clock: Callable[[], float], end_s: float
) -> frozenset[str]:
    """Once promoted: who has joined stays in `/sync`, and is waited for from then on. Answers who."""
    ha, ask = taken.ha, taken.local.ask
    while not ask(IS_PRIMARY):
        if clock() >= end_s:
            return frozenset()
        sleep(LOOK_S)
    lsn, patient_until_s = ask(RECORD), clock() + PATIENCE_S
    joined = _named(taken.members, ask(JOINED.format(lsn=lsn)))
    while joined != taken.members and clock() < patient_until_s:
        sleep(LOOK_S)
        joined = _named(taken.members, ask(JOINED.format(lsn=lsn)))
    if joined != taken.members and not ha.dcs.write_sync_state(
        ha.state_handler.name, joined or None, 0, version=taken.version
    ):
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
    wrap(Ha, "_get_node_to_follow", ("self", "cluster"), lambda original: node_to_follow(original, memory))
    wrap(Ha, "process_sync_replication_prepromote", this, lambda original: before_promotion(original, memory))
    wait = ("self", "wait_seconds")
    wrap(module.Postgresql, "_wait_promote", wait, lambda original: wait_promote(original, memory))
