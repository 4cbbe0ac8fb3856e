"""Planted bugs in Patroni as Hanbat runs it: a mend of the model is switched off, or real code is changed.

The model is that of Patroni's replaced functions (`rules.py`); the real code is that of the timeline claims.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from replication.mends import fresh_timeline, sync_swap

from . import ambushes, approvals, drags, restarts, signatures
from . import incidents as inc
from .alone import ALONE
from .incidents import Plan, only
from .planting import ASKS, Planted
from .rules import MENDED
from .world import Settings

HANDOVERS = Plan(number=3, gap_ms=9000, kinds=((inc.handover, 1),))


def _claim_uncompared() -> AbstractContextManager[Any]:
    """A claim is put, whatever its key has become."""
    real = sync_swap.write

    def write(dcs: Any, puts: Any, *more: Any) -> Any:
        real(dcs, puts, *more)
        mine, asked = sync_swap.encoded(dcs.client_path(fresh_timeline.KEY)), dcs.asked()
        dcs.call_rpc(
            "/kv/txn",
            {**asked, "compare": [each for each in asked["compare"] if each["key"] != mine]},
            None,
        )

    return patch.object(sync_swap, "write", write)


def _claim_used_again() -> AbstractContextManager[Any]:
    """After an attempt of which nothing is known, its number is taken for claimed."""
    real = fresh_timeline.made_ready

    def made_ready(wal: Any, timeline: Any, heard: Any, before: Any, name: Any, unused: Any) -> Any:
        number, again = real(wal, timeline, heard, before, name, unused)
        return (number, again) if unused is None else (unused, True)

    return patch.object(fresh_timeline, "made_ready", made_ready)


PATRONI_BROKEN: tuple[Planted, ...] = (
    Planted(
        "Patroni is not held back where a person must approve",
        lambda: nullcontext(),
        Settings(policy=ASKS, person=False, rules=replace(MENDED, held_back=False), hazard=0),
        only(approvals.nobody_approves),
        clean=Settings(policy=ASKS, person=False, hazard=0),
        at_most=3000,
    ),
    Planted(
        "a standby that drags is not waited for any more, and then taken out of /sync",
        nullcontext,
        Settings(rules=replace(MENDED, swap_before_set=False), hazard=0),
        only(drags.lost_while_left_out),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a set is kept without the gate",
        nullcontext,
        Settings(rules=replace(MENDED, gate=False)),
        HANDOVERS,
        clean=Settings(),
    ),
    Planted(
        "a standby is named before commits wait for it (Patroni as it is: mends/grown_set.py)",
        nullcontext,
        Settings(rules=replace(MENDED, shown_set=False), deaf=1.0),
        only(ambushes.lost_when_named),
        clean=Settings(deaf=1.0),
    ),
    Planted(
        "a set is kept without the gate, and the new primary slept before it was promoted",
        nullcontext,
        Settings(rules=replace(MENDED, gate=False), hazard=0),
        only(ambushes.late_promotion),
        clean=Settings(hazard=0),
    ),
    Planted(
        "PostgreSQL is told who has joined before /sync is swapped",
        nullcontext,
        Settings(rules=replace(MENDED, set_after_swap=False)),
        HANDOVERS,
        clean=Settings(),
    ),
    Planted(
        "who is kept is not asked whether it streams from the candidate",
        nullcontext,
        Settings(rules=replace(MENDED, looks_who_streams=False), hazard=0),
        only(ambushes.kept_ahead),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a primary that cannot commit takes its lock back (Patroni as it is: mends/shown_commit.py)",
        nullcontext,
        Settings(rules=replace(MENDED, shown_commit=False), hazard=0),
        replace(ALONE, kinds=((inc.postgres_freeze, 1),)),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a candidate that may not take the lock is waited for (Patroni as it is: mends/stale_offer.py)",
        nullcontext,
        Settings(rules=replace(MENDED, named_candidate=False), hazard=0),
        only(ambushes.stale_offer),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a promotion claims no timeline number (a kept member takes over from who was not heard of)",
        nullcontext,
        Settings(rules=replace(MENDED, claims=False), hazard=0),
        only(signatures.kept_unheard),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a promotion claims no timeline number (a signature for who has not heard of the last primary)",
        nullcontext,
        Settings(rules=replace(MENDED, claims=False), hazard=0),
        only(signatures.unheard),
        clean=Settings(hazard=0),
    ),
    Planted(
        "files of left-out timelines are removed while PostgreSQL is being promoted",
        nullcontext,
        Settings(rules=replace(MENDED, asks_server=False), hazard=0),
        only(signatures.begun_anew),
        clean=Settings(hazard=0),
    ),
    Planted(
        "a claim of a timeline number does not compare its key",
        _claim_uncompared,
        Settings(hazard=0),
        only(signatures.half_told),
    ),
    Planted(
        "a claim whose answer was not had is used again, unread",
        _claim_used_again,
        Settings(hazard=0),
        only(signatures.unheard),
    ),
    Planted(
        "a restart that starts slowly looks like a crash (Patroni as it is: mends/told_restart.py)",
        nullcontext,
        Settings(rules=replace(MENDED, told_restart=False), hazard=0),
        only(restarts.in_time),
        clean=Settings(hazard=0),
    ),
)
