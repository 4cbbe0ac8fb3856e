"""A modelled Patroni's sync set: whom /sync names, and whom the primary's commits wait for."""

from __future__ import annotations

from failover.transaction import CONFIG, SYNC
from replication.mends.dragging import Drags

from .claims import Claims, Snapshot
from .engine import Engine
from .etcd import Etcd
from .postgres import Servers
from .requests import Step
from .rules import NOBODY, PatroniRules, Sync

DRAG_LIMIT_S, DRAG_TIME_S = 0.5, 4.0  # as by default


class SyncSet(Claims):
    """What a primary does about its set, the standby that drags left out (`drags.py`)."""

    def __init__(self, host: str, engine: Engine, etcd: Etcd, servers: Servers, rules: PatroniRules) -> None:
        super().__init__(host, engine, etcd, rules, servers.by_host[host])
        self.servers = servers
        self.drags = Drags(DRAG_LIMIT_S, DRAG_TIME_S)

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
        """`replication.mends.dragging.replacement`: as those that have disconnected."""
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
