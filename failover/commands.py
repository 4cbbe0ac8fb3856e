"""What a plan asks for. Each command is data, and safe to carry out twice."""

from __future__ import annotations

from dataclasses import dataclass

from failover.transaction import Transaction

# How the planner begins to say why a primary that is missed is not replaced.
NO_PROOF = "no proof"
WAITS = "block period"
HELD = "held"


@dataclass(frozen=True, slots=True)
class Write:
    """Send a transaction that changes our operation key. Twice: the second finds the key changed."""

    transaction: Transaction
    what: str


@dataclass(frozen=True, slots=True)
class TakeLock:
    """Send the takeover transaction, if the plan is not older than its limit. Twice: as `Write`.

    `valid_ms`: how old the plan's view may be, by the controller's monotonic clock, when it is sent.
    """

    transaction: Transaction
    valid_ms: int


@dataclass(frozen=True, slots=True)
class RevokeLease:
    """Revoke the old primary's lease, so that an old Patroni learns it. Twice: it is gone already.

    etcd cannot make this conditional. Should the old primary have its lock again by then, with the
    same lease, it loses it once more, as by an expiry: time is lost, nothing else (ADR 5).
    """

    lease: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell people. `urgent`: a person must decide or act now."""

    text: str
    urgent: bool


Command = Write | TakeLock | RevokeLease | Tell
