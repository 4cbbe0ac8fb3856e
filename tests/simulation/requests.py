"""A modelled Patroni's requests to etcd: each may be late, may be lost, and may be applied all the same."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from failover.transaction import LEADER, SYNC

from .engine import Engine
from .etcd import Entry, Etcd, Unavailable
from .rules import PatroniRules, Sync
from .watching import WatchCache

TTL_MS, RETRY_MS = 20_000, 5000
WATCHDOG_MS = TTL_MS - 5000

Step = Generator[int, None, Any]


class Requests:
    """What of one host's Patroni talks to etcd. The names are those of its functions."""

    def __init__(self, host: str, engine: Engine, etcd: Etcd, rules: PatroniRules) -> None:
        self.host, self.engine, self.etcd, self.rules = host, engine, etcd, rules
        self.cache = WatchCache(etcd, host)
        self.lease = 0
        self.watchdog_at: int | None = None  # when the host is reset, unless the lock is renewed before
        self.before_write: Any = lambda host: None  # an ambush

    def log(self, what: str) -> None:
        self.engine.log(f"{self.host}/patroni", what)

    def request(self, function: Any) -> Step:
        """A request, repeated until `retry_timeout`. Raises Unavailable."""
        end = self.engine.now + RETRY_MS
        while True:
            try:
                return (yield from self.etcd.call(self.host, function))
            except Unavailable:
                if self.engine.now >= end:
                    raise
                yield 100

    def write_sync(self, value: Sync, revision: int) -> Step:
        """`write_sync_state`: compare-and-swap. The new revision, or 0 when it did not happen."""
        self.before_write(self.host)
        yield 0
        swap = self.swap_of(value, revision)
        try:
            done = yield from self.request(swap)
        except Unavailable:
            return 0
        if done is None:
            if self.etcd.serves(self.host):
                self.cache.rebuild()  # a failed transaction restarts the watch
            return 0
        self.cache.wrote(SYNC, value, done)
        self.log(f"/sync = {value.leader}: {','.join(sorted(value.members)) or '-'}")
        return done

    def swap_of(self, value: Sync, revision: int) -> Callable[[], int | None]:
        """What `write_sync` asks of etcd."""
        lock_too = self.rules.lock_in_sync_write

        def swap() -> int | None:
            lock = self.etcd.get(LEADER)
            if lock_too and (lock is None or lock.value != self.host or lock.lease != self.lease):
                return None
            return self.etcd.compare_and_put(SYNC, value, revision)

        return swap

    def refresh_lease(self) -> Step:
        """`_do_refresh_lease(force)`."""
        if self.lease and not (yield from self.request(lambda: self.etcd.keepalive(self.lease))):
            self.lease = 0
        if not self.lease:
            self.lease = yield from self.request(lambda: self.etcd.grant(TTL_MS))

    def update_lock(self, lock: Entry) -> Step:
        """`_update_leader`: with its own lease on the snapshot's lock it does not look at the key."""
        yield from self.refresh_lease()
        if lock.lease != self.lease:

            def take() -> int | None:
                now = self.etcd.get(LEADER)
                if now is not None and now.value != self.host:
                    return None
                return self.etcd.apply([(LEADER, self.host, self.lease)])

            done = yield from self.request(take)
            if done is None:
                return False
            self.cache.wrote(LEADER, self.host, done, self.lease)
        if self.watchdog_at is not None:
            self.watchdog_at = self.engine.now + WATCHDOG_MS
        return True

    def release_lock(self) -> Step:
        """`_delete_leader`: only if the value is still this host. Its cache knows at once."""

        def delete() -> int | None:
            now = self.etcd.get(LEADER)
            return self.etcd.apply([(LEADER, None, 0)]) if now and now.value == self.host else None

        done = yield from self.request(delete)
        if done is not None:
            self.cache.wrote(LEADER, None, done)
