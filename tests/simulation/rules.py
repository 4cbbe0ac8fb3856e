"""Which of ADR 5's mends the modelled Patroni has, and the value of its /sync."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PatroniRules:
    """Mends of the hazards that ADR 5 lists. By default what ships: three would help, and are not needed.

    `rechecks_lock` (not shipped): after taking the lock and reading again, it looks whether it still has it.
    `named_before_primary`: a lock holder that /sync does not name gives the lock back.
    `lock_in_sync_write` (not shipped): /sync is written in a transaction that compares the lock, too.
    `watchdog` (not shipped): a host whose Patroni has not renewed its lock in time is reset.
    `held_back`: a host leaves a free lock alone where the move waits for a person, or /sync names others.
    `kept_set`: with the synchronous mode off, nothing goes on after a swap of /sync that failed (H5).
    `gate`: a candidate that keeps members in /sync acknowledges nothing before its next swap (ADR 9).
    `looks_who_streams`: only those are kept who stream from the candidate, and have nothing that it has not.
    `shown_commit`: a primary that was offered away takes its lock back only if it can commit.
    `named_candidate`: a free lock is not left to a candidate whom /sync does not name.
    `shown_set`: a standby is named in /sync only once commits wait for it (kept in `UPSTREAM`, too: its
    hazard is nobody's sleep, and has a planted bug of its own).
    `claims`: a promotion claims its timeline number before it begins (ADR 9).
    `asks_server`: files of left-out numbers are left alone while PostgreSQL is being promoted.
    `told_restart`: a restart of PostgreSQL is told as one also while it starts.
    `swap_before_set`: a member leaves /sync before PostgreSQL stops waiting for it (as upstream does it).
    `set_after_swap`: that swap comes before PostgreSQL is told who has joined.
    """

    rechecks_lock: bool = False
    named_before_primary: bool = True
    lock_in_sync_write: bool = False
    watchdog: bool = False
    held_back: bool = True
    kept_set: bool = True
    gate: bool = True
    looks_who_streams: bool = True
    shown_set: bool = True
    set_after_swap: bool = True
    shown_commit: bool = True
    named_candidate: bool = True
    claims: bool = True
    asks_server: bool = True
    told_restart: bool = True
    swap_before_set: bool = True


UPSTREAM = PatroniRules(
    False, False, False, False, False, False, shown_commit=False, named_candidate=False, claims=False
)
MENDED = PatroniRules()
# Patroni as it is, but for its watchdog: here the transaction alone must hold off a stale writer.
UNMENDED = PatroniRules(False, False, False, True)


@dataclass(frozen=True, slots=True)
class Sync:
    """The value of /sync. No leader: the key was deleted, nobody is named."""

    leader: str
    members: frozenset[str]


NOBODY = Sync("", frozenset())
