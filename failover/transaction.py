"""The etcd transactions of a takeover, as data. The executor sends them, the simulation's etcd runs them.

Keys are named as `patroni/...` (the cluster's own, under Patroni's prefix) and `hanbat/...` (ours, under a
prefix that Patroni does not watch). The client maps the first part to the real prefix.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum

from failover.approvals import standing
from failover.policy import MoveKind
from failover.view import DcsState, Lock, Move, Operation, Phase

LEADER = "patroni/leader"
SYNC = "patroni/sync"
CONFIG = "patroni/config"
FAILOVER = "patroni/failover"
STATUS = "patroni/status"
OPERATION = "hanbat/operation"
HOLD = "hanbat/hold"
APPROVAL = "hanbat/approval"
VERDICT = "hanbat/verdict/"  # + observer; see `view.Observation`
SIGNED = "hanbat/signed/"  # + epoch: who signed for the loss of a forced failover


class Target(StrEnum):
    """What is compared. A `mod_revision` of 0 says that the key is absent."""

    MOD_REVISION = "mod"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Compare:
    key: str
    target: Target
    equals: int | str


@dataclass(frozen=True, slots=True)
class Put:
    key: str
    value: str
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    key: str


Change = Put | Delete


@dataclass(frozen=True, slots=True)
class Transaction:
    """All comparisons hold at one revision, or nothing changes. The order of changes matters (ADR 5)."""

    compares: tuple[Compare, ...]
    changes: tuple[Change, ...]


def unchanged(key: str, revision: int) -> Compare:
    return Compare(key, Target.MOD_REVISION, revision)


def absent(key: str) -> Compare:
    return Compare(key, Target.MOD_REVISION, 0)


def encode(operation: Operation) -> str:
    """As stored under `hanbat/operation`."""
    return json.dumps(
        {
            "epoch": operation.epoch,
            "phase": operation.phase,
            "kind": operation.kind,
            "old": operation.old,
            "candidate": operation.candidate,
            "old_lease": operation.old_lease,
            "note": operation.note,
            "after": [operation.after.old, operation.after.candidate] if operation.after else None,
        }
    )


def decode(text: str) -> Operation:
    """Raises ValueError or KeyError for what `encode` did not write."""
    read = json.loads(text)
    after = read.get("after")  # absent: a version before wrote it
    return Operation(
        epoch=int(read["epoch"]),
        phase=Phase(read["phase"]),
        kind=MoveKind(read["kind"]),
        old=str(read["old"]),
        candidate=str(read["candidate"]),
        old_lease=int(read["old_lease"]),
        note=str(read["note"]),
        after=Move(str(after[0]), str(after[1])) if after else None,
    )


def advance(operation: Operation, revision: int, *, withdraw: bool = False) -> Transaction:
    """Write the operation, if it is still as it was read. `revision` 0: there must be none yet.

    `withdraw` takes back our own offer in /failover. It was written by the same transaction as the
    operation's present revision, so the same number tells whether it is still ours.
    """
    compares = (unchanged(OPERATION, revision),)
    put = Put(OPERATION, encode(operation))
    if withdraw:
        return Transaction((*compares, unchanged(FAILOVER, revision)), (Delete(FAILOVER), put))
    return Transaction(compares, (put,))


def declare(intent: Operation, revision: int, lock: Lock | None) -> Transaction:
    """Write an intent, if the last operation and the lock are still as they were read.

    An intent says whether the lock was held when it was made. A controller that slept between plan and
    write would else declare, of a lock that has run out meanwhile, that it is to be taken from its holder.
    """
    compares = (unchanged(OPERATION, revision), *lock_as_read(lock))
    return Transaction(compares, (Put(OPERATION, encode(intent)),))


def takeover(dcs: DcsState, witnesses: dict[str, int]) -> Transaction:
    """Take the lock from the old primary, if it has it, and offer it to the candidate. The whole proof is
    compared.

    `dcs` is the state that the plan was made from; its operation is the intent. `witnesses` are the
    observers whose verdicts the plan rests on, with the revisions of those verdicts: a controller that
    slept between its plan and this transaction finds them gone or changed.

    /leader is deleted *before* /sync is written. Patroni reads a cache that a watch feeds one event at
    a time, in this order; the other way round there is an instant in which it shows the old lock
    together with the new revision of /sync, and the old primary could shrink its sync set (ADR 5).
    /sync is written back unchanged: only its revision moves, so that no compare-and-swap prepared by the
    old primary from an older snapshot can succeed any more.

    A free lock is left as it is: /leader must be absent, and /status is written anew last, which wakes the
    candidate (its Patroni's watch is not woken by /failover). A person's approval is used up.
    """
    lock, sync, config, intent = dcs.lock, dcs.sync, dcs.config, dcs.operation
    if sync is None or config is None or intent is None:
        raise ValueError("a takeover needs /sync, /config and an intent")
    offer = json.dumps({"leader": intent.old, "member": intent.candidate})
    transacted = replace(intent, phase=Phase.TRANSACTED, epoch=intent.epoch + 1)
    approval = standing(dcs)
    return Transaction(
        compares=(
            *lock_as_read(lock),
            unchanged(SYNC, sync.revision),
            unchanged(CONFIG, config.revision),
            unchanged(FAILOVER, dcs.failover_revision or dcs.failover_emptied),
            absent(HOLD),
            unchanged(OPERATION, dcs.operation_revision),
            *(unchanged(VERDICT + name, revision) for name, revision in sorted(witnesses.items())),
            *((unchanged(APPROVAL, approval.revision),) if approval else ()),
            *((unchanged(STATUS, dcs.status.revision),) if dcs.status and lock is None else ()),
        ),
        changes=(
            *((Delete(LEADER),) if lock else ()),
            Put(SYNC, sync.value),
            Put(FAILOVER, offer),
            Put(OPERATION, encode(transacted)),
            *((Delete(APPROVAL),) if approval else ()),
            *((Put(STATUS, woken(dcs.status.value)),) if dcs.status and lock is None else ()),
        ),
    )


def lock_as_read(lock: Lock | None) -> tuple[Compare, ...]:
    """The lock is still as it was read; None: still free."""
    if lock is None:
        return (absent(LEADER),)
    return (Compare(LEADER, Target.VALUE, lock.holder), unchanged(LEADER, lock.revision))


def woken(status: str) -> str:
    """The same JSON, another text: a watch sees a change where there is none in meaning."""
    return status[:-1] if status.endswith(" ") else status + " "


def intend(
    old: str,
    lock: Lock | None,
    candidate: str,
    kind: MoveKind,
    last: Operation | None,
    after: Move | None = None,
) -> Operation:
    """The intent to replace a primary. The epoch rises with the transaction, not here.

    `lock` None: it has run out; then there is no lease to revoke afterwards (0). `after`: `block.followed`.
    """
    return Operation(
        epoch=last.epoch if last else 0,
        phase=Phase.INTENDED,
        kind=kind,
        old=old,
        candidate=candidate,
        old_lease=lock.lease if lock else 0,
        after=after,
    )
