"""A model of Patroni's HA loop, at the granularity of its requests to etcd and of its effects.

Written from the source of Patroni 4.1.5; the names of its functions stand beside the parts. The mends that
ADR 5 proposes are switched on by `PatroniRules`; without any it is upstream's behaviour, hazards included.
Here is the loop, and what it does with its lock. The rest is in a file for each idea, one built on the other:
`requests`, `claims`, `sync_set`, `promotion`, `following`, `race`.
"""

from __future__ import annotations

import json

from failover.planned_restart import RESTARTING, STARTING
from failover.transaction import CONFIG, FAILOVER, LEADER, SYNC

from .claims import HISTORY, Memory, Snapshot
from .engine import Body, Engine
from .etcd import Entry, Etcd, Unavailable
from .network import Network
from .offers import EMPTIED, offer_in
from .postgres import Servers
from .race import Race
from .requests import TTL_MS, WATCHDOG_MS, Step
from .rules import NOBODY, PatroniRules

LOOP_MS = 1000


class Patroni(Race):
    """One host's Patroni. `cycle` is one loop; each `yield` is a place where it can be stopped."""

    def __init__(
        self, host: str, engine: Engine, network: Network, etcd: Etcd, servers: Servers, rules: PatroniRules
    ) -> None:
        super().__init__(host, engine, network, etcd, servers, rules)
        self.restarting = ""  # what it says of the PostgreSQL that it restarts (`restarts.py`)

    def body(self) -> Body:
        self.cache.rebuild()
        self.restarting = ""
        self.drags.forget()
        self.promoting, self.lease, self.word, self.memory = False, 0, ("", 0), Memory()
        while True:
            yield from self.cycle()
            if self.process is not None:
                self.process.sleeping = True
            yield LOOP_MS

    def cycle(self) -> Step:
        """`_run_cycle`."""
        try:
            snapshot = self.cache.copy()
            yield self.engine.rng.randrange(3)
            if self.server.running and self.is_untidy():  # in `touch_member`, which comes first
                self.tidy()
            if self.promoting:
                yield from self.while_promoting(snapshot)
                return
            if snapshot[CONFIG].value["pause"]:
                if LEADER in snapshot and snapshot[LEADER].value == self.host:
                    yield from self.refresh_lease()
                return
            if self.restarting:
                yield from self.while_restarting(snapshot)
            elif not self.server.running:
                yield from self.recover(snapshot)
            elif LEADER not in snapshot and not self.believed(snapshot):
                yield from self.unhealthy(snapshot)
            elif LEADER in snapshot and snapshot[LEADER].value == self.host:
                yield from self.healthy(snapshot)
            else:
                yield from self.follow()
            if self.server.running and not self.server.primary:
                yield from self.touch_member()
        except Unavailable:
            if self.server.primary and self.server.running and not (yield from self.goes_on()):
                self.log("no DCS: demotes itself")
                yield from self.demote()

    def goes_on(self) -> Step:
        """`check_failsafe_topology`: a primary without etcd goes on if it could say so to every member."""
        others = [peer for host, peer in self.peers.items() if host != self.host]
        yield self.engine.rng.randrange(1, 20)
        if not all(self.answers(peer.host) for peer in others):
            yield 2000
        heard = [peer for peer in others if self.answers(peer.host)]
        agreed = [peer for peer in heard if not (peer.server.running and peer.server.primary)]
        for peer in agreed:
            peer.word = self.host, self.engine.now + TTL_MS
        if agreed != others or not (self.server.primary and self.server.running):
            return False
        if self.watchdog_at is not None:
            self.watchdog_at = self.engine.now + WATCHDOG_MS
        self.log("no DCS: goes on, every member has heard it")
        return True

    def while_promoting(self, snapshot: Snapshot) -> Step:
        """`handle_long_action_in_progress`: keep the lock, or cancel the promotion."""
        lock = snapshot.get(LEADER)
        mine = lock is not None and lock.value == self.host and (yield from self.update_lock(lock))
        if not mine and self.promoting:
            self.log("lost the lock before promoting")
            self.promoting = False
            self.watchdog_at = None

    def while_restarting(self, snapshot: Snapshot) -> Step:
        """`handle_long_action_in_progress`: keeps its lock, or gives up, and is no primary then."""
        lock = snapshot.get(LEADER)
        if lock is not None and lock.value == self.host and (yield from self.update_lock(lock)):
            return
        self.log("lost its lock while it restarts PostgreSQL")
        self.restarting = ""
        yield from self.demote()

    def says(self) -> str:
        """`/health`, as `planned_restart.state_of_primary` reads it; the repair of a crash is "starting"."""
        told = RESTARTING if self.restarting and self.rules.told_restart else self.restarting
        return told or ("running" if self.server.running else STARTING)

    def touch_member(self) -> Step:
        """Renews the lease of a standby too (the member key's)."""
        if self.lease == 0 or self.engine.rng.random() < 0.2:
            yield from self.refresh_lease()

    def healthy(self, snapshot: Snapshot) -> Step:
        """`process_healthy_cluster`, as the snapshot's lock holder."""
        if not (yield from self.update_lock(snapshot[LEADER])):
            if self.server.primary:
                self.log("lost its lock: demotes itself")
                yield from self.demote()
            return
        offer = offer_in(snapshot)
        if offer is not None and (yield from self.switchover(offer, snapshot)):
            return
        yield from self.enforce_primary(snapshot)

    def switchover(self, offer: Entry, snapshot: Snapshot) -> Step:
        """`process_manual_failover_from_leader`. A host that /sync does not name is no candidate: it could
        not take the lock, and nobody else would while it answers (`get_failover_candidates`).
        """
        value, server, sync = json.loads(offer.value), self.server, snapshot[SYNC].value
        candidate = value["member"]
        active = snapshot[CONFIG].value["mode"] != "off" and sync != NOBODY
        able = candidate in server.sessions and self.network.both_ways(self.host, candidate)
        able = able and (not active or candidate in sync.members)
        if value["leader"] == self.host and candidate != self.host and able and server.primary:
            self.log(f"hands over to {candidate}")
            yield from self.demote()
            yield from self.release_lock()
            return True
        revision = offer.revision
        yield from self.request(
            lambda: self.etcd.apply([(FAILOVER, EMPTIED, 0)]) if self.etcd.mod(FAILOVER) == revision else 0
        )
        return False

    def enforce_primary(self, snapshot: Snapshot) -> Step:
        """`enforce_primary_role`, with the mends in front."""
        lock, sync = snapshot.get(LEADER), snapshot[SYNC].value
        if self.rules.rechecks_lock and (lock is None or lock.value != self.host):
            return
        named = self.host == sync.leader or self.host in sync.members
        active = snapshot[CONFIG].value["mode"] != "off" and sync != NOBODY
        if self.rules.named_before_primary and active and not named:
            self.log("/sync does not name me: gives the lock back")
            if self.server.primary:
                yield from self.demote()
            yield from self.release_lock()
            return
        if self.rules.watchdog and self.watchdog_at is None:
            self.watchdog_at = self.engine.now + WATCHDOG_MS
        if self.server.primary:
            yield from self.process_sync(snapshot)
            yield from self.update_history(snapshot)
            return
        if not (yield from self.before_promotion(snapshot)):
            self.log("postpones its promotion: /sync has changed")
            return
        if self.server.is_ordered():
            return  # a second order changes nothing
        self.promoting = True
        hazard = self.process.hazard if self.process else 0
        self.promotion = self.engine.spawn(f"{self.host}/promote", self.promote(), hazard)

    def update_history(self, snapshot: Snapshot) -> Step:
        """`update_cluster_history`."""
        yield from self.raise_number()
        history, told = snapshot.get(HISTORY), self.told_history()
        if history is None or history.value < told:
            yield from self.request(lambda: self.etcd.apply([(HISTORY, told, 0)]))

    def unhealthy(self, snapshot: Snapshot) -> Step:
        """`process_unhealthy_cluster`."""
        offer = offer_in(snapshot)
        mine = offer is not None and json.loads(offer.value)["member"] == self.host
        self.wanted = frozenset(json.loads(offer.value).get("kept", ())) if offer and mine else frozenset()
        if (yield from self.healthiest(snapshot)):
            yield from self.refresh_lease()
            taken = yield from self.request(
                lambda: self.etcd.compare_and_put(LEADER, self.host, 0, self.lease)
            )
            if taken is None:
                yield from self.follow()
                return
            self.log("TOOK THE LOCK")
            self.cache.wrote(LEADER, self.host, taken, self.lease)
            if offer_in(snapshot) is not None:
                yield from self.request(lambda: self.etcd.apply([(FAILOVER, EMPTIED, 0)]))
            fresh = self.cache.copy()
            yield 0
            yield from self.enforce_primary(fresh)
            return
        if offer_in(snapshot) is not None:
            yield 2000  # "give a time to somebody to take the leader lock"
        yield from self.follow()
