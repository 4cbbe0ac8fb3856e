"""A model of Patroni's HA loop, at the granularity of its requests to etcd and of its effects.

Written from the source of Patroni 4.1.5; the names of its functions stand beside the parts. The mends that
ADR 5 proposes are switched on by `PatroniRules`; without any it is upstream's behaviour, hazards included.
"""

from __future__ import annotations

import json
from typing import Any

from failover.planned_restart import RESTARTING, STARTING
from failover.transaction import CONFIG, FAILOVER, LEADER, SYNC
from replication.dragging import Drags

from .claims import HISTORY, Claims, Memory, Snapshot, folder_of
from .engine import Body, Engine, Process
from .etcd import Entry, Etcd, Unavailable
from .network import Network
from .postgres import Servers
from .requests import TTL_MS, WATCHDOG_MS, Step
from .rules import NOBODY, PatroniRules, Sync

GATE = frozenset({"gate"})  # a standby that does not exist (`replication.kept_members`)
PATIENCE_MS = 800
ATTACH_LOOKS = 12
LOOP_MS = 1000
SHOWN_MS = 700  # `replication.shown_commit`
DRAG_LIMIT_S, DRAG_TIME_S = 0.5, 4.0  # as by default

EMPTIED = "{}"  # Patroni does not delete /failover


def offer_in(snapshot: Snapshot) -> Entry | None:
    """/failover, if it offers anything."""
    entry = snapshot.get(FAILOVER)
    return entry if entry is not None and entry.value != EMPTIED else None


class Patroni(Claims):
    """One host's Patroni. `cycle` is one loop; each `yield` is a place where it can be stopped."""

    def __init__(
        self, host: str, engine: Engine, network: Network, etcd: Etcd, servers: Servers, rules: PatroniRules
    ) -> None:
        super().__init__(host, engine, etcd, rules, servers.by_host[host])
        self.network, self.servers = network, servers
        self.process: Process | None = None
        self.promotion: Process | None = None
        self.peers: dict[str, Patroni] = {}
        self.promotions: Any = lambda host: None
        self.rewinds: Any = lambda host: None
        self.may_race: Any = lambda old, new: True  # which moves wait for a person (held_back)
        self.wanted: frozenset[str] = frozenset()  # whom the offer wants to be kept in /sync
        self.taken: tuple[frozenset[str], int] | None = None  # who was kept, and the revision of /sync
        self.watched, self.parts_from = 0, ""  # the offer that keeps this host; whose stream has ended
        self.restarting = ""  # what it says of the PostgreSQL that it restarts (`restarts.py`)
        self.booted = False  # the machine has just started: PostgreSQL takes longer
        self.drags = Drags(DRAG_LIMIT_S, DRAG_TIME_S)
        self.word = ("", 0)  # who has said that it goes on without etcd, and until when that is believed

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

    # --- the loop --------------------------------------------------------------------------------

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

    def believed(self, snapshot: Snapshot) -> str:
        """`Failsafe.leader`, and `replication.offered_lock`: who goes on without etcd; "" for nobody."""
        who, until = self.word
        offer = offer_in(snapshot)
        offered = offer is not None and json.loads(offer.value)["member"] == self.host
        return "" if offered or self.engine.now >= until else who

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

    def take_sync(self, snapshot: Snapshot) -> Step:
        """`process_sync_replication_prepromote`."""
        if snapshot[CONFIG].value["mode"] == "off":
            done = yield from self.disable_sync(snapshot)
            return done or not self.rules.kept_set
        wanted, self.wanted, self.taken = self.wanted, frozenset(), None
        wanted &= snapshot[SYNC].value.members
        for _ in range(ATTACH_LOOKS):
            if wanted <= self.attached():
                break
            yield 20
        kept = wanted & self.attached() if self.rules.looks_who_streams else wanted
        revision = yield from self.write_sync(Sync(self.host, kept), snapshot[SYNC].revision)
        if kept and revision:
            self.taken = kept, revision
        return revision

    def attached(self) -> frozenset[str]:
        """Who streams from here before the promotion, and so has nothing that is not here."""
        own = self.server.wal
        return frozenset(
            name
            for name, server in self.servers.by_host.items()
            if server.upstream == self.host
            and server.running
            and not server.primary
            and self.network.both_ways(self.host, name)
            and own[: len(server.wal)] == server.wal
        )

    def promote(self) -> Body:
        """Runs beside the loop, as Patroni's executor thread does. Receiving ends before the role changes."""
        server, me = self.server, self.promotion
        taken, self.taken = self.taken, None
        server.require(GATE if taken and self.rules.gate else frozenset())
        yield self.engine.rng.randrange(1, 10)
        if not server.running or not self.promoting or self.promotion is not me:
            self.promoting = self.promoting and self.promotion is not me
            return
        server.order()
        connection = server.connection
        yield self.engine.rng.randrange(50, 500)
        if not server.running or server.connection != connection or self.promotion is not me:
            self.promoting = self.promoting and self.promotion is not me
            return
        self.word = ("", 0)
        server.promote(-self.servers.new_record())
        self.log(f"PROMOTED to timeline {server.timeline}")
        self.promotions(self.host)
        if taken and self.promoting:
            try:
                yield from self.settle(*taken)
            except Unavailable:
                self.log("the gate stays shut until the next loop")
        self.promoting = False

    def settle(self, kept: frozenset[str], revision: int) -> Step:
        """`kept_members.settle`: who has the new history stays in /sync, and is required from then on."""
        server, end = self.server, self.engine.now + PATIENCE_MS
        mark, joined = len(server.wal), frozenset[str]()
        while joined != kept and self.engine.now < end:
            yield 20
            if not self.promoting or not server.running:
                return
            joined = frozenset(
                name for name in kept if name in server.sessions and server.sessions[name].confirmed >= mark
            )
        if not self.rules.set_after_swap:
            server.require(joined)
        if joined != kept and not (yield from self.write_sync(Sync(self.host, joined), revision)):
            return
        if server.primary:
            server.require(joined)

    # --- the sync set ----------------------------------------------------------------------------

    def confirmed(self, sync: Sync) -> frozenset[str]:
        """`sync_confirmed`: required, connected, and caught up since that is in force (`grown_set`)."""
        server = self.server
        new = not (server.deaf_until and self.rules.shown_set)
        left_out = self.left_out()
        return frozenset(
            name
            for name in server.required - left_out
            if name in server.sessions
            and (name in sync.members or (new and server.sessions[name].confirmed >= server.required_since))
        )

    def picked(self) -> frozenset[str]:
        return frozenset(sorted(self.server.sessions.keys() - self.left_out())[:2])

    def left_out(self) -> frozenset[str]:
        """`replication.dragging.replacement`: as those that have disconnected."""
        return self.drags.draggers(self.engine.now / 1000)

    def process_sync(self, snapshot: Snapshot) -> Step:
        """`_process_multisync_replication`: /sync first when it shrinks, PostgreSQL first when it grows."""
        if snapshot[CONFIG].value["mode"] == "off":
            yield from self.disable_sync(snapshot)
            return
        if snapshot[CONFIG].value["mode"] != "on":
            return
        server, sync, revision = self.server, snapshot[SYNC].value, snapshot[SYNC].revision
        picked, confirmed = self.picked(), self.confirmed(sync)
        if sync.leader != self.host:
            sync = Sync(self.host, frozenset())
            revision = yield from self.write_sync(sync, revision)
            if not revision:
                return
        if picked == sync.members != confirmed:
            sync = Sync(self.host, confirmed)
            revision = yield from self.write_sync(sync, revision)
            if not revision:
                return
        if picked == sync.members == server.required:
            return
        if not self.rules.swap_before_set:
            server.require(picked)
        common = sync.members & confirmed
        if common != sync.members:
            revision = yield from self.write_sync(Sync(self.host, common), revision)
            if not revision:
                return
        yield self.engine.rng.randrange(3)
        if not server.primary or not server.running:
            return
        if picked and not server.required and self.engine.rng.random() < self.servers.deaf:
            server.deaf_until = self.engine.now + self.engine.rng.randrange(500, 6000)
        server.require(picked)
        if picked and confirmed != picked:
            yield 2000
            confirmed = self.confirmed(Sync(self.host, common))
        if confirmed and confirmed != common:
            yield from self.write_sync(Sync(self.host, confirmed), revision)

    def disable_sync(self, snapshot: Snapshot) -> Step:
        """`disable_synchronous_replication`: upstream does not look whether its swap succeeded (H5)."""
        done = True
        if snapshot[SYNC].value != NOBODY:
            done = bool((yield from self.write_sync(NOBODY, snapshot[SYNC].revision)))
        if done or not self.rules.kept_set:
            self.server.require(frozenset())
        return done

    # --- without a lock holder, or as a follower ---------------------------------------------------

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

    def healthiest(self, snapshot: Snapshot) -> Step:
        """`is_healthiest_node` and `manual_failover_process_no_leader`, mode `on`."""
        server, sync = self.server, snapshot[SYNC].value
        history, offer = snapshot.get(HISTORY), offer_in(snapshot)
        candidate = json.loads(offer.value)["member"] if offer is not None else ""
        named = sync == NOBODY or self.host == sync.leader or self.host in sync.members
        waits = candidate != self.host and not self.may_race(sync.leader, self.host)
        if self.rules.held_back and (waits or not named):
            return False
        if self.rules.shown_commit and server.primary and candidate not in ("", self.host):
            yield min(SHOWN_MS, max(0, server.frozen_until - self.engine.now))
            if server.frozen_until > self.engine.now:
                return False
        if server.primary:
            return history is None or server.timeline >= history.value
        if not named:
            return False
        if offer is not None:
            if candidate == self.host:
                return True
            stale = sync != NOBODY and candidate not in sync.members | {sync.leader}
            waited_for = not (stale and self.rules.named_candidate)
            if waited_for and self.answers(candidate) and self.servers.by_host[candidate].running:
                return False
        members = sync.members | {sync.leader} if sync != NOBODY else frozenset(self.peers)
        rivals = [name for name in sorted(members) if name != self.host]
        if self.rules.held_back:
            rivals = [name for name in rivals if self.may_race(sync.leader, name)]
        if any(not self.answers(name) for name in rivals):
            yield 2000  # the request to a dead member times out
        for name in rivals:
            rival = self.servers.by_host[name]
            if not self.answers(name) or not rival.running:
                continue
            if rival.primary:
                return False
            if len(rival.wal) > len(server.wal) and name != sync.leader:
                return False
        return True

    def answers(self, name: str) -> bool:
        """Whether another host's Patroni answers on its REST interface."""
        process = self.peers[name].process
        awake = process is not None and process.alive and process.paused_until <= self.engine.now
        return awake and self.network.both_ways(self.host, name)

    def follow(self) -> Step:
        """`follow`: a primary demotes itself; a standby receives from the lock holder."""
        if self.server.primary:
            self.log("has no lock: demotes itself")
            yield from self.demote()
            return
        snapshot = self.cache.copy()
        lock, offer = snapshot.get(LEADER), offer_in(snapshot)
        if offer is not None and self.is_kept(offer) and (lock is None or self.parts_from == lock.value):
            return
        leader = lock.value if lock is not None else self.believed(snapshot)
        if leader in ("", self.host):
            return
        self.server.follow(leader)
        if self.server.diverged and self.can_rewind(leader):
            yield from self.rewind(leader)

    def can_rewind(self, leader: str) -> bool:
        upstream = self.servers.by_host[leader]
        return upstream.primary and upstream.running and self.network.both_ways(self.host, leader)

    def rewind(self, leader: str) -> Step:
        """`rewind_or_reinitialize_needed_and_possible`: PostgreSQL is stopped; what is broken off is torn."""
        server, upstream = self.server, self.servers.by_host[leader]
        self.rewinds(self.host)
        server.stop()
        server.torn = True
        yield 2000
        if not self.can_rewind(leader):
            self.log(f"the rewind to {leader} was broken off")
            return
        server.wal, server.timeline = list(upstream.wal), upstream.timeline
        server.files = folder_of(upstream.files)
        server.torn, server.diverged = False, False
        server.require(frozenset())
        server.follow(leader)
        server.running = True
        self.log(f"rewound to {leader}")

    def is_kept(self, offer: Entry) -> bool:
        """`kept_members.parting`: who is kept looks for the end of its stream from the old primary."""
        word = json.loads(offer.value)
        if self.host not in word.get("kept", ()) or self.host in (word["leader"], word["member"]):
            return False
        if self.watched != offer.revision:
            self.watched, self.parts_from = offer.revision, ""
            hazard = self.process.hazard if self.process else 0
            body = self.part(word["leader"], word["member"], offer.revision)
            self.engine.spawn(f"{self.host}/part", body, hazard)
        return True

    def part(self, old: str, candidate: str, revision: int) -> Body:
        """Streams from the candidate once the old primary streams no more, while the offer stands."""
        primary, end = self.servers.by_host[old], self.engine.now + 15_000
        while primary.running and primary.primary and self.network.both_ways(self.host, old):
            yield 30
            if self.engine.now >= end:
                return
        yield self.engine.rng.randrange(50, 250)
        snapshot = self.cache.copy()
        offer, lock = offer_in(snapshot), snapshot.get(LEADER)
        if offer is None or offer.revision != revision or (lock is not None and lock.value != old):
            return
        alive = self.process is not None and self.process.alive
        if alive and self.server.running and not self.server.primary:
            self.parts_from = old
            self.server.follow(candidate)

    def demote(self) -> Step:
        """`demote`: PostgreSQL ends, and comes back as a standby that waits for nobody."""
        self.server.stop()
        self.server.primary = False
        self.watchdog_at = None
        yield self.engine.rng.randrange(200, 800)
        self.server.require(frozenset())
        self.server.follow(None)
        self.server.running = True

    def recover(self, snapshot: Snapshot) -> Step:
        """`recover`: a crashed primary with its lock starts in place, anything else as a standby."""
        lock = snapshot.get(LEADER)
        if self.server.torn:
            if lock is not None and self.can_rewind(lock.value):
                yield from self.rewind(lock.value)
            return
        mine = lock is not None and lock.value == self.host and (yield from self.update_lock(lock))
        yield self.engine.rng.randrange(*((2500, 8000) if self.booted else (500, 2000)))
        self.booted = False
        if self.server.primary and mine:
            self.server.running = True
            return
        self.server.primary = False
        self.watchdog_at = None
        self.server.require(frozenset())
        self.server.follow(None)
        self.server.running = True
