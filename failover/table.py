"""Which guard leads to which action, in which phase. Numbered rows; the log names the row.

The rows of a phase are read from top to bottom, and the first one that fires decides. A row fires when
its guard's verdict is one of `on`. Refusals stand first, the act stands last, so that what is not
expressly allowed ends in waiting.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from failover.guards import GUARDS, Held
from failover.view import Phase


class Action(StrEnum):
    NOTHING = "nothing"  # nothing to do, or wait for what is under way
    WAIT = "wait"  # the primary is gone, and the last takeover ended too short a time ago
    HELD = "held"  # the primary is gone, and a person has asked us, or Patroni, to keep still
    REFUSE = "refuse"  # the primary is gone and the proof does not hold: the lease, or a person
    ASK = "ask"  # the proof holds and a person must say yes
    SAY = "say"  # say what would have been done
    INTEND = "intend"
    TRANSACT = "transact"
    ABORT = "abort"
    CONFIRM = "confirm"
    REVOKE = "revoke"
    FINISH = "finish"


IDLE = "idle"  # no operation, or the last one has ended
HOLDS = frozenset({Held.HOLDS})
FAILS = frozenset({Held.FAILS})
UNKNOWN = frozenset({Held.UNKNOWN})
NOT_HOLDS = FAILS | UNKNOWN
ENDED = frozenset({Phase.DONE, Phase.ABORTED})


@dataclass(frozen=True, slots=True)
class Row:
    """`phase` is a `Phase` or `IDLE`."""

    pos: int
    phase: str
    guard: str
    on: frozenset[Held]
    action: Action


TABLE: tuple[Row, ...] = (
    # Nothing under way. Row 110 is where a healthy system ends, many times a minute.
    Row(100, IDLE, "not_patronis_race", NOT_HOLDS, Action.NOTHING),
    Row(110, IDLE, "primary_unreachable", NOT_HOLDS, Action.NOTHING),
    Row(115, IDLE, "primary_was_there", NOT_HOLDS, Action.NOTHING),
    Row(120, IDLE, "no_hold", NOT_HOLDS, Action.HELD),
    Row(130, IDLE, "not_paused", FAILS, Action.HELD),
    Row(135, IDLE, "not_paused", UNKNOWN, Action.REFUSE),
    Row(140, IDLE, "block_over", NOT_HOLDS, Action.WAIT),
    Row(150, IDLE, "no_failover_key", NOT_HOLDS, Action.NOTHING),
    Row(160, IDLE, "all_acknowledge", NOT_HOLDS, Action.REFUSE),
    Row(170, IDLE, "sync_names_the_holder", NOT_HOLDS, Action.REFUSE),
    Row(180, IDLE, "candidate_in_sync", NOT_HOLDS, Action.REFUSE),
    Row(190, IDLE, "candidate_ready", NOT_HOLDS, Action.REFUSE),
    Row(200, IDLE, "candidate_not_behind", NOT_HOLDS, Action.REFUSE),
    Row(210, IDLE, "candidates_site_agrees", NOT_HOLDS, Action.REFUSE),
    Row(220, IDLE, "scope_proved", NOT_HOLDS, Action.REFUSE),
    Row(230, IDLE, "policy_allows", FAILS, Action.SAY),
    Row(240, IDLE, "policy_allows", UNKNOWN, Action.ASK),
    Row(250, IDLE, "policy_allows", HOLDS, Action.INTEND),
    # An intent is written down, by this controller or another. All is judged again, from this view.
    # What was decided otherwise ends it. What was seen otherwise does not: controllers see the same thing
    # some hundred milliseconds apart, and one must not undo what another has good reason for. Nor does what
    # is unknown. Within the limit it may be proved; after that the intent is given up.
    Row(300, Phase.INTENDED, "intent_stands", NOT_HOLDS, Action.ABORT),
    Row(310, Phase.INTENDED, "within_lock_limit", NOT_HOLDS, Action.ABORT),
    Row(320, Phase.INTENDED, "primary_unreachable", FAILS, Action.NOTHING),
    Row(325, Phase.INTENDED, "primary_unreachable", UNKNOWN, Action.NOTHING),
    # An intent from before an outage of etcd: who reads it now may not have met the primary since.
    Row(327, Phase.INTENDED, "primary_was_there", NOT_HOLDS, Action.NOTHING),
    Row(330, Phase.INTENDED, "no_hold", FAILS, Action.ABORT),
    Row(335, Phase.INTENDED, "no_hold", UNKNOWN, Action.NOTHING),
    Row(340, Phase.INTENDED, "not_paused", FAILS, Action.ABORT),
    Row(345, Phase.INTENDED, "not_paused", UNKNOWN, Action.NOTHING),
    Row(350, Phase.INTENDED, "no_failover_key", FAILS, Action.ABORT),
    Row(355, Phase.INTENDED, "no_failover_key", UNKNOWN, Action.NOTHING),
    Row(360, Phase.INTENDED, "all_acknowledge", FAILS, Action.ABORT),
    Row(365, Phase.INTENDED, "all_acknowledge", UNKNOWN, Action.NOTHING),
    Row(370, Phase.INTENDED, "sync_names_the_holder", FAILS, Action.ABORT),
    Row(375, Phase.INTENDED, "sync_names_the_holder", UNKNOWN, Action.NOTHING),
    Row(380, Phase.INTENDED, "candidate_in_sync", FAILS, Action.ABORT),
    Row(385, Phase.INTENDED, "candidate_in_sync", UNKNOWN, Action.NOTHING),
    Row(390, Phase.INTENDED, "candidate_ready", FAILS, Action.NOTHING),
    Row(395, Phase.INTENDED, "candidate_ready", UNKNOWN, Action.NOTHING),
    Row(400, Phase.INTENDED, "candidate_not_behind", FAILS, Action.NOTHING),  # it may come to receive it
    Row(405, Phase.INTENDED, "candidate_not_behind", UNKNOWN, Action.NOTHING),
    Row(410, Phase.INTENDED, "candidates_site_agrees", FAILS, Action.NOTHING),
    Row(415, Phase.INTENDED, "candidates_site_agrees", UNKNOWN, Action.NOTHING),
    Row(420, Phase.INTENDED, "scope_proved", FAILS, Action.NOTHING),
    Row(425, Phase.INTENDED, "scope_proved", UNKNOWN, Action.NOTHING),
    Row(430, Phase.INTENDED, "policy_allows", NOT_HOLDS, Action.ABORT),
    Row(435, Phase.INTENDED, "policy_allows", HOLDS, Action.TRANSACT),
    # The lock was taken from the old primary. Who has it now?
    Row(500, Phase.TRANSACTED, "candidate_holds_lock", HOLDS, Action.CONFIRM),
    Row(510, Phase.TRANSACTED, "lock_free", NOT_HOLDS, Action.ABORT),  # taken back, or another standby won
    Row(520, Phase.TRANSACTED, "within_lock_limit", HOLDS, Action.NOTHING),
    Row(530, Phase.TRANSACTED, "within_lock_limit", NOT_HOLDS, Action.ABORT),
    # From here on the takeover has happened; what is left is tidying up behind it.
    Row(600, Phase.TAKEN, "candidate_holds_lock", NOT_HOLDS, Action.ABORT),
    Row(610, Phase.TAKEN, "candidate_holds_lock", HOLDS, Action.REVOKE),
    Row(700, Phase.REVOKED, "candidate_holds_lock", NOT_HOLDS, Action.ABORT),
    Row(710, Phase.REVOKED, "candidate_is_primary", HOLDS, Action.FINISH),
    # Lost between the lock and /sync. Nothing else would end this before its lease has run out. Another that
    # /sync names may follow once it has ended.
    Row(715, Phase.REVOKED, "candidate_lost_before_sync", HOLDS, Action.ABORT),
    Row(720, Phase.REVOKED, "within_promote_limit", HOLDS, Action.NOTHING),
    Row(730, Phase.REVOKED, "within_promote_limit", NOT_HOLDS, Action.ABORT),
)


def rows_of(phase: str) -> tuple[Row, ...]:
    return tuple(row for row in TABLE if row.phase == phase)


def problems(table: tuple[Row, ...]) -> list[str]:
    """What is wrong with a table; empty when nothing is."""
    found: list[str] = []
    positions = [row.pos for row in table]
    if positions != sorted(set(positions)):
        found.append("positions must rise")
    found += [f"row {row.pos}: no guard {row.guard!r}" for row in table if row.guard not in GUARDS]
    phases = {IDLE, *(str(phase) for phase in Phase if phase not in ENDED)}
    found += [f"no row for {phase}" for phase in sorted(phases - {str(row.phase) for row in table})]
    found += [f"{phase}: the last rows leave a verdict open" for phase in sorted(phases & _open(table))]
    return found


def _open(table: tuple[Row, ...]) -> set[str]:
    """The phases whose last guard has a verdict on which no row fires."""
    left: set[str] = set()
    for phase in {str(row.phase) for row in table}:
        rows = [row for row in table if row.phase == phase]
        covered = {held for row in rows if row.guard == rows[-1].guard for held in row.on}
        if covered < set(Held):
            left.add(phase)
    return left


if _PROBLEMS := problems(TABLE):  # checked when imported: a wrong table must not start
    raise ValueError("; ".join(_PROBLEMS))
