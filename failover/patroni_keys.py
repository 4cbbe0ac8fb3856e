"""Patroni's keys and ours, as read from etcd, to the planner's types. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from failover import transaction
from failover.etcd_json import Entry
from failover.hold import told
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
)
from failover.view import Approval, Config, DcsState, Lock, NotSeen, Status, SyncMode, SyncSet

MODES = {
    "on": SyncMode.ON,
    "true": SyncMode.ON,
    "quorum": SyncMode.QUORUM,
    "off": SyncMode.OFF,
    "false": SyncMode.OFF,
}


class KeyUnreadable(Exception):
    """A key holds something that Patroni 4.1, or we, do not write."""


def dcs_state(read: Mapping[str, Entry]) -> DcsState | NotSeen:
    """The state of the cluster. A key that cannot be read makes all of it unseen: nothing is guessed."""
    try:
        operation, hold = read.get(OPERATION), read.get(HOLD)
        offered, emptied = _failover(read.get(FAILOVER))
        return DcsState(
            lock=_lock(read.get(LEADER)),
            sync=_sync(read.get(SYNC)),
            config=_config(read.get(CONFIG)),
            failover_revision=offered,
            failover_emptied=emptied,
            operation=transaction.decode(operation.value) if operation else None,
            operation_revision=_revision(operation),
            hold_revision=_revision(hold),
            hold=told(hold.value) if hold else "",
            approval=_approval(read.get(APPROVAL)),
            status=_status(read.get(STATUS)),
            signed_epoch=signed_epoch(read),
        )
    except (KeyUnreadable, KeyError, ValueError, TypeError) as error:
        return NotSeen(f"a key cannot be read: {error}")


def _revision(entry: Entry | None) -> int:
    return entry.revision if entry else 0


def _failover(entry: Entry | None) -> tuple[int, int]:
    """Revision of an offer, and of a key that offers nothing: Patroni empties it, and does not delete it."""
    if entry is None:
        return 0, 0
    return (0, entry.revision) if entry.value.strip() in ("", "{}") else (entry.revision, 0)


def _document(entry: Entry, what: str) -> dict[str, Any]:
    document: Any = json.loads(entry.value)
    if not isinstance(document, dict):
        raise KeyUnreadable(f"{what} is no JSON object")
    return cast(dict[str, Any], document)


def _lock(entry: Entry | None) -> Lock | None:
    return Lock(entry.value, entry.lease, entry.revision) if entry else None


def _sync(entry: Entry | None) -> SyncSet | None:
    """`{"leader": ..., "sync_standby": "a,b", "quorum": 0}`; no leader in it means that nobody is sync."""
    if entry is None:
        return None
    document = _document(entry, "/sync")
    leader, members = document.get("leader"), document.get("sync_standby")
    if not leader:
        return None
    names = frozenset(name.strip() for name in str(members or "").split(",") if name.strip())
    return SyncSet(str(leader), names, entry.revision, entry.value, int(document.get("quorum") or 0))


def _config(entry: Entry | None) -> Config | None:
    if entry is None:
        return None
    document = _document(entry, "/config")
    text = str(document.get("synchronous_mode", "off")).lower()
    if text not in MODES:
        raise KeyUnreadable(f"synchronous_mode is {text!r}")
    paused = str(document.get("pause", False)).lower() not in ("false", "none", "off", "0", "no")
    return Config(MODES[text], paused, entry.revision)


def _approval(entry: Entry | None) -> Approval | None:
    if entry is None:
        return None
    document = _document(entry, "the approval")
    return Approval(
        str(document["candidate"]),
        str(document["old"]),
        int(document["lock_revision"]),
        str(document["by"]),
        entry.revision,
    )


def _status(entry: Entry | None) -> Status | None:
    return Status(entry.value, entry.revision) if entry else None


def signed_epoch(read: Mapping[str, Entry]) -> int:
    """Of the last forced failover; 0 if there was none. Raises ValueError for a key that is not ours."""
    return max((int(key.removeprefix(SIGNED)) for key in read if key.startswith(SIGNED)), default=0)
