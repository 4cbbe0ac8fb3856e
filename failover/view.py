"""What one controller knows at one moment. Frozen, and complete: the planner sees nothing else.

No field holds the time of day, and no two machines' clocks are ever compared. An observer publishes
durations that it measured itself; a controller ages what it read by its own monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from failover.policy import MoveKind, Policy


class Reach(StrEnum):
    """Whether an observer could use a host. A primary that answers and cannot commit is unreachable."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"  # the probe told nothing: the observer was starved, starting or without a network


class Role(StrEnum):
    PRIMARY = "primary"
    STANDBY = "standby"
    UNKNOWN = "unknown"


class SyncMode(StrEnum):
    """Patroni's `synchronous_mode`."""

    ON = "on"  # every member of /sync acknowledges every commit
    QUORUM = "quorum"  # some of them do: being in /sync proves nothing about one host
    OFF = "off"


class Phase(StrEnum):
    """How far an operation has come. Persisted before the effect that it announces."""

    INTENDED = "intended"  # a controller wants this takeover; nothing has changed yet
    TRANSACTED = "transacted"  # the lock was taken from the old primary and offered to the candidate
    TAKEN = "taken"  # the candidate has held the lock: the old primary's lease may go
    REVOKED = "revoked"  # the old lease is gone; waiting for the candidate to accept writes
    DONE = "done"  # the candidate accepts writes
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Host:
    """A database host, as `sites.yml` names it."""

    name: str
    site: str


@dataclass(frozen=True, slots=True)
class HostSeen:
    """What one observer saw of one host.

    `for_ms`: how long the reach has been what it is, without a break, on the observer's monotonic clock.
    `received_lsn`: on a standby, the last WAL position received and flushed.
    `sync_lsn`: on a primary, the lowest position that all its sync standbys have flushed: every
    acknowledged commit lies at or below the `sync_lsn` of its moment. The observer goes on publishing
    the last one that it saw while the host is unreachable: it is needed just then.
    """

    host: str
    reach: Reach
    for_ms: int
    role: Role = Role.UNKNOWN
    received_lsn: int | None = None
    sync_lsn: int | None = None


@dataclass(frozen=True, slots=True)
class Observation:
    """What one observer published, and how old it is.

    The verdict (the reach of each host) stands under a key of its own, bound to the observer's lease
    and written only when a reach changes: so `verdict_revision` stays the same for as long as the
    observer is alive and of the same opinion, and a transaction can compare it.
    `age_ms`: since this controller saw the sequence advance, by its own monotonic clock.
    `alive`: its keys still stand, so its lease has not run out.
    """

    observer: str
    site: str
    age_ms: int
    verdict_revision: int
    hosts: tuple[HostSeen, ...]
    alive: bool = True

    def of(self, host: str) -> HostSeen:
        """What was seen of a host; never probed means unknown."""
        for seen in self.hosts:
            if seen.host == host:
                return seen
        return HostSeen(host, Reach.UNKNOWN, 0)


@dataclass(frozen=True, slots=True)
class Lock:
    """Patroni's `/leader`."""

    holder: str
    lease: int
    revision: int


@dataclass(frozen=True, slots=True)
class SyncSet:
    """Patroni's `/sync`. `value` is the text as read: the transaction writes it back unchanged.

    `quorum`: above 0, not every member acknowledges every commit: who races must see so many others.
    """

    leader: str
    members: frozenset[str]
    revision: int
    value: str
    quorum: int = 0


@dataclass(frozen=True, slots=True)
class Config:
    """What matters here of Patroni's `/config`."""

    sync_mode: SyncMode
    paused: bool
    revision: int


@dataclass(frozen=True, slots=True)
class Move:
    """From one primary to the next."""

    old: str
    candidate: str


@dataclass(frozen=True, slots=True)
class Operation:
    """Our own key: the takeover under way, or the last one. `epoch` rises by one with each transaction.

    `after`: the takeover that was done last, if this one was intended within its block period (`block`).
    """

    epoch: int
    phase: Phase
    kind: MoveKind
    old: str
    candidate: str
    old_lease: int
    note: str = ""
    after: Move | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's yes to one takeover, from one primary. A new holder of the lock needs a new yes.

    `lock_revision`: of the lock that was to be taken; 0 when nobody held it. `revision`: the approval's own.
    It is written under a short lease and used up by the transaction that it allows.
    """

    candidate: str
    old: str
    lock_revision: int
    by: str
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Status:
    """Patroni's `/status`: rewritten, with the same meaning, it wakes every standby's Patroni at once."""

    value: str
    revision: int


@dataclass(frozen=True, slots=True)
class DcsState:
    """All keys, from one linearizable range read: one revision. None means that the key is absent.

    A revision is etcd's `mod_revision`; 0 means that the key is absent.
    `failover_revision`: of an offer in /failover, anybody's; 0 when nothing is offered.
    `failover_emptied`: of /failover when it stands there and offers nothing: Patroni writes `{}` into it
    after a switchover and does not delete it.
    `hold`: of a person on the controllers, in words (`failover.hold`).
    `signed_epoch`: of the last forced failover, 0 if there was none.
    """

    lock: Lock | None
    sync: SyncSet | None
    config: Config | None
    failover_revision: int = 0
    failover_emptied: int = 0
    operation: Operation | None = None
    operation_revision: int = 0
    hold_revision: int = 0
    hold: str = ""
    approval: Approval | None = None
    status: Status | None = None
    signed_epoch: int = 0


@dataclass(frozen=True, slots=True)
class NotSeen:
    """The DCS was not read: no majority answered in time. That is not the same as an empty DCS.

    Or what was read cannot be judged; then `hint` says what to do.
    """

    reason: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Prospect:
    """What promoting one candidate now would lose, as far as it is known (None: nobody knows).

    `proved`: nothing that the primary has acknowledged. Without it the rest is no bound of the loss: what
    was acknowledged since the primary was last seen is in none of these figures, and 0 is not "nothing".
    `lacks_bytes`, `lacks_transactions`: what the candidate lacks at most of what the primary had when it
    was last seen. Transactions count from the first that the candidate lacks; those that were rolled back,
    and the observers' own, count too.
    `back_ms`: about how old the oldest is that could be lost; until now, so not only of what was seen.
    `seen_ms`: since the primary was last seen.
    """

    candidate: str
    primary: str
    proved: bool
    lacks_bytes: int | None
    lacks_transactions: int | None
    seen_ms: int | None
    back_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waiting costs. `lease_left_ms`: until Patroni's lease runs out."""

    lease_left_ms: int | None
    deadlines_crossed: int | None


@dataclass(frozen=True, slots=True)
class View:
    """One controller's knowledge.

    `dcs_age_ms`: since the read of the DCS *began*.
    `operation_age_ms`: since this controller first saw the operation's present revision. A controller
    that has just started begins at 0 and so waits longer, never shorter.
    `seeing_ms`: since this controller began to see the DCS without a break. `met`: the hosts that a fresh
    observer has reached since then.
    `offer_age_ms`: since this controller first saw the present offer in /failover.
    """

    me: str
    policy: Policy
    hosts: tuple[Host, ...]
    dcs: DcsState | NotSeen
    dcs_age_ms: int
    operation_age_ms: int
    observations: tuple[Observation, ...]
    prospects: tuple[Prospect, ...] = ()
    waiting: Waiting = field(default=Waiting(None, None))
    seeing_ms: int = 0
    met: frozenset[str] = frozenset()
    offer_age_ms: int = 0

    def site_of(self, host: str) -> str:
        """Raises KeyError for a host that `sites.yml` does not name."""
        for known in self.hosts:
            if known.name == host:
                return known.site
        raise KeyError(host)

    def hosts_at(self, site: str) -> tuple[str, ...]:
        return tuple(host.name for host in self.hosts if host.site == site)
