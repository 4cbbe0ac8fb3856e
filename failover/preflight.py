"""May the primary be handed over now, and to whom? Every reason why not, each with its remedy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from failover.candidates import acknowledged_lsn, kind_of, received_lsn, serves
from failover.dcs_members import member_rows
from failover.guards import GUARDS, Case, Held
from failover.handover import Pooler, PoolerState
from failover.manual import best_of
from failover.policy import MoveKind
from failover.publication import Pulse
from failover.replay import MOST_BYTES, SOME_BYTES, left_bytes
from failover.view import NotSeen, Phase, Reach, Role, View
from failover.votes import fresh, votes


class Weight(StrEnum):
    STOP = "stop"  # the handover is not begun
    WARN = "warn"  # it can be done, and somebody should know


@dataclass(frozen=True, slots=True)
class Reason:
    """Why not, or what to know. `code` is stable."""

    weight: Weight
    code: str
    fact: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found. `candidate` is None when there is none."""

    old: str | None
    candidate: str | None
    kind: MoveKind | None
    already_there: bool
    reasons: tuple[Reason, ...]

    @property
    def ready(self) -> bool:
        return self.candidate is not None and all(one.weight is not Weight.STOP for one in self.reasons)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ready": self.ready}


# guard of the takeover -> what to do when it does not hold
REMEDIES = {
    "not_paused": "end the maintenance: patronictl resume",
    "no_hold": "a person asked the controllers to keep still: hanbat hold show, then clear",
    "no_failover_key": (
        "wait for the switchover that is under way; a scheduled one: patronictl flush CLUSTER switchover; "
        "one that came to nothing: docs/switchover.md, When something breaks in the middle"
    ),
    "all_acknowledge": "set synchronous_mode back to on; the primary writes /sync anew in its next loop",
    "sync_is_the_holders": "wait: the primary has not written its sync set yet",
    "candidate_in_sync": (
        "wait until it streams and is in the sync set (hanbat status); where others fill the set, hand over "
        "to one of them, at its own site, first"
    ),
    "candidate_ready": "see why its own site does not reach it: hanbat status",
    "candidate_not_behind": "wait until it has received what was acknowledged: hanbat status",
}


def preflight(
    view: View,
    target: str,
    poolers: Mapping[str, Pooler | None],
    pulses: Mapping[str, Pulse],
    members: Mapping[str, str],
    before: View | None = None,
) -> Preflight:
    """Judge a handover to a site or a host.

    `poolers`: every application host, with the last word of its gatekeeper, None when it is silent.
    `pulses`: the last word of each observer. `members`: of the DCS, name -> site.
    `before`: an earlier look. Primary and candidate are probed at different moments, and while the primary
    writes, a candidate that has everything is behind the other's moment. It must by now have what the
    sync set had flushed by the earlier look.
    """
    if isinstance(view.dcs, NotSeen):
        fact = f"the DCS was not read: {view.dcs.reason}"
        return _nobody(_stop("dcs_unseen", fact, view.dcs.hint or "see etcd"))
    dcs = view.dcs
    if dcs.lock is None:
        return _nobody(_stop("no_primary", "nobody holds the lock", "wait, or hanbat failover"))
    old = dcs.lock.holder
    wanted = _hosts_of(view, target)
    if not wanted:
        known = sorted({host.site for host in view.hosts} | {host.name for host in view.hosts})
        return _nobody(
            _stop("unknown_target", f"{target} has no database host", f"one of {', '.join(known)}")
        )
    if old in wanted:
        return _there(view, old)
    candidate = best_of(view, dcs, wanted)
    kind = kind_of(view, old, candidate)
    case = Case(view, dcs, old, candidate, kind, dcs.operation)
    reasons = (
        *_guards(case, before),
        *_replay(case.view, pulses, candidate),
        *_under_way(case),
        *_seen(case),
        *_poolers(poolers),
        *_after(case),
        *_members(case.view, pulses, members),
    )
    return Preflight(old, candidate, kind, False, reasons)


def _there(view: View, old: str) -> Preflight:
    """The lock's holder was named. Whether it is the primary is another question."""
    if serves(view, old):
        return Preflight(old, old, None, True, ())
    fact = f"{old} holds the lock, and nobody reaches it as a primary"
    remedy = "see hanbat status: wait for its return, or replace it: hanbat failover --to ANOTHER"
    return Preflight(old, None, None, False, (_stop("not_reached", fact, remedy),))


def _nobody(reason: Reason) -> Preflight:
    return Preflight(None, None, None, False, (reason,))


def _stop(code: str, fact: str, remedy: str) -> Reason:
    return Reason(Weight.STOP, code, fact, remedy)


def _hosts_of(view: View, target: str) -> tuple[str, ...]:
    named = tuple(host.name for host in view.hosts if host.name == target)
    return named or view.hosts_at(target)


def _guards(case: Case, before: View | None) -> list[Reason]:
    """The guards of a takeover that also hold for a planned one. Unknown is a reason as well."""
    verdicts = {name: GUARDS[name](case) for name in REMEDIES}
    if before is not None and _has_come_to(before, case):
        del verdicts["candidate_not_behind"]
    return [
        _stop(name, one.reason, REMEDIES[name])
        for name, one in verdicts.items()
        if one.held is not Held.HOLDS
    ]


def _has_come_to(before: View, case: Case) -> bool:
    """Whether the candidate now has all that the sync set had flushed then."""
    assert case.old is not None
    assert case.candidate is not None
    has, needed = received_lsn(case.view, case.candidate), acknowledged_lsn(before, case.old)
    return has is not None and needed is not None and has >= needed


def _replay(view: View, pulses: Mapping[str, Pulse], candidate: str) -> list[Reason]:
    """Nobody can write while the candidate replays what it has: after the old primary has stopped."""
    left = left_bytes(view, pulses, candidate)
    remedy = (
        "see there whether replay is paused (pg_is_wal_replay_paused(); pg_wal_replay_resume() ends it), "
        "or held up by a long query; else wait: hanbat status"
    )
    if left is None:
        return [_stop("replay_behind", f"how far {candidate} has replayed is not known", remedy)]
    if left <= SOME_BYTES:
        return []
    weight = Weight.STOP if left > MOST_BYTES else Weight.WARN
    fact = f"{candidate} has {left >> 20} MB to replay before it can accept writes"
    return [Reason(weight, "replay_behind", fact, remedy)]


def _members(view: View, pulses: Mapping[str, Pulse], members: Mapping[str, str]) -> list[Reason]:
    """With a bare majority of the DCS one more loss in the middle leaves nobody who can take the lock."""
    rows = member_rows(fresh(view), pulses, members)
    away = [f"{row.name} ({row.healthy})" for row in rows if row.healthy is not Reach.REACHABLE]
    if not away:
        return []
    fact = f"of etcd not known to be healthy: {', '.join(away)}; {len(rows) - len(away)} of {len(rows)} are"
    remedy = f"bring it back first: {len(rows) // 2 + 1} are needed, in the middle of a handover too"
    return [Reason(Weight.WARN, "members_missing", fact, remedy)]


def _under_way(case: Case) -> list[Reason]:
    operation = case.operation
    if operation is None or operation.phase in (Phase.DONE, Phase.ABORTED):
        return []
    fact = f"takeover {operation.epoch} to {operation.candidate} is under way: {operation.phase}"
    return [_stop("takeover_under_way", fact, "wait for its end: hanbat status --watch")]


def _seen(case: Case) -> list[Reason]:
    """Primary and candidate must be seen from two sites: what nobody sees nobody can verify."""
    assert case.old is not None
    assert case.candidate is not None
    found: list[Reason] = []
    for host, role in ((case.old, Role.PRIMARY), (case.candidate, Role.STANDBY)):
        able = [site for site, vote in votes(case.view, host).items() if vote is Reach.REACHABLE]
        if len(able) < 2:
            fact = f"{host} is reached from {', '.join(able) or 'nowhere'} only"
            found.append(_stop("not_reached", fact, "see its network, its PostgreSQL, and the observers"))
        told = {one.of(host).role for one in fresh(case.view) if one.of(host).reach is Reach.REACHABLE}
        if told - {role}:
            fact = f"{host} calls itself {', '.join(sorted(told))}, and should be {role}"
            found.append(_stop("wrong_role", fact, "wait until the cluster has settled: hanbat status"))
    return found


def _poolers(poolers: Mapping[str, Pooler | None]) -> list[Reason]:
    found: list[Reason] = []
    for host, word in sorted(poolers.items()):
        if word is None:
            fact = f"the gatekeeper of {host} is silent: requests there could not be held"
            found.append(_stop("pooler_silent", fact, f"start it, or say --without {host} if {host} is off"))
        elif word.state is not PoolerState.OPEN:
            fact = f"{host} holds transactions already, for {word.handover}"
            found.append(_stop("held_already", fact, "another switchover runs: wait for its end"))
    return found


def _after(case: Case) -> list[Reason]:
    """What will be true afterwards and is worth knowing before."""
    assert case.candidate is not None
    found: list[Reason] = []
    home = case.view.site_of(case.candidate)
    elsewhere = [
        host.name
        for host in case.view.hosts
        if host.site != home and Reach.REACHABLE in votes(case.view, host.name).values()
    ]
    if not elsewhere:
        fact = f"no database host outside {home} is reachable: the new primary would have no remote copy"
        found.append(_stop("not_site_safe_after", fact, "bring a host of another site back first"))
    missing = [
        host.name for host in case.view.hosts if Reach.REACHABLE not in votes(case.view, host.name).values()
    ]
    if missing:
        fact = f"not reachable now: {', '.join(missing)}"
        found.append(Reason(Weight.WARN, "hosts_missing", fact, "a fault during the switchover costs more"))
    return found
