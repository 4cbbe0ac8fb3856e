"""A planned handover keeps its sync set: the new primary acknowledges nothing alone (ADR 9).

Patroni 4.1 lets a new primary name only itself in `/sync`, and acknowledge alone until a standby is in the
set again, two seconds and more. A host that is lost in between takes with it what it acknowledged; and nobody
may follow it (ADR 5), since nobody can know that it acknowledged nothing. Here:

- A candidate to which a handover is announced acknowledges nothing when it is promoted (`gate`).
- The offer in `/failover` may name the `kept` members (`kept_offer`). They stream from the candidate as soon
  as the old primary has ended (`parting`).
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
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import psycopg2

from replication.local_sql import Local
from replication.mends.announced import ANNOUNCED
from replication.mends.gate import Gate, in_a_thread, tend
from replication.mends.kept_offer import OFFERS, Offers
from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

PATIENCE_S = 0.8
ATTACH_S = 0.25  # how long a candidate waits for a kept member that does not stream from it yet
LOOK_S = 0.02
SEEN_S = 2.0
IS_PRIMARY = "SELECT NOT pg_is_in_recovery()"
ATTACHED = """
SELECT coalesce(json_agg(DISTINCT lower(application_name)), '[]') FROM pg_stat_replication
 WHERE state IN ('catchup', 'streaming') AND flush_lsn <= pg_last_wal_receive_lsn()
"""
RECORD = "SELECT pg_logical_emit_message(true, 'hanbat', 'new history')::text"
JOINED = """
SELECT coalesce(json_agg(DISTINCT lower(application_name)), '[]') FROM pg_stat_replication
 WHERE state = 'streaming' AND sent_lsn >= '{lsn}' AND flush_lsn >= '{lsn}'
"""
SYNC = """
SELECT coalesce(json_agg(DISTINCT lower(application_name)), '[]') FROM pg_stat_replication
 WHERE sync_state = 'sync'
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """`/sync` as the candidate took it: with whom, and its version."""

    ha: Any
    members: frozenset[str]
    version: Any
    local: Local


class Memory:
    """What this process knows of the handover under way; all of it may be lost at any time."""

    def __init__(self, offers: Offers) -> None:
        self.offers = offers
        self.gate = Gate()
        self.wanted: frozenset[str] = frozenset()
        self.taken: Taken | None = None
        self.joined: frozenset[str] = frozenset()


MEMORY = Memory(OFFERS)


def touch_member(original: Callable[[Any], bool], memory: Memory) -> Callable[[Any], bool]:
    """In the place of the function of that name, which each loop calls."""

    def touch(self: Any) -> bool:
        try:
            name, offer = self.state_handler.name, self.cluster.failover if self.cluster else None
            offered = bool(offer and offer.candidate == name and memory.offers.kept_by(offer))
            tend(self, memory.gate, in_a_thread, ANNOUNCED.to(name), offered)
        except Exception:  # of Patroni's many kinds
            logger.exception("the gate was not looked after")
        return original(self)

    return touch


def unhealthy(original: Callable[[Any], str], memory: Memory) -> Callable[[Any], str]:
    """In the place of `process_unhealthy_cluster`: the offer is emptied on the way to the promotion."""

    def process_unhealthy_cluster(self: Any) -> str:
        offer = self.cluster.failover
        mine = offer is not None and offer.candidate == self.state_handler.name
        memory.wanted = memory.offers.kept_by(offer) if mine else frozenset()
        return original(self)

    return process_unhealthy_cluster


def before_promotion(original: Callable[[Any], bool], memory: Memory) -> Callable[[Any], bool]:
    """In the place of `process_sync_replication_prepromote`, which it calls when nobody can be kept."""

    def process_sync_replication_prepromote(self: Any) -> bool:
        wanted, memory.wanted, memory.taken, memory.joined = memory.wanted, frozenset(), None, frozenset()
        if memory.gate.awaited(self.state_handler):
            logger.warning(
                "not promoted yet: PostgreSQL has not shown that it will acknowledge nothing alone"
            )
            return False
        name, sync, local = self.state_handler.name, self.cluster.sync, memory.gate.session()
        members = frozenset(one for one in sync.voters if one != name and one.lower() in wanted)
        if not (members and local is not None and self.is_synchronous_mode()):
            return original(self)
        members = attached(members, local.ask, time.sleep, time.monotonic)
        if not members:
            return original(self)
        taken = self.dcs.write_sync_state(name, members, 0, version=sync.version)
        if not taken:
            return False
        memory.taken, memory.gate.in_use = Taken(self, members, taken.version, local), True
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
        taken, memory.taken = memory.taken, None
        if taken is not None:
            try:
                joined = settle(taken, time.sleep, time.monotonic, time.monotonic() + wait_seconds)
                memory.joined = frozenset(name.lower() for name in joined)
            except Exception:  # of Patroni's and psycopg2's kinds: its next loop sets the set up
                logger.exception("the gate stays shut until the next loop")
            finally:
                memory.gate.spent()
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
    with contextlib.suppress(psycopg2.Error, TimeoutError):  # the gate is open by now
        _until_seen(joined, taken.local, sleep, clock)
    logger.info("acknowledges with %s", ", ".join(sorted(joined)) or "nobody: no kept member came in time")
    return joined


def _until_seen(
    joined: frozenset[str], local: Local, sleep: Callable[[float], None], clock: Callable[[], float]
) -> None:
    """Until PostgreSQL shows them as sync, SEEN_S at most; nobody waits for this but Patroni's next loop.

    A loop that looks sooner finds `/sync` and PostgreSQL at odds, and takes them out again.
    """
    end_s = clock() + SEEN_S
    while _named(joined, local.ask(SYNC)) != joined and clock() < end_s:
        sleep(LOOK_S)


def _named(members: frozenset[str], found: Iterable[str]) -> frozenset[str]:
    there = frozenset(found)
    return frozenset(name for name in members if name.lower() in there)


def install(memory: Memory = MEMORY, gate_always: bool = False) -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged.

    `gate_always`: also without an announced handover, see `gate`.
    """
    memory.gate.always = gate_always
    import patroni.postgresql as module  # pyright: ignore[reportMissingTypeStubs]
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]

    this = ("self",)
    wrap(Ha, "touch_member", this, lambda original: touch_member(original, memory))
    wrap(Ha, "process_unhealthy_cluster", this, lambda original: unhealthy(original, memory))
    wrap(Ha, "process_sync_replication_prepromote", this, lambda original: before_promotion(original, memory))
    wait = ("self", "wait_seconds")
    wrap(module.Postgresql, "_wait_promote", wait, lambda original: wait_promote(original, memory))
