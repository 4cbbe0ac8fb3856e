"""Two histories under one timeline number are told apart, as far as their history files tell.

Patroni 4.1 and `pg_rewind` take a host on the primary's own timeline number for one of the same history. No
promotion takes a number twice (`fresh_timeline`); but a cluster may have one from before, and a person may
promote a host by hand. Then the host would be joined to a history that is not its own.

So where Patroni finds that no rewind is needed, the file of the primary's timeline that is here is compared
with the primary's own. If they part in another place, the data directory is cloned anew (and its tail kept,
`salvage_hook`): `pg_rewind` would find nothing to do. Two that left their parent in the very same place
cannot be told apart in this way.

Two functions are wrapped, `Rewind._check_timeline_and_lsn` and `Rewind.pg_rewind`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from replication.mends.salvage_hook import ask_history
from replication.mends.wrapping import wrap
from replication.salvage import wal
from replication.salvage.tail import Leader

logger = logging.getLogger(__name__)

JOINED = "_hanbat_joined"  # our mark on Patroni's object: a rewind would do nothing


def is_another(folder: Path, leader: Leader | None) -> bool:
    """Whether the leader's timeline is known here with another past. Unknown is not another."""
    if leader is None or leader.timeline == 1:
        return False
    try:
        mine = (folder / f"{leader.timeline:08X}.history").read_text(encoding="utf-8")
        past = wal.history(leader.timeline, mine)
        return len(past) > 1 and past != wal.history(leader.timeline, leader.history)
    except (OSError, ValueError):  # none here; or not to be read, as PostgreSQL will say itself
        return False


def check(
    original: Callable[[Any, Any], None], needed: Any, not_needed: Any, ask: Callable[..., Leader | None]
) -> Callable[[Any, Any], None]:
    """In the place of `_check_timeline_and_lsn`, whose "not needed" is looked at once more."""

    def _check_timeline_and_lsn(self: Any, leader: Any) -> None:
        original(self, leader)
        setattr(self, JOINED, False)
        if self._state != not_needed:
            return
        where: dict[str, Any] = leader.conn_kwargs()
        theirs = ask(self._postgresql, leader.name, where.get("host"), where.get("port") or 5432)
        if theirs and is_another(Path(self._postgresql.data_dir) / "pg_wal", theirs):
            logger.error(
                "timeline %d here and on %s are two histories: cloned anew", theirs.timeline, leader.name
            )
            self._state = needed
            setattr(self, JOINED, True)

    return _check_timeline_and_lsn


def rewinding(original: Callable[[Any, dict[str, Any]], bool]) -> Callable[[Any, dict[str, Any]], bool]:
    """In the place of `pg_rewind`, which would answer that all is well; False lets Patroni clone anew."""

    def pg_rewind(self: Any, conn_kwargs: dict[str, Any]) -> bool:
        return not getattr(self, JOINED, False) and original(self, conn_kwargs)

    return pg_rewind


def install() -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `rewind` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.postgresql.rewind import REWIND_STATUS, Rewind  # pyright: ignore[reportMissingTypeStubs]

    wrap(
        Rewind,
        "_check_timeline_and_lsn",
        ("self", "leader"),
        lambda original: check(original, REWIND_STATUS.NEED, REWIND_STATUS.NOT_NEED, ask_history),
    )
    wrap(Rewind, "pg_rewind", ("self", "conn_kwargs"), rewinding)
