"""What /failover offers: a handover by the primary, or a lock that a takeover leaves to its candidate."""

from __future__ import annotations

from failover.transaction import FAILOVER

from .claims import Snapshot
from .etcd import Entry

EMPTIED = "{}"  # Patroni does not delete /failover


def offer_in(snapshot: Snapshot) -> Entry | None:
    """/failover, if it offers anything."""
    entry = snapshot.get(FAILOVER)
    return entry if entry is not None and entry.value != EMPTIED else None
