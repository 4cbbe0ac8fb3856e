"""One snapshot of etcd, and what was seen before, to the planner's view. No I/O; time is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from failover.candidates import received_lsn
from failover.etcd_json import Entry
from failover.freshness import Freshness
from failover.patroni_keys import dcs_state
from failover.policy import Policy
from failover.publication import PULSE, Pulse, pulses
from failover.transaction import OPERATION, VERDICT
from failover.view import DcsState, Host, NotSeen, Observation, Prospect, Reach, View


@dataclass
class Assembly:
    """One reader's memory: its ages, and the last word of each observer."""

    me: str
    policy: Policy
    hosts: tuple[Host, ...]
    freshness: Freshness = field(default_factory=Freshness)
    remembered: dict[str, tuple[Pulse, int]] = field(default_factory=dict[str, tuple[Pulse, int]])

    def view(self, read: Mapping[str, Entry], began_ms: int, now_ms: int) -> View:
        """`began_ms`: when the read was begun; `now_ms`: when it was there. Both on this reader's clock."""
        operation = read.get(OPERATION)
        self.freshness.note(OPERATION, operation.revision if operation else 0, now_ms)
        view = View(
            me=self.me,
            policy=self.policy,
            hosts=self.hosts,
            dcs=self._known(dcs_state(read)),
            dcs_age_ms=now_ms - began_ms,
            operation_age_ms=self.freshness.since_change_ms(OPERATION, now_ms),
            observations=self._observations(read, now_ms),
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
        named = {dcs.lock.holder} if dcs.lock else set[str]()
        named |= set(dcs.sync.members) if dcs.sync else set()
        named |= {dcs.operation.old, dcs.operation.candidate} if dcs.operation else set()
        strangers = named - known
        return NotSeen(f"hosts that sites.yml does not name: {sorted(strangers)}") if strangers else dcs

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


def with_prospects(view: View, last: Mapping[str, Pulse]) -> View:
    """The view, with what promoting each reachable standby would lose at most, for people."""
    if isinstance(view.dcs, NotSeen) or view.dcs.lock is None:
        return view
    holder = view.dcs.lock.holder
    written = [
        lsn
        for pulse in last.values()
        for host, detail in pulse.details.items()
        if host == holder and (lsn := detail.primary_lsn) is not None
    ]
    made = [_prospect(view, host.name, max(written, default=None)) for host in view.hosts]
    return replace(view, prospects=tuple(one for one in made if one and one.candidate != holder))


def _prospect(view: View, host: str, written: int | None) -> Prospect | None:
    seen = [one for one in view.observations if one.of(host).reach is Reach.REACHABLE]
    if not seen:
        return None
    assert not isinstance(view.dcs, NotSeen)
    has = received_lsn(view, host)
    if view.dcs.sync is not None and host in view.dcs.sync.members:
        lost: int | None = 0
    else:
        lost = None if has is None or written is None else max(0, written - has)
    age = min(one.age_ms for one in seen)
    return Prospect(host, lost, None, None, age)
