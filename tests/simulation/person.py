"""A person at a console: sees that nothing is acknowledged, reads the state, and approves a move.

Not a careful one: the approval may name any member of the sync set, may be late, and may be sent although
the primary has just come back. It stands under a lease, as `hanbat failover` writes it.
"""

from __future__ import annotations

from dataclasses import dataclass

from failover.transaction import APPROVAL, LEADER, SYNC

from .engine import Body, Engine
from .etcd import Etcd, Unavailable
from .postgres import Servers

PATIENCE_MS = 4000


@dataclass
class Operator:
    """Sits at the backup's application host. `approvals`: (candidate, old, lock revision), by revision."""

    host: str
    engine: Engine
    etcd: Etcd
    servers: Servers

    def body(self) -> Body:
        rng = self.engine.rng
        while True:
            yield rng.randrange(500, 3000)
            quiet = self.engine.now - self.servers.last_acknowledged_ms
            if quiet < PATIENCE_MS and rng.random() > 0.002:
                continue
            try:
                yield from self.approve()
            except Unavailable:
                continue

    def approve(self) -> Body:
        rng = self.engine.rng
        read = yield from self.etcd.call(self.host, lambda: dict(self.etcd.data))
        lock, sync = read.get(LEADER), read[SYNC].value
        old = lock.value if lock else sync.leader
        others = sorted(sync.members - {old})
        if not others:
            return
        wanted = (rng.choice(others), old, lock.revision if lock else 0, "kim")
        yield rng.randrange(200, 4000)  # reads the plan, and types

        def write() -> int:
            lease = self.etcd.grant(rng.randrange(10_000, 40_000))
            return self.etcd.apply([(APPROVAL, wanted, lease)])

        yield from self.etcd.call(self.host, write)
        self.engine.log("operator", f"approves {wanted[1]} -> {wanted[0]}")
