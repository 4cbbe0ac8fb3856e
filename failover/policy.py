"""What an operator sets about takeovers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class MoveKind(StrEnum):
    IN_SITE = "in_site"  # the new primary stands at the same site
    CROSS_SITE = "cross_site"  # a change of site


class Mode(StrEnum):
    """Who decides about a kind of move."""

    AUTOMATIC = "automatic"
    APPROVE = "approve"  # a person confirms; Patroni's own move is held back (ADR 6)
    OBSERVE = "observe"  # say what would be done, and do nothing


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits of the controller. All durations are measured on one machine's monotonic clock.

    `window_ms`: how long a vantage point must have failed to reach the primary, without a break.
    `fresh_ms`: an observation whose sequence has not advanced for longer is not counted.
    `dcs_fresh_ms`: a plan is made only from a read of the DCS that began at most so long ago.
    `block_ms`: for so long after a takeover the primary does not move back to whom it left (`block`).
    `retry_ms`: pause after an operation that came to nothing; no longer than `block_ms`. Long enough that the
    primary, which has its lock back, is seen again; with the takeover itself within the 5 s of a loss.
    `lock_limit_ms`: how long the candidate may take to get the lock before the offer is withdrawn.
    `promote_limit_ms`: how long it may take to accept writes before people are called.
    `offer_limit_ms`: how long somebody else's offer in /failover is waited for while the primary is silent.
    `cut_ms`: a controller that has not seen the DCS for longer begins anew: it has met no host yet. Longer
    than an election of etcd takes; short, for a pulse that waited in etcd meanwhile looks fresh afterwards.
    `start_ms`: a primary that a controller has not met since it began counts as missed only after so
    long: it may be starting. As long as Patroni's lease, which decides by then.
    """

    in_site: Mode = Mode.AUTOMATIC
    cross_site: Mode = Mode.AUTOMATIC
    window_ms: int = 800
    fresh_ms: int = 1500
    dcs_fresh_ms: int = 1000
    block_ms: int = 10_000
    retry_ms: int = 3000
    lock_limit_ms: int = 5000
    promote_limit_ms: int = 30_000
    offer_limit_ms: int = 3000
    cut_ms: int = 5_000
    start_ms: int = 20_000

    def mode(self, kind: MoveKind) -> Mode:
        return self.in_site if kind is MoveKind.IN_SITE else self.cross_site
