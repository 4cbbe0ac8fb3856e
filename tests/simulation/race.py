"""A modelled Patroni's race for a free lock: who may take it, and who leaves it to another."""

from __future__ import annotations

import json
from typing import Any

from failover.transaction import SYNC

from .claims import HISTORY, Snapshot
from .following import Following
from .offers import offer_in
from .requests import Step
from .rules import NOBODY

SHOWN_MS = 700  # `replication.mends.shown_commit`


class Race(Following):
    """What a host asks of itself and of its peers before it takes a free lock."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.peers: dict[str, Race] = {}
        self.may_race: Any = lambda old, new: True  # which moves wait for a person (held_back)

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
