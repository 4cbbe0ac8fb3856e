"""What must hold, checked after every step that could break it, from the models' true state.

Nothing here asks the planner or the guards: the proof of a takeover is judged again, from etcd's contents
at the very revision and from the checker's own record of which probes failed when.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from failover.policy import Mode, MoveKind, Policy
from failover.transaction import (
    APPROVAL,
    CONFIG,
    HOLD,
    LEADER,
    OPERATION,
    SIGNED,
    SYNC,
    VERDICT,
    Put,
    Transaction,
    decode,
)
from failover.view import Operation, Phase, Reach

from .controller import Observer
from .engine import Engine, Violation
from .etcd import Etcd, Event
from .postgres import Postgres, Servers

# How old the last failed probe of a takeover's witness may be: the observer's lease, an election that
# starts the lease again, and a request that was stuck on the way.
WITNESS_MS = 3000 + 4000 + 1500
SLACK = 0.95  # clocks drift by at most 2 %


ORDER = (
    Phase.INTENDED,
    Phase.TRANSACTED,
    Phase.TAKEN,
    Phase.REVOKED,
    Phase.DONE,
    Phase.ABORTED,
)


def _forward(before: Phase, now: Phase) -> bool:
    """A phase leads to a later one; what has ended leads to a new intent."""
    if before in (Phase.DONE, Phase.ABORTED):
        return now is Phase.INTENDED
    return ORDER.index(now) > ORDER.index(before)


def _signable(before: Phase, now: Phase) -> bool:
    """A signature is intent and transaction in one."""
    return before in (Phase.DONE, Phase.ABORTED) and now is Phase.TRANSACTED


@dataclass
class Invariants:
    """One run's checker. Raises `Violation`."""

    engine: Engine
    etcd: Etcd
    servers: Servers
    observers: tuple[Observer, ...]
    policy: Policy
    site_of: dict[str, str]
    primary: str = "dj-db1"  # the host that was promoted last
    held: set[str] = field(default_factory=set)  # who has had the lock since the last takeover transaction
    was_primary: set[str] = field(default_factory=set)  # who has been promoted since then
    timelines: dict[int, str] = field(default_factory=dict)
    numbers: dict[int, str] = field(default_factory=dict)  # which promotion began which timeline
    ended: tuple[int, Operation] | None = None  # the last that changed something, and when it ended
    done: tuple[int, Operation] | None = None  # the last that ended well
    takeovers: int = 0
    taken_from: set[int] = field(default_factory=set)  # leases whose lock a transaction took
    promotions: int = 0
    signatures: int = 0
    signed_away: int = 0  # acknowledged commits that a person signed for
    offered: str = ""  # to whom the last takeover, or a person, gave the lock, since the last promotion
    asked_for: tuple[str, int] = ("", 0)  # whom a person's switchover names, and until when that is his word
    intended_held: bool = False  # the lock was held when the intent was written
    starting_until: int = 0  # all has just been started, or is just restarted: nothing has to move
    lock_revoked: int = 0  # a revocation that hit a lock taken back with the same lease: costs time only

    def fail(self, invariant: str, detail: str) -> None:
        self.engine.log("INVARIANT", f"{invariant}: {detail}")
        raise Violation(invariant, detail)

    # --- data ------------------------------------------------------------------------------------

    def missing_from(self, server: Postgres) -> int:
        """How many acknowledged commits a server has not."""
        return len(set(self.servers.acknowledged).difference(server.wal))

    def promoted(self, host: str) -> None:
        """No acknowledged commit is missing from the new primary; a move that waits for a person had one."""
        same = self.site_of[host] == self.site_of[self.primary]
        mode = self.policy.mode(MoveKind.IN_SITE if same else MoveKind.CROSS_SITE)
        asked = host == self.asked_for[0] and self.engine.now < self.asked_for[1]
        if mode is Mode.APPROVE and host not in (self.primary, self.offered) and not asked:
            self.fail("a move that waits for a person", f"{self.primary} -> {host} was made by itself")
        self.primary, self.offered, self.asked_for = host, "", ("", 0)
        self.was_primary.add(host)
        self.promotions += 1
        self._numbered(self.servers.by_host[host])
        lost = self.missing_from(self.servers.by_host[host])
        if lost:
            self.fail("no acknowledged commit is lost", f"{host} was promoted without {lost} of them")

    def _numbered(self, server: Postgres) -> None:
        """No two promotions use one timeline number: two histories would be taken for one."""
        if (before := self.numbers.get(server.timeline)) is not None:
            self.fail("a timeline number is used once", f"{server.timeline}: by {before}, and {server.host}")
        self.numbers[server.timeline] = server.host

    def acknowledged(self, server: Postgres, record: int) -> None:
        """Only the newest primary acknowledges, and a timeline has one primary."""
        if server.host != self.primary:
            self.fail(
                "one host acknowledges",
                f"{server.host} acknowledged {record} after {self.primary} was promoted",
            )
        if self.timelines.setdefault(server.timeline, server.host) != server.host:
            self.fail("a timeline has one primary", f"{server.timeline}: {server.host} too")

    def rewound(self, host: str) -> None:
        """Nobody is rewound whom /sync names: while that lasts, it could not take its primary's place."""
        sync = self.etcd.data[SYNC].value
        if host in sync.members:
            self.fail(
                "who is named can be promoted", f"{host} is rewound, and /sync of {sync.leader} names it"
            )

    def standing(self) -> None:
        """Never two hosts that could acknowledge a commit now."""
        servers = self.servers
        able = [server.host for server in servers.by_host.values() if servers.can_acknowledge(server)]
        if len(able) > 1:
            self.fail("one host can acknowledge", ", ".join(able))

    # --- takeovers -------------------------------------------------------------------------------

    def changed(self, events: tuple[Event, ...]) -> None:
        """Note who has the lock. Who takes it on a person's word was offered it, however late he promotes."""
        taken = {event.value for event in events if event.key == LEADER and event.value is not None}
        self.held |= taken
        if self.asked_for[0] in taken and self.engine.now < self.asked_for[1]:
            self.offered = self.asked_for[0]

    def before_commit(self, transaction: Transaction, who: str) -> None:
        """Judge each of our transactions just before it is applied."""
        written = [one for one in transaction.changes if isinstance(one, Put) and one.key == OPERATION]
        if not written:
            return
        now = decode(written[0].value)
        entry = self.etcd.get(OPERATION)
        before = decode(entry.value) if entry else None
        self.engine.log(f"{who}/controller", f"{now.phase} epoch {now.epoch}: {now.old} -> {now.candidate}")
        if before is not None and now.epoch < before.epoch:
            self.fail("the epoch only rises", f"{before.epoch} -> {now.epoch}")
        signed = any(one.key.startswith(SIGNED) for one in transaction.changes)
        if before is not None and not (_signable if signed else _forward)(before.phase, now.phase):
            self.fail("an operation goes forward", f"{before.phase} -> {now.phase}")
        if now.phase is Phase.INTENDED:
            self.intended_held = LEADER in self.etcd.data
        if signed:
            self._signed(now, before)
        elif now.phase is Phase.TRANSACTED:
            self._takeover(now, before)
        if now.phase is Phase.TRANSACTED:
            self.offered = now.candidate
        if now.phase in (Phase.TAKEN, Phase.REVOKED, Phase.DONE) and now.candidate not in self.held:
            self.fail(
                "an epoch has one primary", f"{now.phase}: {now.candidate} never had the lock of {now.epoch}"
            )
        if now.phase is Phase.DONE and now.candidate not in self.was_primary:
            self.fail("an epoch has one primary", f"{now.epoch} is done, {now.candidate} was not promoted")
        nothing_changed = now.phase is Phase.ABORTED and now.note.startswith(Phase.INTENDED)
        if now.phase in (Phase.DONE, Phase.ABORTED) and not nothing_changed:
            self.ended = self.engine.now, now
        if now.phase is Phase.DONE:
            self.done = self.ended

    def before_revoke(self, lease: int) -> None:
        """A lease is revoked only when its holder's lock has been taken by a transaction."""
        entry, lock = self.etcd.get(OPERATION), self.etcd.get(LEADER)
        operation = decode(entry.value) if entry else None
        if lease not in self.taken_from:  # one that was paused may come late, and then the lease is long gone
            self.fail("no takeover without proof", f"lease {lease} revoked in {operation}")
        if operation and operation.old_lease == lease and operation.candidate not in self.held:
            self.fail(
                "an epoch has one primary", f"lease {lease} revoked before {operation.candidate} had the lock"
            )
        if lock is not None and lock.lease == lease:
            self.lock_revoked += 1

    def _signed(self, operation: Operation, before: Operation | None) -> None:
        """What the candidate lacks at this moment is signed away; nobody else runs, so nothing is added."""
        if operation.epoch != (before.epoch if before else 0) + 1:
            self.fail("the epoch only rises", f"{before and before.epoch} -> {operation.epoch}")
        running = [server.host for server in self.servers.by_host.values() if server.running]
        if running != [operation.candidate]:
            self.fail("a signature is for a host that is alone", ", ".join(running))
        has = set(self.servers.by_host[operation.candidate].wal)
        kept = [record for record in self.servers.acknowledged if record in has]
        self.signed_away += len(self.servers.acknowledged) - len(kept)
        self.servers.acknowledged[:] = kept
        self.taken_from.add(operation.old_lease)
        self.held, self.was_primary = set(), set()
        self.signatures += 1

    def _takeover(self, operation: Operation, before: Operation | None) -> None:
        self.takeovers += 1
        self.taken_from.add(operation.old_lease)
        if operation.epoch != (before.epoch if before else 0) + 1:
            self.fail("the epoch only rises", f"{before and before.epoch} -> {operation.epoch}")
        self.held, self.was_primary = set(), set()
        self._flapping(operation)
        if self.engine.now < self.starting_until:
            self.fail("a start moves nothing", f"{operation.old} -> {operation.candidate}")
        self._proof(operation)

    def _flapping(self, operation: Operation) -> None:
        """Not back to whom the last takeover left, within the block period; and not again at once after an
        attempt that came to nothing.

        Who has taken over and is lost itself is followed by a third at any time; so is who has the lock, and
        is lost before it is the primary. This is the guard's own rule, but for what tried and failed in
        between: what it adds is that controllers keep it together, whose clocks differ and who may have been
        asleep, or killed.
        """
        now, policy = self.engine.now, self.policy
        if self.done is not None and now - self.done[0] < policy.block_ms * SLACK:
            since, last = now - self.done[0], self.done[1]
            if operation.old != last.candidate or operation.candidate == last.old:
                move = f"{operation.old} -> {operation.candidate}"
                self.fail("no flapping", f"{move} {since} ms after {last.old} -> {last.candidate}")
        if self.ended is not None and self.ended[1].phase is Phase.ABORTED:
            since, tried = now - self.ended[0], self.ended[1]
            third = operation.old == tried.candidate and operation.candidate != tried.old
            had_lock = third and tried.note.startswith(Phase.REVOKED)
            if not had_lock and since < min(policy.retry_ms, policy.block_ms) * SLACK:
                self.fail("no flapping", f"{since} ms after {tried.note}")

    def _proof(self, operation: Operation) -> None:
        """No takeover without proof."""
        data, name = self.etcd.data, "no takeover without proof"
        lock, sync, config = data.get(LEADER), data[SYNC].value, data[CONFIG].value
        approved = self._approved(operation)
        named = sync.members | {sync.leader}
        if (lock is not None and lock.value != operation.old) or operation.old not in named:
            self.fail(name, f"{operation.old} has not the lock, or /sync does not name it")
        if lock is None and not approved and not self.intended_held:
            self.fail(name, "a free lock is a person's, or Patroni's")
        if operation.candidate not in named:
            self.fail(name, f"{operation.candidate} is not in /sync")
        if config["mode"] != "on" or config["pause"] or HOLD in data:
            self.fail(name, f"config {config}, hold {HOLD in data}")
        lost = self.missing_from(self.servers.by_host[operation.candidate])
        if lost:
            self.fail(name, f"{operation.candidate} lacks {lost} acknowledged commits")
        if self.policy.mode(operation.kind) is not Mode.AUTOMATIC and not approved:
            self.fail(name, f"{operation.kind} moves are not automatic, and nobody has approved")
        if lock is None:
            return  # the register alone makes it safe
        home = self.site_of[operation.candidate]
        hosts = [operation.old]
        if self.site_of[operation.old] != home and not approved:
            hosts = [
                host for host in self.servers.by_host if self.site_of[host] == self.site_of[operation.old]
            ]
        against = {site for site in ("dj", "gg", "sj") if all(self._missed(site, host) for host in hosts)}
        if len(against) < 2 or home not in against:
            self.fail(name, f"{hosts} were unreachable only from {sorted(against)}")

    def _approved(self, operation: Operation) -> bool:
        """Whether a person's yes to this move, for this lock, stands at this very revision."""
        entry, lock = self.etcd.get(APPROVAL), self.etcd.get(LEADER)
        if entry is None:
            return False
        candidate, old, revision, _ = entry.value
        same_lock = lock is None or lock.revision == revision
        return (candidate, old) == (operation.candidate, operation.old) and same_lock

    def _missed(self, site: str, host: str) -> bool:
        """Whether a site's observers have in truth not reached a host for a whole window, lately."""
        missed = False
        for observer in self.observers:
            if observer.site != site:
                continue
            verdict = self.etcd.get(VERDICT + observer.name)
            if verdict is None:
                continue
            opinion = dict(verdict.value).get(host)
            settled = observer.probed_at - observer.started_at > 2000
            streak = observer.streaks.get(host)
            if (
                opinion is Reach.UNREACHABLE
                and streak is not None
                and self.engine.now - streak.ended <= WITNESS_MS
                and streak.ended - streak.began >= self.policy.window_ms * SLACK
            ):
                missed = True
            elif opinion is Reach.REACHABLE and settled:
                return False  # its last word, under a living lease, is another
        return missed
