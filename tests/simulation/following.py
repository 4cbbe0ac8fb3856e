"""A modelled Patroni as a follower: demotes itself, receives from the lock holder, rewinds, comes back.

Who is kept in a handover changes over from the old primary to the candidate by itself (ADR 9).
"""

from __future__ import annotations

import json
from typing import Any

from failover.transaction import LEADER

from .claims import Snapshot, folder_of
from .engine import Body, Process
from .etcd import Entry
from .offers import offer_in
from .promotion import Promotion
from .requests import Step


class Following(Promotion):
    """What a host without the lock does about its PostgreSQL."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.process: Process | None = None
        self.rewinds: Any = lambda host: None
        self.watched, self.parts_from = 0, ""  # the offer that keeps this host; whose stream has ended
        self.booted = False  # the machine has just started: PostgreSQL takes longer
        self.word = ("", 0)  # who has said that it goes on without etcd, and until when that is believed

    def believed(self, snapshot: Snapshot) -> str:
        """`Failsafe.leader`, and `mends.offered_lock`: who goes on without etcd; "" for nobody."""
        who, until = self.word
        offer = offer_in(snapshot)
        offered = offer is not None and json.loads(offer.value)["member"] == self.host
        return "" if offered or self.engine.now >= until else who

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
