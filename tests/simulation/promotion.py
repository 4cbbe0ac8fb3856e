"""A modelled Patroni's promotion: /sync is taken, PostgreSQL promoted, and who was kept is waited for.

How members are kept is ADR 9, and `replication.mends.kept_members`.
"""

from __future__ import annotations

from typing import Any

from failover.transaction import CONFIG, SYNC

from .claims import Snapshot
from .engine import Body, Engine, Process
from .etcd import Etcd, Unavailable
from .network import Network
from .postgres import Servers
from .requests import Step
from .rules import PatroniRules, Sync
from .sync_set import SyncSet

GATE = frozenset({"gate"})  # a standby that does not exist (`replication.mends.kept_members`)
PATIENCE_MS = 800
ATTACH_LOOKS = 12


class Promotion(SyncSet):
    """From the swap of /sync before the promotion to the one after it."""

    def __init__(
        self, host: str, engine: Engine, network: Network, etcd: Etcd, servers: Servers, rules: PatroniRules
    ) -> None:
        super().__init__(host, engine, etcd, servers, rules)
        self.network = network
        self.promotion: Process | None = None
        self.promotions: Any = lambda host: None
        self.wanted: frozenset[str] = frozenset()  # whom the offer wants to be kept in /sync
        self.taken: tuple[frozenset[str], int] | None = None  # who was kept, and the revision of /sync

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
