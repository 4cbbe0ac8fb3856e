"""What an operator sees: sites, hosts, roles, lag, who may take over and why not. Pure, from one view."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from failover import block
from failover.candidates import acknowledged_lsn, received_lsn
from failover.clients_way import EdgeRow, PoolerRow, edge_rows, pooler_rows
from failover.dcs_members import MemberRow, member_rows
from failover.guards import GUARDS, Case, Held, Verdict
from failover.handover import Pooler
from failover.policy import MoveKind, Policy
from failover.publication import Detail, Pulse, Remembered
from failover.readiness import would_move
from failover.table import ENDED
from failover.view import DcsState, NotSeen, Observation, Operation, Phase, Reach, Role, SyncMode, View
from failover.votes import fresh, votes

# Primary and standby are probed at different moments: while the primary writes, a standby that has everything
# seems to be behind by what was written between the two. More than this is more than that.
MOMENT_BYTES = 16 << 20
# What must hold for a standby before anything has happened. The others judge the primary's silence (here
# `failover.readiness` asks who would be left to notice it), or (`block_over`) need a reader that has watched
# for longer than a screen does.
READINESS = (
    "all_acknowledge",
    "sync_is_the_holders",
    "candidate_in_sync",
    "candidate_ready",
    "candidate_not_behind",
    "no_hold",
    "not_paused",
    "no_failover_key",
    "policy_allows",
)


@dataclass(frozen=True, slots=True)
class HostRow:
    """One database host. Lags are in bytes behind the primary; None: nobody knows. Ages are in ms.

    While nobody reaches the lock holder there are no lags: they would be measured against its last word.

    `reach`: the vote of each site that has observers by the configuration; unknown where none of them lives.
    `why`: what fresh observers say besides, of a primary that answers, too.
    `against`: guards that keep it from taking over, by name, with the reason.
    `patroni`: answers, stuck, silent, refused or unknown; `patroni_mute_ms`: for how long it is not there.
    """

    host: str
    site: str
    role: str
    reach: dict[str, Reach]
    in_sync_set: bool
    received_lag: int | None
    replayed_lag: int | None
    age_ms: int | None
    may_take_over: str  # yes, no, unknown; "" for the primary
    against: dict[str, str]
    why: str = ""
    patroni: str = "unknown"
    patroni_mute_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """The whole screen. `trouble`: why the DCS was not seen, else empty. With a `hint` (what to do) it was
    seen, and cannot be judged.

    `sites`: that have observers by the configuration: so many could say something of each part.
    `observers`: all that the configuration has; fresh, silent, gone, or unknown while the DCS is not seen.
    `operation`: "blocked 13 s": the next one may begin in so long at most. `operation_age_ms`: for how long
    the operation has been as it is, at least; None without one.
    """

    cluster: str
    me: str
    trouble: str
    hint: str
    primary: str | None
    active_site: str | None
    sites: tuple[str, ...]
    site_safe: str
    dcs_age_ms: int
    operation: str
    operation_age_ms: int | None
    notes: tuple[str, ...]
    hosts: tuple[HostRow, ...]
    observers: tuple[dict[str, Any], ...]
    edges: tuple[EdgeRow, ...]
    poolers: tuple[PoolerRow, ...]
    members: tuple[MemberRow, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def overview(
    view: View,
    pulses: Mapping[str, Pulse],
    cluster: str,
    poolers: Mapping[str, Pooler | None],
    members: Mapping[str, str],
) -> Overview:
    """`pulses`: the last word of each observer. `poolers`: of each application host, None when silent.

    `members`: of the DCS, name -> site.
    """
    dcs = view.dcs
    seen = None if isinstance(dcs, NotSeen) else dcs
    holder = seen.lock.holder if seen and seen.lock else None
    return Overview(
        cluster=cluster,
        me=view.me,
        trouble=dcs.reason if isinstance(dcs, NotSeen) else "",
        hint=dcs.hint if isinstance(dcs, NotSeen) else "",
        primary=holder,
        active_site=view.site_of(holder) if holder else None,
        sites=_sites(view, members),
        site_safe=site_safe(view, seen),
        dcs_age_ms=view.dcs_age_ms,
        operation=_operation(view, seen, _operation_age(view, seen, pulses)),
        operation_age_ms=_operation_age(view, seen, pulses),
        notes=_notes(view, seen, pulses),
        hosts=tuple(
            _row(
                view,
                seen,
                holder,
                host.name,
                pulses,
                members,
                _verdicts(view, seen, holder, host.name, pulses, members),
            )
            for host in view.hosts
        ),
        observers=_observers(view, members),
        edges=edge_rows(view, pulses),
        poolers=pooler_rows(poolers, dcs_seen=seen is not None),
        members=member_rows(fresh(view), pulses, members),
    )


def site_safe(view: View, dcs: DcsState | None) -> str:
    """Whether every acknowledged commit is at another site too: yes, no, unknown."""
    if dcs is None or dcs.lock is None or dcs.config is None:
        return "unknown"
    if dcs.config.sync_mode is not SyncMode.ON:
        return "no" if dcs.config.sync_mode is SyncMode.OFF else "unknown"
    if dcs.sync is None:
        return "no"
    if dcs.sync.leader != dcs.lock.holder or dcs.sync.quorum > 0:
        return "unknown"
    home = view.site_of(dcs.lock.holder)
    return "yes" if any(view.site_of(name) != home for name in dcs.sync.members) else "no"


def _sites(view: View, members: Mapping[str, str]) -> tuple[str, ...]:
    """An observer stands on every database host, and beside every member of the DCS (`layout.observers`)."""
    return tuple(sorted({host.site for host in view.hosts} | set(members.values())))


def _operation_age(view: View, dcs: DcsState | None, pulses: Mapping[str, Pulse]) -> int | None:
    """The longest that anybody has known the operation's present revision: we have only just come."""
    if dcs is None or dcs.operation is None:
        return None
    known = [(pulses[one.observer].operation, one.age_ms) for one in fresh(view)]
    return _longest(view.operation_age_ms, dcs.operation_revision, known)


def _offer_age(view: View, dcs: DcsState, pulses: Mapping[str, Pulse]) -> int:
    """The same of what is offered in /failover."""
    known = [(pulses[one.observer].offer, one.age_ms) for one in fresh(view)]
    return _longest(view.offer_age_ms, dcs.failover_revision, known)


def _longest(own_ms: int, revision: int, known: list[tuple[Remembered | None, int]]) -> int:
    """`known`: what observers remember, and how old each one's word is."""
    told = [one.age_ms + age_ms for one, age_ms in known if one is not None and one.revision == revision]
    return max([own_ms, *told])


def _operation(view: View, dcs: DcsState | None, age_ms: int | None) -> str:
    if dcs is None or dcs.operation is None or age_ms is None:
        return "none" if dcs else "unknown"
    one = dcs.operation
    text = f"takeover {one.epoch}, {one.old} to {one.candidate}: {one.phase}"
    if one.phase not in (Phase.DONE, Phase.ABORTED):
        return f"{text}, for at least {length(age_ms)}"
    return f"{text} at least {length(age_ms)} ago{_blocked(one, age_ms, view.policy)}"


def _blocked(last: Operation, age_ms: int, policy: Policy) -> str:
    """What must still wait after an operation that has ended (`block`)."""
    again_ms, back_ms = block.retry_ms(last, policy) - age_ms, policy.block_ms - age_ms
    blocked = f"; blocked {length(again_ms)}" if again_ms > 0 else ""
    before = block.done_before(last)
    return blocked + (f"; not back to {before.old} for {length(back_ms)}" if before and back_ms > 0 else "")


def length(ms: int) -> str:
    """A length of time as people say it."""
    seconds = ms / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def _notes(view: View, dcs: DcsState | None, pulses: Mapping[str, Pulse]) -> tuple[str, ...]:
    """What keeps the controllers from acting at all."""
    if dcs is None:
        return ()
    notes: list[str] = []
    if dcs.lock is None:
        notes.append("nobody holds the lock: there is no primary")
    if dcs.hold_revision:
        notes.append(f"{dcs.hold or 'a hold is set'}; the controllers keep still")
    if dcs.config is not None and dcs.config.paused:
        notes.append("Patroni is paused (maintenance)")
    if dcs.failover_revision and (dcs.operation is None or dcs.operation.phase in ENDED):
        notes.append(_offered(_offer_age(view, dcs, pulses), view.policy))
    return tuple(notes)


def _offered(age_ms: int, policy: Policy) -> str:
    """Of somebody's offer that is not a takeover's. Nothing in it tells whether he still attends to it."""
    stands = f"an offer stands in /failover for at least {length(age_ms)}"
    if age_ms < policy.offer_limit_ms:
        return f"{stands}: a switchover is under way, or was left behind"
    return f"{stands}: left behind, or scheduled; a takeover does not wait for it"


def _row(
    view: View,
    dcs: DcsState | None,
    holder: str | None,
    host: str,
    pulses: Mapping[str, Pulse],
    members: Mapping[str, str],
    verdicts: Mapping[str, Verdict],
) -> HostRow:
    newest = _newest(view, host)
    seen = newest.of(host) if newest else None
    detail = pulses[newest.observer].details.get(host, Detail()) if newest else Detail()
    top = _top(view, pulses, holder, newest) if newest else None
    standby = seen is not None and seen.role is Role.STANDBY
    patroni, told = _patroni(view, pulses, host), votes(view, host)
    return HostRow(
        host=host,
        site=view.site_of(host),
        role=seen.role if seen else Role.UNKNOWN,
        reach={site: told.get(site, Reach.UNKNOWN) for site in _sites(view, members)},
        in_sync_set=bool(dcs and dcs.sync and host in dcs.sync.members),
        received_lag=_lag(top, seen.received_lsn) if seen and standby else None,
        replayed_lag=_lag(top, detail.replayed_lsn) if standby else None,
        age_ms=newest.age_ms if newest else None,
        may_take_over="" if host == holder else _may(verdicts),
        against={name: one.reason for name, one in verdicts.items() if one.held is not Held.HOLDS},
        why=_why(view, pulses, host),
        patroni=patroni.patroni or "unknown",
        patroni_mute_ms=patroni.patroni_mute_ms,
    )


def _newest(view: View, host: str) -> Observation | None:
    """The freshest word of an observer that reaches the host; its own site's, if there is one."""
    able = [one for one in view.observations if one.of(host).reach is Reach.REACHABLE]
    able = [one for one in able if one.age_ms <= view.policy.fresh_ms]
    home = view.site_of(host)
    return min(able, key=lambda one: (one.site != home, one.age_ms), default=None)


def _patroni(view: View, pulses: Mapping[str, Pulse], host: str) -> Detail:
    """What is said of its Patroni; by an observer of its own site, if there is one."""
    home = view.site_of(host)
    told = min(fresh(view), key=lambda one: (one.site != home, one.age_ms), default=None)
    return pulses[told.observer].details.get(host, Detail()) if told else Detail()


def _top(view: View, pulses: Mapping[str, Pulse], holder: str | None, near: Observation) -> int | None:
    """How far the lock holder is, by `near` or who else reaches it now; None when nobody does."""
    able = [one for one in fresh(view) if holder and one.of(holder).reach is Reach.REACHABLE]
    told = min(able, key=lambda one: (one is not near, one.age_ms), default=None)
    return pulses[told.observer].details.get(holder or "", Detail()).primary_lsn if told else None


def _lag(top: int | None, lsn: int | None) -> int | None:
    return None if top is None or lsn is None else max(0, top - lsn)


def _why(view: View, pulses: Mapping[str, Pulse], host: str) -> str:
    said = {pulses[one.observer].details.get(host, Detail()).why for one in fresh(view)}
    return ", ".join(sorted(said - {""}))


def _case(view: View, dcs: DcsState, holder: str | None, host: str) -> Case:
    same = holder is not None and view.site_of(holder) == view.site_of(host)
    kind = MoveKind.IN_SITE if same else MoveKind.CROSS_SITE
    return Case(view, dcs, holder, host, kind, dcs.operation)


def _verdicts(
    view: View,
    dcs: DcsState | None,
    holder: str | None,
    host: str,
    pulses: Mapping[str, Pulse],
    members: Mapping[str, str],
) -> dict[str, Verdict]:
    """Whether this standby could take over if the primary were lost now, by code. Nothing to judge: empty."""
    if dcs is None or host == holder:
        return {}
    case = _case(view, dcs, holder, host)
    verdicts = {name: GUARDS[name](case) for name in READINESS} | would_move(case, pulses, members)
    if holder is not None and Reach.REACHABLE in votes(view, holder).values():
        has, needs = received_lsn(view, host), acknowledged_lsn(view, holder)
        if has is not None and needs is not None and has < needs <= has + MOMENT_BYTES:
            del verdicts["candidate_not_behind"]
    return verdicts


def _may(verdicts: Mapping[str, Verdict]) -> str:
    held = {one.held for one in verdicts.values()}
    return "no" if Held.FAILS in held else "unknown" if Held.UNKNOWN in held or not held else "yes"


def _observers(view: View, members: Mapping[str, str]) -> tuple[dict[str, Any], ...]:
    """Those that were heard, and those that were not and should be there."""
    seen = bool(view.observations) or not isinstance(view.dcs, NotSeen)
    heard = {one.observer: _observer(one, view) for one in view.observations}
    stand = {host.name: host.site for host in view.hosts} | dict(members)
    missed = {
        name: {"observer": name, "site": site, "age_ms": None, "state": "gone" if seen else "unknown"}
        for name, site in stand.items()
        if name not in heard
    }
    return tuple(row for _, row in sorted((heard | missed).items()))


def _observer(one: Observation, view: View) -> dict[str, Any]:
    fresh = one.age_ms <= view.policy.fresh_ms
    state = "fresh" if fresh else "silent" if one.alive else "gone"
    return {"observer": one.observer, "site": one.site, "age_ms": one.age_ms, "state": state}
