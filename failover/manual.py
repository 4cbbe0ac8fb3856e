"""A failover that a person asks for: what is proved, what is not, and the transaction for either. Pure.

With the proof a person's word only decides *that* the move is made; the controllers make it, as any other.
Without it, a named person signs for what is lost: one transaction makes the candidate the only host that
/sync names, so that no other can be primary by it (ADR 6).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from failover.approvals import standing
from failover.candidates import kind_of, last_primary, received_lsn, serves
from failover.etcd_json import Entry
from failover.guards import GUARDS, Case, Held, Verdict
from failover.policy import Mode, MoveKind, Policy
from failover.transaction import (
    APPROVAL,
    CONFIG,
    FAILOVER,
    HOLD,
    LEADER,
    OPERATION,
    SIGNED,
    STATUS,
    SYNC,
    Change,
    Compare,
    Delete,
    Put,
    Target,
    Transaction,
    encode,
    unchanged,
    woken,
)
from failover.view import Approval, DcsState, NotSeen, Operation, Phase, Prospect, Reach, SyncMode, View
from failover.votes import votes

# All that a takeover needs, but for what needs a reader that has watched for long (block_over,
# primary_was_there, no_failover_key) and what a person's word stands for. The controllers judge those by
# their own ages, and the takeover compares /failover.
PROOF = (
    "primary_unreachable",
    "no_hold",
    "not_paused",
    "all_acknowledge",
    "sync_names_the_holder",
    "candidate_in_sync",
    "candidate_ready",
    "candidate_not_behind",
    "candidates_site_agrees",
    "scope_proved",
)
# Without these not even a signature helps: the candidate would not be promoted, or somebody keeps it.
NEEDED = ("not_paused", "no_hold", "candidate_ready")


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done. `guards`: by name; `blocked`: why not even a forced failover can be made.

    `notes`: what stands in nobody's way and should be known.
    """

    cluster: str
    old: str | None
    candidate: str | None
    kind: MoveKind | None
    waits: bool  # the policy has this move wait for a person
    guards: dict[str, Verdict]
    already: bool = False
    blocked: tuple[str, ...] = ()
    support: dict[str, str] = field(default_factory=dict[str, str])
    notes: tuple[str, ...] = ()

    @property
    def proved(self) -> bool:
        return bool(self.guards) and all(one.held is Held.HOLDS for one in self.guards.values())

    @property
    def alive(self) -> bool:
        """Somebody reaches the old primary, and it is not known to be out of the game."""
        return self.old is not None and self.guards["primary_unreachable"].held is Held.FAILS

    @property
    def missing(self) -> dict[str, str]:
        return {
            name: f"{one.held}: {one.reason}"
            for name, one in self.guards.items()
            if one.held is not Held.HOLDS
        }

    def as_dict(self) -> dict[str, Any]:
        return {
            "cluster": self.cluster, "old": self.old, "candidate": self.candidate, "kind": self.kind,
            "already": self.already, "proved": self.proved, "waits_for_approval": self.waits,
            "guards": {name: {"held": one.held, "reason": one.reason} for name, one in self.guards.items()},
            "blocked": list(self.blocked), "support": self.support, "notes": list(self.notes),
        }  # fmt: skip


def assess(view: View, dcs: DcsState, target: str, cluster: str) -> Plan:
    """`target`: a host or a site of the view. Raises KeyError for what is neither."""
    old = last_primary(dcs)
    hosts = view.hosts_at(target) or tuple(host.name for host in view.hosts if host.name == target)
    if not hosts:
        raise KeyError(target)
    if dcs.lock is not None and dcs.lock.holder in hosts:
        holder = dcs.lock.holder
        if serves(view, holder):
            return Plan(cluster, holder, holder, None, False, {}, already=True)
        reached = Reach.REACHABLE in votes(view, holder).values()
        if reached or hosts == (holder,):
            why = _no_primary_yet(holder, reached)
            return Plan(cluster, holder, holder, MoveKind.IN_SITE, False, {}, blocked=(why,))
    candidate = best_of(view, dcs, tuple(name for name in hosts if name != old) or hosts)
    if old is None:
        return Plan(cluster, None, candidate, None, False, {}, blocked=("no primary was ever known",))
    if candidate == old:
        text = f"{old} was the primary last, and takes its own lock back by itself when it can"
        return Plan(cluster, old, candidate, MoveKind.IN_SITE, False, {}, blocked=(text,))
    kind = kind_of(view, old, candidate)
    asked = replace(dcs, approval=approval(dcs, old, candidate, ""))
    operation = dcs.operation
    case = Case(replace(view, dcs=asked), asked, old, candidate, kind, operation)
    verdicts = {name: GUARDS[name](case) for name in PROOF}
    blocked = [f"{name}: {verdicts[name].reason}" for name in NEEDED if verdicts[name].held is Held.FAILS]
    if operation is not None and operation.phase not in (Phase.DONE, Phase.ABORTED):
        blocked.append(f"takeover {operation.epoch} to {operation.candidate} is under way: {operation.phase}")
    waits = view.policy.mode(kind) is Mode.APPROVE
    return Plan(
        cluster, old, candidate, kind, waits, verdicts, blocked=tuple(blocked), notes=_offer(dcs, view.policy)
    )


def _no_primary_yet(holder: str, reached: bool) -> str:
    """Of a lock holder that was named, and serves nobody: what there is to do."""
    if reached:
        return f"{holder} holds the lock and does not accept writes yet: wait, or name another host"
    return (
        f"{holder} holds the lock and nobody reaches it: name another host, or wait until its lease has run "
        "out (Patroni's ttl, 20 s as a rule)"
    )


def _offer(dcs: DcsState, policy: Policy) -> tuple[str, ...]:
    """Somebody's offer, which a move replaces."""
    if dcs.failover_revision == 0:
        return ()
    limit = f"{policy.offer_limit_ms / 1000:.1f} s"
    return (
        "an offer stands in /failover, somebody's switchover: the controllers wait until they have seen it "
        f"for {limit}, then replace it; a signed move replaces it at once",
    )


def best_of(view: View, dcs: DcsState, hosts: tuple[str, ...]) -> str:
    """Of a site's hosts: one in the sync set, reachable, with the highest position; then by name."""
    members: frozenset[str] = dcs.sync.members if dcs.sync else frozenset()

    def rank(name: str) -> tuple[bool, bool, int, str]:
        reached = Reach.REACHABLE in votes(view, name).values()
        return (name not in members, not reached, -(received_lsn(view, name) or 0), name)

    return min(hosts, key=rank)


def approval(dcs: DcsState, old: str, candidate: str, by: str) -> Approval:
    return Approval(candidate, old, dcs.lock.revision if dcs.lock else 0, by)


def approve(dcs: DcsState, given: Approval, lease: int) -> Transaction:
    """Write the yes, if the lock and /sync are still as the person saw them."""
    text = json.dumps(
        {"candidate": given.candidate, "old": given.old, "lock_revision": given.lock_revision, "by": given.by}
    )
    compares = (
        unchanged(LEADER, dcs.lock.revision if dcs.lock else 0),
        unchanged(SYNC, dcs.sync.revision if dcs.sync else 0),
    )
    return Transaction(compares, (Put(APPROVAL, text, lease),))


def withdraw(revision: int) -> Transaction:
    """Take the yes back, if it still stands as it was written."""
    return Transaction((unchanged(APPROVAL, revision),), (Delete(APPROVAL),))


@dataclass(frozen=True, slots=True)
class Signature:
    """Who signs for a loss, when (by his own clock, for people only), and what he was told.

    `stated`: in words, as they were shown; ages count from then. `prospect`: the same in figures; None:
    nobody reached the candidate.
    """

    by: str
    at: str
    stated: str
    prospect: Prospect | None


def force(dcs: DcsState, read: Mapping[str, Entry], plan: Plan, signature: Signature) -> Transaction:
    """Without the proof. Every key is compared as it was read; `read` is what `dcs` was made from.

    /sync names the candidate alone: whoever else holds the lock gives it back and demotes itself
    (`replication.mends.named_holder`), and no swap of /sync prepared before can succeed. The order is that of
    a takeover: the lock goes first.
    """
    old, candidate, kind = plan.old, plan.candidate, plan.kind
    if old is None or candidate is None or kind is None:
        raise ValueError("a forced failover needs an old primary and a candidate")
    last = dcs.operation
    epoch = (last.epoch if last else 0) + 1
    operation = Operation(
        epoch, Phase.TRANSACTED, kind, old, candidate, dcs.lock.lease if dcs.lock else 0,
        f"forced by {signature.by}",
    )  # fmt: skip
    in_sync_mode = dcs.config is not None and dcs.config.sync_mode is not SyncMode.OFF
    named = json.dumps({"leader": candidate, "sync_standby": None, "quorum": 0})
    changes: list[Change] = [Delete(LEADER)] if dcs.lock else []
    changes += [Put(SYNC, named)] if in_sync_mode else []
    changes += [
        Put(FAILOVER, json.dumps({"leader": old, "member": candidate})),
        Put(OPERATION, encode(operation)),
        Put(f"{SIGNED}{epoch}", _record(dcs, plan, signature)),
    ]
    changes += [Delete(APPROVAL)] if dcs.approval else []
    changes += [Put(STATUS, woken(dcs.status.value))] if dcs.status else []
    keys = (LEADER, SYNC, CONFIG, FAILOVER, HOLD, OPERATION, APPROVAL, *((STATUS,) if dcs.status else ()))
    compares = [unchanged(key, entry.revision if (entry := read.get(key)) else 0) for key in keys]
    compares += [Compare(LEADER, Target.VALUE, dcs.lock.holder)] if dcs.lock else []
    return Transaction(tuple(compares), tuple(changes))


def _record(dcs: DcsState, plan: Plan, signature: Signature) -> str:
    """What stays: who signed, for what, and what was not proved."""
    return json.dumps(
        {
            "by": signature.by, "at": signature.at, "old": plan.old, "candidate": plan.candidate,
            "kind": plan.kind, "stated": signature.stated, **_figures(signature.prospect),
            "not_proved": plan.missing, "sync_before": dcs.sync.value if dcs.sync else None,
        },
        ensure_ascii=False,
    )  # fmt: skip


def _figures(prospect: Prospect | None) -> dict[str, Any]:
    """See `Prospect`. No field is a bound of the loss, unless `no_loss_proved`."""
    one = prospect
    return {
        "no_loss_proved": one is not None and one.proved,
        "lacks_bytes": one and one.lacks_bytes, "lacks_transactions": one and one.lacks_transactions,
        "primary_seen_ms": one and one.seen_ms, "back_ms": one and one.back_ms,
    }  # fmt: skip


class Progress:
    """What has become of a move since `before`, from one view after the other."""

    def __init__(self, before: DcsState, candidate: str) -> None:
        self._revision, self._candidate = before.operation_revision, candidate

    def judge(self, view: View) -> str:
        """done, incomplete (it has begun; people must look), refused (nothing changed), or "" (not yet)."""
        dcs = view.dcs
        if isinstance(dcs, NotSeen):
            return ""
        if dcs.lock is not None and dcs.lock.holder == self._candidate and self._writes(view):
            return "done"
        operation = dcs.operation
        if operation is None or dcs.operation_revision == self._revision:
            return ""
        if operation.candidate != self._candidate:
            return "refused"
        if operation.phase is Phase.ABORTED and standing(dcs) is None:
            elsewhere = dcs.lock is not None and dcs.lock.holder != self._candidate
            return "refused" if elsewhere else "incomplete"
        return ""

    def _writes(self, view: View) -> bool:
        assert not isinstance(view.dcs, NotSeen)
        case = Case(view, view.dcs, None, self._candidate, None, None)
        return GUARDS["candidate_is_primary"](case).held is Held.HOLDS
