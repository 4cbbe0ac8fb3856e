"""The conditions of a takeover, one small function each: it holds, it fails, or it is unknown, and why.

A takeover needs every guard of its phase to hold. Unknown never counts as holding, and never as failing
where failing would allow something. What goes wrong without each of them is shown by a test of the same
name in `tests/failover/test_guards.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from failover.approvals import standing
from failover.block import wait_ms
from failover.candidates import acknowledged_before, acknowledged_lsn, named_in, received_lsn
from failover.policy import Mode, MoveKind
from failover.view import DcsState, NotSeen, Operation, Phase, Reach, Role, SyncMode, View
from failover.votes import fresh, sites_without, votes


class Held(StrEnum):
    HOLDS = "holds"
    FAILS = "fails"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    held: Held
    reason: str


@dataclass(frozen=True, slots=True)
class Case:
    """One possible takeover in one view. `candidate` is None when no sync standby is reachable."""

    view: View
    dcs: DcsState
    old: str | None
    candidate: str | None
    kind: MoveKind | None
    operation: Operation | None


Guard = Callable[[Case], Verdict]


def holds(reason: str) -> Verdict:
    return Verdict(Held.HOLDS, reason)


def fails(reason: str) -> Verdict:
    return Verdict(Held.FAILS, reason)


def unknown(reason: str) -> Verdict:
    return Verdict(Held.UNKNOWN, reason)


def check(truth: bool, reason: str) -> Verdict:
    return Verdict(Held.HOLDS if truth else Held.FAILS, reason)


def dcs_seen(view: View) -> Verdict:
    """A majority of etcd answered a linearizable read that began a moment ago."""
    if isinstance(view.dcs, NotSeen):
        return unknown(f"the DCS was not read: {view.dcs.reason}")
    if view.dcs_age_ms > view.policy.dcs_fresh_ms:
        return unknown(f"the read of the DCS began {view.dcs_age_ms} ms ago")
    return holds("a majority of etcd answered")


def not_patronis_race(case: Case) -> Verdict:
    """There is a lock to take, or a free one that Patroni's own race is held back from (ADR 6).

    Where Patroni may race for a free lock, its race is under way, and is safe.
    """
    if case.dcs.lock is not None:
        return holds(f"lock holder: {case.dcs.lock.holder}")
    if standing(case.dcs) is not None:
        return holds("nobody holds the lock, and a person has said who should")
    policy = case.view.policy
    modes = {policy.mode(case.kind)} if case.kind else {policy.in_site, policy.cross_site}
    return check(Mode.APPROVE in modes, f"nobody holds the lock; moves are {', '.join(sorted(modes))}")


def primary_unreachable(case: Case) -> Verdict:
    """At least two sites hold the primary unreachable over the whole window.

    Once nobody holds the lock, it is enough that nobody sees the last primary write: it had a whole
    lease to come back, and what makes the move safe is /sync alone.
    """
    if case.old is None:
        return unknown("no primary is known")
    if case.dcs.lock is None:
        writes = _writes(case, case.old)
        return check(not writes, f"nobody holds the lock; {case.old} is seen as a primary: {writes}")
    return _missed(case.view, case.old)


def primary_was_there(case: Case) -> Verdict:
    """This controller has met the primary since it began to see the DCS, or has waited for a whole lease.

    After a start, or after a majority of etcd was away, hosts that are only just starting are missed by
    everybody. They had no chance to be seen, and Patroni's lease gives them one.
    """
    if case.dcs.lock is None or standing(case.dcs) is not None:
        return holds("a lease has run out, or a person has decided")
    if case.old in case.view.met:
        return holds(f"{case.old} was met")
    left = case.view.policy.start_ms - case.view.seeing_ms
    return check(left <= 0, f"{case.old} may be starting: not met since {case.view.seeing_ms} ms")


def no_hold(case: Case) -> Verdict:
    """No person has asked the controllers to keep still."""
    if case.dcs.hold_revision == 0:
        return holds("no hold")
    return fails(case.dcs.hold or "a hold is set")


def not_paused(case: Case) -> Verdict:
    """Patroni is not paused (maintenance): then it would not promote anyway."""
    if case.dcs.config is None:
        return unknown("/config is absent")
    paused = case.dcs.config.paused
    return check(not paused, f"Patroni is {'paused (maintenance)' if paused else 'not paused'}")


def no_failover_key(case: Case) -> Verdict:
    """Nobody else's switchover is under way, or it has come to nothing.

    A primary that dies in the middle of a switchover leaves its offer behind, and one that is scheduled
    stands for hours: with the primary silent, an offer is waited for only so long.
    """
    if case.dcs.failover_revision == 0:
        return holds("nothing is offered in /failover")
    age, limit = case.view.offer_age_ms, case.view.policy.offer_limit_ms
    return check(age >= limit, f"an offer has stood in /failover for {age} ms; limit {limit} ms")


def block_over(case: Case) -> Verdict:
    """The last operation ended long enough ago for this one, as seen by this controller (`block`)."""
    last = case.operation
    if last is None:
        return holds("no operation before")
    if last.phase not in (Phase.DONE, Phase.ABORTED):
        return fails(f"operation {last.epoch} is under way")
    if case.candidate is None:
        return holds("nobody is there to take over")
    age, wait = case.view.operation_age_ms, wait_ms(last, case.old, case.candidate, case.view.policy)
    ended = f"takeover {last.epoch} ({last.phase}) ended {age} ms ago"
    return check(age >= wait, f"{ended}; block period {wait} ms")


def all_acknowledge(case: Case) -> Verdict:
    """Every member of /sync acknowledges every commit: mode `on`, not a quorum of them.

    When the mode is set from `quorum` to `on`, /sync stays one for a quorum until the primary writes it anew.
    """
    if case.dcs.config is None:
        return unknown("/config is absent")
    mode, quorum = case.dcs.config.sync_mode, case.dcs.sync.quorum if case.dcs.sync else 0
    if mode is SyncMode.ON and quorum > 0:
        return fails(f"/sync is one for a quorum ({quorum}) until the primary writes it anew")
    return check(mode is SyncMode.ON, f"synchronous_mode: {mode}")


def sync_is_the_holders(case: Case) -> Verdict:
    """/sync was written by the lock holder, or its last one: it describes what *he* waits for.

    Asked of a planned handover and for the status screen; a takeover asks `sync_names_the_holder`.
    """
    if case.dcs.sync is None or case.old is None:
        return unknown("/sync is absent, or no primary is known")
    leader, holder = case.dcs.sync.leader, case.dcs.lock.holder if case.dcs.lock else case.old
    return check(leader == holder, f"/sync names {leader}, the lock holder is {holder}")


def sync_names_the_holder(case: Case) -> Verdict:
    """The lock holder leads /sync; or it is named there, and has taken the lock and not yet /sync.

    Then it is not yet the primary, and /sync still decides who may be: who else it names has what was
    acknowledged, and the transaction moves its revision, so that the holder's own swap fails (ADR 5).
    """
    if case.dcs.sync is None or case.old is None:
        return unknown("/sync is absent, or no primary is known")
    holder, named = case.dcs.lock.holder if case.dcs.lock else case.old, named_in(case.dcs.sync)
    return check(holder in named, f"/sync names {', '.join(sorted(named))}; the lock holder is {holder}")


def candidate_in_sync(case: Case) -> Verdict:
    """The heart of the proof: no commit is acknowledged that the candidate has not flushed.

    The leader of /sync is a candidate when another has taken the lock from it and not yet /sync.
    """
    if case.candidate is None:
        return fails("no sync standby is reachable")
    if case.dcs.sync is None:
        return unknown("/sync is absent")
    named = case.candidate in named_in(case.dcs.sync) - {case.old}
    return check(named, f"{case.candidate} is {'' if named else 'not '}in /sync")


def candidate_ready(case: Case) -> Verdict:
    """The candidate's own site reaches it, and it is a running standby."""
    if case.candidate is None:
        return fails("no sync standby is reachable")
    home = case.view.site_of(case.candidate)
    seen = [one.of(case.candidate) for one in fresh(case.view) if one.site == home]
    if not seen:
        return unknown(f"no fresh observer at {home}")
    ready = all(one.reach is Reach.REACHABLE and one.role is Role.STANDBY for one in seen)
    return check(ready, f"{case.candidate} seen from {home}: {seen[0].reach}, {seen[0].role}")


def candidate_not_behind(case: Case) -> Verdict:
    """It still has what /sync says that it has: its data directory was not lost or restored since.

    What its leader was seen to have flushed with all its members counts, also while another has the lock; of
    a leader that nobody has seen as the primary, what the one before it was seen to have.

    When nobody has measured it (all observers began after the loss), a person's word that names the
    candidate stands for that; /sync stays the proof.
    """
    if case.candidate is None:
        return fails("no sync standby is reachable")
    has = received_lsn(case.view, case.candidate)
    needs = acknowledged_lsn(case.view, case.dcs.sync.leader) if case.dcs.sync is not None else None
    needs = acknowledged_before(case.view) if needs is None else needs
    if has is not None and needs is None and standing(case.dcs) is not None:
        return holds(f"{case.candidate} received {has}; a person has decided, nobody measured more")
    if has is None or needs is None:
        return unknown(f"{case.candidate} received {has}, the sync set had flushed {needs}")
    return check(has >= needs, f"{case.candidate} received {has}, the sync set had flushed {needs}")


def candidates_site_agrees(case: Case) -> Verdict:
    """The candidate's own site is among those that hold the primary unreachable.

    Otherwise two far sites could move the primary to where nobody misses the old one.
    """
    if case.candidate is None or case.old is None:
        return fails("no sync standby is reachable")
    if case.dcs.lock is None:
        return holds("nobody holds the lock")
    home, against = case.view.site_of(case.candidate), sites_without(case.view, (case.old,))
    return check(home in against, f"{home} holds {case.old} unreachable: {home in against}")


def scope_proved(case: Case) -> Verdict:
    """A change of site needs the whole site unreachable, from two sites, the candidate's among them.

    An in-site move needs no more: that the candidate is reachable shows that the site is not lost. Nor
    does a free lock, or a person's word: this guard keeps the site, not the commits.
    """
    if case.candidate is None or case.old is None or case.kind is None:
        return fails("no sync standby is reachable")
    if case.kind is MoveKind.IN_SITE:
        return holds("the move stays inside the site")
    if case.dcs.lock is None or standing(case.dcs) is not None:
        return holds("nobody holds the lock, or a person has decided")
    site = case.view.site_of(case.old)
    against = sites_without(case.view, case.view.hosts_at(site))
    proved = len(against) >= 2 and case.view.site_of(case.candidate) in against
    return check(proved, f"all of {site} is unreachable from: {', '.join(sorted(against)) or 'nowhere'}")


def policy_allows(case: Case) -> Verdict:
    """Approved by a person for this primary and this candidate, or automatic. Unknown: nobody said yes."""
    if case.kind is None:
        return fails("no move to judge")
    mode, approval = case.view.policy.mode(case.kind), standing(case.dcs)
    if approval is not None and approval.candidate == case.candidate:
        return holds(f"approved by {approval.by}")
    if mode is Mode.AUTOMATIC:
        return holds(f"{case.kind} moves are automatic")
    if mode is Mode.OBSERVE:
        return fails(f"{case.kind} moves are observed only")
    return unknown(f"{case.kind} moves need an approval")


def intent_stands(case: Case) -> Verdict:
    """The lock is still held by the host, and with the lease, that the intent names; or nobody took it
    since that lease ran out."""
    lock, intent = case.dcs.lock, case.operation
    if intent is None:
        return unknown("no intent")
    if lock is None:
        leader = case.dcs.sync and case.dcs.sync.leader
        return check(leader == intent.old, f"nobody holds the lock; /sync names {leader}")
    same = (lock.holder, lock.lease) == (intent.old, intent.old_lease)
    return check(same, f"lock holder: {lock.holder}; intended against: {intent.old}")


def candidate_holds_lock(case: Case) -> Verdict:
    holder = case.dcs.lock and case.dcs.lock.holder
    return check(holder is not None and holder == case.candidate, f"lock holder: {holder}")


def lock_free(case: Case) -> Verdict:
    return check(case.dcs.lock is None, f"lock holder: {case.dcs.lock and case.dcs.lock.holder}")


def within_lock_limit(case: Case) -> Verdict:
    age, limit = case.view.operation_age_ms, case.view.policy.lock_limit_ms
    return check(age < limit, f"the operation has stood in this phase for {age} ms; limit {limit} ms")


def within_promote_limit(case: Case) -> Verdict:
    age, limit = case.view.operation_age_ms, case.view.policy.promote_limit_ms
    return check(age < limit, f"the candidate has held the lock for {age} ms; limit {limit} ms")


def candidate_lost_before_sync(case: Case) -> Verdict:
    """The candidate has taken the lock and not yet /sync, and two sites have missed it for the whole window.

    Until its swap of /sync it is a standby like any other that /sync names, and has acknowledged nothing: who
    is missed is no new primary that is slow to begin. After the swap nobody else may follow it, and nothing
    would be gained. Who may follow, and whether at all, is judged anew with the whole proof once the
    operation has ended.
    """
    if case.candidate is None or case.dcs.sync is None:
        return unknown("no candidate, or /sync is absent")
    if case.dcs.sync.leader == case.candidate:
        return fails(f"{case.candidate} has taken /sync")
    return _missed(case.view, case.candidate)


def candidate_is_primary(case: Case) -> Verdict:
    """A fresh observer used the candidate as a primary."""
    writes = _writes(case, case.candidate or "")
    return check(writes, f"{case.candidate} accepts writes: {writes}")


def _missed(view: View, host: str) -> Verdict:
    against = sites_without(view, (host,))
    reason = f"{host} is unreachable from: {', '.join(sorted(against)) or 'nowhere'}"
    if len(against) >= 2:
        return holds(reason)
    return fails(reason) if Reach.REACHABLE in votes(view, host).values() else unknown(reason)


def _writes(case: Case, host: str) -> bool:
    seen = [one.of(host) for one in fresh(case.view)]
    return any(one.reach is Reach.REACHABLE and one.role is Role.PRIMARY for one in seen)


GUARDS: dict[str, Guard] = {
    guard.__name__: guard
    for guard in (
        not_patronis_race,
        primary_unreachable,
        primary_was_there,
        no_hold,
        not_paused,
        no_failover_key,
        block_over,
        all_acknowledge,
        sync_is_the_holders,
        sync_names_the_holder,
        candidate_in_sync,
        candidate_ready,
        candidate_not_behind,
        candidates_site_agrees,
        scope_proved,
        policy_allows,
        intent_stands,
        candidate_holds_lock,
        lock_free,
        within_lock_limit,
        within_promote_limit,
        candidate_lost_before_sync,
        candidate_is_primary,
    )
}
