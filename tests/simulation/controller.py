"""The observers, and the controllers: the real planner and the real executor, one of each a site."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from failover import planner, transaction
from failover.commands import Command, RevokeLease, TakeLock, Write
from failover.executor import Answer, steps
from failover.freshness import Freshness
from failover.meeting import Meeting
from failover.planned_restart import Away, after, judged
from failover.planner import Decision
from failover.policy import Policy
from failover.publication import Detail
from failover.streaks import Probe
from failover.transaction import (
    APPROVAL,
    CONFIG,
    FAILOVER,
    HOLD,
    LEADER,
    OPERATION,
    STATUS,
    SYNC,
    VERDICT,
)
from failover.view import (
    Approval,
    Config,
    DcsState,
    Host,
    HostSeen,
    Lock,
    NotSeen,
    Observation,
    Reach,
    Role,
    Status,
    SyncMode,
    SyncSet,
    View,
)

from .engine import Body, Engine
from .etcd import Entry, Etcd, Unavailable
from .network import Network
from .offers import EMPTIED
from .postgres import Servers
from .rules import NOBODY

PULSE = "hanbat/pulse/"
PROBE_MS, TICK_MS, OBSERVER_TTL_MS = 300, 250, 3000


@dataclass(slots=True)
class Streak:
    """One observer's unbroken run of failed probes of one host, in true time: the checker's own record."""

    began: int
    ended: int
    broken: bool = False


@dataclass
class Observer:
    """Probes each database host, and publishes a verdict (when it changes) and a pulse (always)."""

    name: str
    site: str
    host: str
    engine: Engine
    network: Network
    etcd: Etcd
    servers: Servers
    rate: float  # of its clock: it drifts
    streaks: dict[str, Streak] = field(default_factory=dict)
    sync_lsn: dict[str, int] = field(default_factory=dict)
    started_at: int = 0
    blind_until: int = 0  # until then its probes tell nothing
    probed_at: int = 0
    lease: int = 0
    revision: int = -1  # of its pulse; -1: not known
    unknown_rate: float = 0.002
    away: dict[str, Away | None] = field(default_factory=dict)
    says: Callable[[str, str], str] = lambda observer, host: (
        ""
    )  # what a host's Patroni says of its PostgreSQL

    def clock(self) -> int:
        return int(self.engine.now * self.rate)

    def body(self) -> Body:
        since: dict[str, tuple[Reach, int]] = {}
        sequence, verdict_written, self.lease, self.revision = 0, None, 0, -1
        key = PULSE + self.name
        self.started_at = self.engine.now
        while True:
            seen = tuple(self.probe(host, since) for host in self.servers.by_host)
            verdict = tuple((one.host, one.reach) for one in seen)
            sequence, self.probed_at = sequence + 1, self.engine.now
            try:
                if self.revision < 0:  # an answer was lost: what stands there now?
                    self.revision = yield from self.etcd.call(self.host, lambda: self.etcd.mod(key))
                fresh = verdict != verdict_written
                request = self.publish(verdict, fresh, (sequence, seen), self.revision)
                self.revision = yield from self.etcd.call(self.host, request)
                verdict_written = verdict if self.revision >= 0 else None
            except Unavailable:
                self.revision, verdict_written = -1, None
            yield PROBE_MS

    def publish(self, verdict: object, fresh: bool, pulse: object, revision: int) -> Callable[[], int]:
        """One transaction, bound to the observer's lease; the pulse's new revision, or -1.

        It compares the revision that the observer wrote last: an older word of its own that was long
        under way must not stand in the place of a newer one.
        """

        def request() -> int:
            etcd = self.etcd
            if etcd.mod(PULSE + self.name) != revision:
                return -1
            if self.lease and not etcd.keepalive(self.lease):
                self.lease = 0
                return -1
            if not self.lease:
                self.lease = etcd.grant(OBSERVER_TTL_MS)
            changes = [(PULSE + self.name, pulse, self.lease)]
            if fresh or VERDICT + self.name not in etcd.data:
                changes.append((VERDICT + self.name, verdict, self.lease))
            return etcd.apply(changes)

        return request

    def probe(self, host: str, since: dict[str, tuple[Reach, int]]) -> HostSeen:
        server, now = self.servers.by_host[host], self.engine.now
        answers = (
            self.network.both_ways(self.host, host)
            and server.running
            and server.frozen_until <= now
            and not self.network.lost()
        )
        reach = self.waited_for(host, Reach.REACHABLE if answers else Reach.UNREACHABLE)
        if self.engine.now < self.blind_until or self.engine.rng.random() < self.unknown_rate:
            reach = Reach.UNKNOWN
        self._record(host, reach)
        if host not in since or since[host][0] is not reach:
            since[host] = (reach, self.clock())
        for_ms = self.clock() - since[host][1]
        if reach is not Reach.REACHABLE:
            return HostSeen(host, reach, for_ms, sync_lsn=self.sync_lsn.get(host))
        if server.primary:
            self.sync_lsn[host] = max(server.covered(), 0)
            return HostSeen(host, reach, for_ms, Role.PRIMARY, sync_lsn=self.sync_lsn[host])
        return HostSeen(host, reach, for_ms, Role.STANDBY, len(server.wal), self.sync_lsn.get(host))

    def waited_for(self, host: str, reach: Reach) -> Reach:
        """The real `planned_restart`: a primary that its Patroni restarts is not missed, for a while."""
        server, now = self.servers.by_host[host], self.clock()
        there = self.network.both_ways(self.host, host) and server.frozen_until <= self.engine.now
        why = "refused" if there and not server.running else "silent"
        probe = Probe(now, now, reach, detail=Detail(why=why))
        self.away[host] = after(self.away.get(host), probe, lambda: self.says(self.host, host))
        return judged(probe, self.away[host]).reach

    def _record(self, host: str, reach: Reach) -> None:
        streak, now = self.streaks.get(host), self.engine.now
        if reach is not Reach.UNREACHABLE:
            if streak is not None:
                streak.broken = True
        elif streak is None or streak.broken:
            self.streaks[host] = Streak(now, now)
        else:
            streak.ended = now


@dataclass
class Controller:
    """One site's controller. Any of them may act; none knows of the others."""

    site: str
    host: str
    engine: Engine
    etcd: Etcd
    hosts: tuple[Host, ...]
    policy: Policy
    rate: float
    freshness: Freshness = field(default_factory=Freshness)
    remembered: dict[str, Observation] = field(default_factory=dict)
    meeting: Meeting = field(default_factory=Meeting)
    decision: Decision | None = None
    before_command: Callable[[str, str], None] = lambda site, what: None  # an ambush
    before_revoke: Callable[[int], None] = lambda lease: None

    def clock(self) -> int:
        return int(self.engine.now * self.rate)

    def body(self) -> Body:
        self.freshness, self.remembered, self.meeting = Freshness(), {}, Meeting()
        while True:
            changed = yield from self.turn()
            yield 5 if changed else TICK_MS

    def turn(self) -> Generator[int, None, bool]:
        """Observe, plan, act."""
        began = self.clock()
        try:
            read = yield from self.etcd.call(self.host, lambda: dict(self.etcd.data))
        except Unavailable:
            return False
        view = self.view(read, began)
        decision = planner.plan(view)
        decided = self.clock()
        if decision.commands and (self.decision is None or decision.row != self.decision.row):
            self.engine.log(f"{self.site}/controller", str(decision))
        self.decision = decision
        if not decision.commands:
            return False
        yield self.engine.rng.randrange(3)
        running = steps(decision, lambda: self.clock() - decided)
        answer: Answer | None = None
        try:
            command = next(running)
            while True:
                answer = yield from self.carry_out(command)
                command = running.send(answer)
        except StopIteration as end:
            return end.value is Answer.OK and any(
                isinstance(one, Write | TakeLock) for one in decision.commands
            )

    def carry_out(self, command: Command) -> Generator[int, None, Answer]:
        try:
            match command:
                case Write() | TakeLock():
                    self.before_command(self.site, command.what if isinstance(command, Write) else "takeover")
                    yield 0
                    wanted = command.transaction
                    done = yield from self.etcd.call(self.host, lambda: self.etcd.commit(wanted, self.site))
                    return Answer.OK if done else Answer.REFUSED
                case RevokeLease():
                    lease = command.lease
                    yield from self.etcd.call(self.host, lambda: self.revoke(lease))
                    return Answer.OK
                case _:
                    return Answer.OK
        except Unavailable:
            return Answer.UNKNOWN

    def revoke(self, lease: int) -> bool:
        self.before_revoke(lease)
        return self.etcd.revoke(lease)

    def view(self, read: dict[str, Entry], began: int) -> View:
        now = self.clock()
        if self.meeting.is_cut(now, self.policy):
            self.freshness.doubt()
        operation = read.get(OPERATION)
        self.freshness.note(OPERATION, operation.revision if operation else 0, now)
        offer = read.get(FAILOVER)
        self.freshness.note(FAILOVER, offer.revision if offer else 0, now)
        observations = self.observations(read, now)
        seeing_ms = self.meeting.seen(began, now, observations, self.policy)
        return View(
            me=self.site,
            policy=self.policy,
            hosts=self.hosts,
            dcs=dcs_state(read) if CONFIG in read else NotSeen("no cluster"),
            dcs_age_ms=now - began,
            operation_age_ms=self.freshness.since_change_ms(OPERATION, now),
            offer_age_ms=self.freshness.since_change_ms(FAILOVER, now),
            observations=observations,
            seeing_ms=seeing_ms,
            met=self.meeting.met(self.policy),
        )

    def observations(self, read: dict[str, Entry], now: int) -> tuple[Observation, ...]:
        """What is published now; of a silent observer its last word, which is old and counts for little."""
        for key, entry in read.items():
            if not key.startswith(PULSE):
                continue
            name = key.removeprefix(PULSE)
            sequence, seen = entry.value
            verdict = read.get(VERDICT + name)
            self.remembered[name] = Observation(
                observer=name,
                site=name.split("/")[0],
                age_ms=0,
                verdict_revision=verdict.revision if verdict else -1,
                hosts=seen,
            )
            self.freshness.note(name, sequence, now)
        return tuple(
            Observation(
                observer=name,
                site=one.site,
                age_ms=self.freshness.since_advance_ms(name, now),
                verdict_revision=one.verdict_revision,
                hosts=one.hosts,
                alive=PULSE + name in read,
            )
            for name, one in self.remembered.items()
        )


def dcs_state(read: dict[str, Entry]) -> DcsState:
    """The keys as the planner's types."""
    lock, sync, config = read.get(LEADER), read.get(SYNC), read.get(CONFIG)
    failover, operation, hold = read.get(FAILOVER), read.get(OPERATION), read.get(HOLD)
    approval, status = read.get(APPROVAL), read.get(STATUS)
    offers = failover is not None and failover.value != EMPTIED
    named = sync is not None and sync.value != NOBODY
    return DcsState(
        lock=Lock(lock.value, lock.lease, lock.revision) if lock else None,
        sync=SyncSet(sync.value.leader, sync.value.members, sync.revision, sync.value)
        if sync and named
        else None,
        config=Config(SyncMode(config.value["mode"]), config.value["pause"], config.revision)
        if config
        else None,
        failover_revision=failover.revision if failover and offers else 0,
        failover_emptied=failover.revision if failover and not offers else 0,
        operation=transaction.decode(operation.value) if operation else None,
        operation_revision=operation.revision if operation else 0,
        hold_revision=hold.revision if hold else 0,
        approval=Approval(*approval.value, approval.revision) if approval else None,
        status=Status(status.value, status.revision) if status else None,
    )
