"""A model of etcd: linearizable, with revisions, leases, transactions and watches.

Three members, one a site. A request is served when it reaches, both ways, a member that stands with the
leader in a majority. Requests travel by themselves: one that is late, or whose answer is lost, may
still be applied. After an election every lease starts again at its full time to live, as in etcd.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from failover.transaction import Compare, Put, Target, Transaction

from .engine import Engine
from .network import SITES, Network

MEMBER = {"dj": "dj-db1", "gg": "gg-db1", "sj": "sj-wt1"}
ELECTION_MS = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One key's present value."""

    value: Any
    revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """What a watch tells of one change. `value` None: deleted."""

    key: str
    value: Any
    revision: int
    lease: int


class Unavailable(Exception):
    """No answer in time. Whether the request was applied is unknown."""


class Etcd:
    """The store. Its methods without `yield` are what the leader does at one instant."""

    def __init__(self, engine: Engine, network: Network) -> None:
        self.engine, self.network = engine, network
        self.data: dict[str, Entry] = {}
        self.revision = 1
        self.history: list[tuple[int, tuple[Event, ...]]] = []  # (when, the events of one revision)
        self.leases: dict[int, list[int]] = {}  # lease: [expires, time to live]
        self.leader = "sj"
        self.stopped: set[str] = set()
        self.before_commit: Callable[[Transaction, str], None] = lambda txn, who: None
        self.on_change: list[Callable[[tuple[Event, ...]], None]] = []
        self.torn = 0.03  # chance that a watcher's copy is taken between two events of one revision
        self._next_lease = 100
        self._version: tuple[int, str] = (-1, "")
        self._serves: dict[str, bool] = {}
        self._leaderless_since: int | None = None

    # --- who is served ---------------------------------------------------------------------------

    def _up(self, site: str) -> bool:
        return site not in self.stopped and MEMBER[site] not in self.network.down

    def _majority(self, leader: str) -> frozenset[str]:
        if not self._up(leader):
            return frozenset()
        return frozenset(
            site for site in SITES if self._up(site) and self.network.both_ways(MEMBER[site], MEMBER[leader])
        )

    def serves(self, host: str) -> bool:
        version = (self.network.version, self.leader)
        if version != self._version:
            self._version, self._serves = version, {}
        known = self._serves.get(host)
        if known is None:
            known = self._serves[host] = self._reaches_majority(host)
        return known

    def stop(self, site: str, stopped: bool) -> None:
        """Stop or start one member."""
        if stopped:
            self.stopped.add(site)
        else:
            self.stopped.discard(site)
        self.network.changed()

    def _reaches_majority(self, host: str) -> bool:
        members = self._majority(self.leader)
        if len(members) < 2:
            return False
        return any(self.network.both_ways(host, MEMBER[site]) for site in members)

    def tick(self) -> None:
        """Elections and lease expiry; both need a majority.

        A leader that was without one for an election's time has stepped down, and is elected anew.
        """
        lost = self._leaderless_since
        away = lost is not None and self.engine.now - lost >= ELECTION_MS
        if len(self._majority(self.leader)) >= 2 and not away:
            self._leaderless_since = None
            self._expire()
            return
        if self._leaderless_since is None:
            self._leaderless_since = self.engine.now
        if self.engine.now - self._leaderless_since < ELECTION_MS:
            return
        for site in SITES:
            if len(self._majority(site)) >= 2:
                self.leader, self._leaderless_since = site, None
                self.engine.log("etcd", f"leader is now at {site}")
                for lease in self.leases.values():
                    lease[0] = max(lease[0], self.engine.now + lease[1])
                return

    def _expire(self) -> None:
        now = self.engine.now
        for lease in [number for number, (expires, _) in self.leases.items() if expires <= now]:
            self.revoke(lease)

    # --- the store -------------------------------------------------------------------------------

    def get(self, key: str) -> Entry | None:
        return self.data.get(key)

    def mod(self, key: str) -> int:
        entry = self.data.get(key)
        return entry.revision if entry else 0

    def apply(self, changes: list[tuple[str, Any, int]]) -> int:
        """Changes of one revision, in order: (key, value or None, lease)."""
        self.revision += 1
        events: list[Event] = []
        for key, value, lease in changes:
            if value is None:
                if key not in self.data:
                    continue
                del self.data[key]
            else:
                self.data[key] = Entry(value, self.revision, lease)
            events.append(Event(key, value, self.revision, lease))
        if events:
            self.history.append((self.engine.now, tuple(events)))
            for told in self.on_change:
                told(tuple(events))
        return self.revision

    def compare_and_put(self, key: str, value: Any, revision: int, lease: int = 0) -> int | None:
        """The new revision, or None when the key has changed."""
        return self.apply([(key, value, lease)]) if self.mod(key) == revision else None

    def grant(self, ttl_ms: int) -> int:
        self._next_lease += 1
        self.leases[self._next_lease] = [self.engine.now + ttl_ms, ttl_ms]
        return self._next_lease

    def keepalive(self, lease: int) -> bool:
        known = self.leases.get(lease)
        if known is None:
            return False
        known[0] = self.engine.now + known[1]
        return True

    def revoke(self, lease: int) -> bool:
        if self.leases.pop(lease, None) is None:
            return False
        keys = [key for key, entry in self.data.items() if entry.lease == lease]
        if keys:
            self.engine.log("etcd", f"lease {lease} is gone: {', '.join(keys)}")
            self.apply([(key, None, 0) for key in keys])
        return True

    def commit(self, transaction: Transaction, who: str) -> bool:
        """Run a transaction of ours."""
        if not all(self._holds(compare) for compare in transaction.compares):
            return False
        self.before_commit(transaction, who)
        self.apply(
            [
                (change.key, change.value, change.lease) if isinstance(change, Put) else (change.key, None, 0)
                for change in transaction.changes
            ]
        )
        return True

    def _holds(self, compare: Compare) -> bool:
        if compare.target is Target.MOD_REVISION:
            return self.mod(compare.key) == compare.equals
        entry = self.data.get(compare.key)
        return entry is not None and entry.value == compare.equals

    # --- a request over the network --------------------------------------------------------------

    def call(
        self, host: str, request: Callable[[], Any], timeout_ms: int = 1000
    ) -> Generator[int, None, Any]:
        """Send a request and wait for its answer. Raises Unavailable."""
        network, engine = self.network, self.engine
        target = MEMBER[self.leader]
        there, back = network.delay_ms(host, target), network.delay_ms(target, host)
        if engine.rng.random() < 0.003:
            there += engine.rng.randrange(200, 3000)  # stuck on the way, and applied later
        answer: list[Any] = []

        def arrive() -> None:
            if self.serves(host) and not network.lost():
                result = request()
                if not network.lost():
                    answer.append(result)

        engine.at(there, arrive)
        limit = engine.now + timeout_ms
        yield min(there + back, timeout_ms)
        if not answer:  # an answer that came while the asker slept still counts, as it would in a socket
            if engine.now < limit:
                yield limit - engine.now
            raise Unavailable
        return answer[0]
