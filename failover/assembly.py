"""One snapshot of etcd, and what was seen before, to the planner's view. No I/O; time is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from failover.candidates import acknowledged_lsn, last_primary, named_in, received_lsn
from failover.etcd_json import Entry
from failover.freshness import NEVER_MS, Freshness
from failover.meeting import Meeting
from failover.patroni_keys import dcs_state
from failover.policy import Policy
from failover.publication import PULSE, Pulse, pulses
from failover.table import ENDED
from failover.transaction import FAILOVER, OPERATION, VERDICT
from failover.view import DcsState, Host, HostSeen, NotSeen, Observation, Prospect, Reach, SyncMode, View
from failover.votes import fresh

STRANGER = (
    "name it in sites.yml again and render every host; before it is taken out it must not be the primary, "
    "nor in /sync (stop its Patroni and wait)"
)


@dataclass
class Assembly:
    """One reader's memory: its ages, the last word of each observer, and whom it has met."""

    me: str
    policy: Policy
    hosts: tuple[Host, ...]
    freshness: Freshness = field(default_factory=Freshness)
    remembered: dict[str, tuple[Pulse, int]] = field(default_factory=dict[str, tuple[Pulse, int]])
    meeting: Meeting = field(default_factory=Meeting)
    positions: dict[tuple[str, str], tuple[int, int]] = field(
        default_factory=dict[tuple[str, str], tuple[int, int]]
    )  # (observer, host) -> a sync_lsn, and the epoch in which it was first seen

    def view(self, read: Mapping[str, Entry], began_ms: int, now_ms: int) -> View:
        """`began_ms`: when the read was begun; `now_ms`: when it was there. Both on this reader's clock."""
        if self.meeting.is_cut(now_ms, self.policy):
            self.freshness.doubt()
        operation = read.get(OPERATION)
        self.freshness.note(OPERATION, operation.revision if operation else 0, now_ms)
        offer = read.get(FAILOVER)
        self.freshness.note(FAILOVER, offer.revision if offer else 0, now_ms)
        dcs = self._known(dcs_state(read))
        observations = self._observations(read, now_ms)
        if not isinstance(dcs, NotSeen):
            observations = self._of_this_history(observations, dcs)
        seeing_ms = self.meeting.seen(began_ms, now_ms, observations, self.policy)
        view = View(
            me=self.me,
            policy=self.policy,
            hosts=self.hosts,
            dcs=dcs,
            dcs_age_ms=now_ms - began_ms,
            operation_age_ms=self.freshness.since_change_ms(OPERATION, now_ms),
            offer_age_ms=self.freshness.since_change_ms(FAILOVER, now_ms),
            observations=observations,
            seeing_ms=seeing_ms,
            met=self.meeting.met(self.policy),
        )
        return with_prospects(view, self.last_pulses())

    def unseen(self, reason: str, now_ms: int) -> View:
        """The view when etcd was not read."""
        return View(self.me, self.policy, self.hosts, NotSeen(reason), 0, 0, ())

    def last_pulses(self) -> dict[str, Pulse]:
        """The last word of each observer ever heard, for people."""
        return {name: pulse for name, (pulse, _) in self.remembered.items()}

    def _known(self, dcs: DcsState | NotSeen) -> DcsState | NotSeen:
        """A state that names a host which the topology does not: nothing can be said of it."""
        if isinstance(dcs, NotSeen):
            return dcs
        known = {host.name for host in self.hosts}
        strangers = [
            f"{name} ({where})" for where, names in named(dcs).items() for name in sorted(names - known)
        ]
        return NotSeen(f"sites.yml does not name {', '.join(strangers)}", STRANGER) if strangers else dcs

    def _observations(self, read: Mapping[str, Entry], now_ms: int) -> tuple[Observation, ...]:
        found, _ = pulses(read)
        for name, pulse in found.items():
            verdict = read.get(VERDICT + name)
            self.remembered[name] = (pulse, verdict.revision if verdict else -1)
            self.freshness.note(name, pulse.sequence, now_ms)
        return tuple(
            Observation(
                observer=name,
                site=pulse.site,
                age_ms=self.freshness.since_advance_ms(name, now_ms),
                verdict_revision=verdict_revision,
                hosts=pulse.hosts,
                alive=PULSE + name in read,
            )
            for name, (pulse, verdict_revision) in sorted(self.remembered.items())
        )

    def _of_this_history(
        self, observations: tuple[Observation, ...], dcs: DcsState
    ) -> tuple[Observation, ...]:
        """Without the positions from before a forced failover: what it gave up must not block the next."""
        epoch = dcs.operation.epoch if dcs.operation else 0
        return tuple(
            replace(one, hosts=tuple(self._position(one.observer, seen, epoch, dcs) for seen in one.hosts))
            for one in observations
        )

    def _position(self, observer: str, seen: HostSeen, epoch: int, dcs: DcsState) -> HostSeen:
        if seen.sync_lsn is None:
            return seen
        known = self.positions.get((observer, seen.host))
        if known is None or known[0] != seen.sync_lsn:
            known = self.positions[observer, seen.host] = (seen.sync_lsn, epoch)
        return seen if known[1] >= dcs.signed_epoch else replace(seen, sync_lsn=None)


def named(dcs: DcsState) -> dict[str, set[str]]:
    """The hosts that matter now, by what names them. Whom an ended takeover names may have left since."""
    one = dcs.operation
    return {
        "the lock": {dcs.lock.holder} if dcs.lock else set(),
        "/sync": {dcs.sync.leader, *dcs.sync.members} if dcs.sync else set(),
        "the takeover under way": {one.old, one.candidate} if one and one.phase not in ENDED else set(),
    }


def with_prospects(view: View, last: Mapping[str, Pulse]) -> View:
    """The view, with what promoting each reachable standby would lose, for people."""
    primary = None if isinstance(view.dcs, NotSeen) else last_primary(view.dcs)
    if primary is None:
        return view
    end = _end(view, primary, last)
    made = [_prospect(view, host.name, primary, end, last) for host in view.hosts if host.name != primary]
    return replace(view, prospects=tuple(one for one in made if one is not None))


@dataclass(frozen=True, slots=True)
class End:
    """How far the primary was when it was last seen; `xid`: above all transactions that had ended."""

    lsn: int | None
    xid: int | None
    age_ms: int | None


def _end(view: View, primary: str, last: Mapping[str, Pulse]) -> End:
    """The newest word of it. An older one that is higher may be of a history that was given up."""
    words = [
        End(detail.primary_lsn, detail.xid, _age(one.age_ms, detail.primary_age_ms))
        for one in view.observations
        if (pulse := last.get(one.observer)) is not None
        and (detail := pulse.details.get(primary)) is not None
        and detail.primary_lsn is not None
    ]

    def rank(word: End) -> tuple[bool, int, int]:
        return (word.age_ms is None, word.age_ms or 0, -(word.lsn or 0))

    return min(words, key=rank, default=End(None, None, None))


def _age(pulse_ms: int, then_ms: int | None) -> int | None:
    """Of what was `then_ms` old in a pulse. A pulse that was never seen to change is of unknown age."""
    return None if then_ms is None or pulse_ms >= NEVER_MS else pulse_ms + then_ms


def _prospect(view: View, host: str, primary: str, end: End, last: Mapping[str, Pulse]) -> Prospect | None:
    """None: nobody reaches the host."""
    seen = [one for one in fresh(view) if one.of(host).reach is Reach.REACHABLE]
    if not seen:
        return None
    if has_all(view, host, primary):
        return Prospect(host, primary, True, 0, 0, end.age_ms)
    xids = [
        xid
        for one in seen
        if (pulse := last.get(one.observer)) is not None
        and host in pulse.details
        and (xid := pulse.details[host].xid) is not None
    ]
    lacks = _at_most(end.lsn, received_lsn(view, host))
    transactions = 0 if lacks == 0 else _at_most(end.xid, max(xids, default=None))
    return Prospect(host, primary, False, lacks, transactions, end.age_ms)


def has_all(view: View, host: str, primary: str) -> bool:
    """Whether it is proved that a standby has every commit that the primary has acknowledged.

    /sync names both (`guards.sync_names_the_holder`), all of its members acknowledge every commit, and the
    standby still has what the sync set was seen to have: its data directory was not lost since. Where nobody
    measured that, /sync is believed (ADR 6). No position proves it without /sync: what the primary wrote
    later is in none.
    """
    if isinstance(view.dcs, NotSeen):
        return False
    sync, config = view.dcs.sync, view.dcs.config
    if sync is None or config is None or config.sync_mode is not SyncMode.ON or sync.quorum > 0:
        return False
    has, needs = received_lsn(view, host), acknowledged_lsn(view, sync.leader)
    still = has is not None and (needs is None or has >= needs)
    return {primary, host} <= named_in(sync) and still


def _at_most(end: int | None, has: int | None) -> int | None:
    return None if end is None or has is None else max(0, end - has)
