"""A standby has left the sync set for every walsender before another one joins it (I1 of ADR 5).

Each walsender lets commits go by the names and the number that *it* has read, and by the places in them that
the others have read: with a number of two, the standby that answers must be one of the first two that have a
place, and both have flushed. While `2 (j, n)` becomes `2 (i, n)` three may have a place: j still, i already,
and n. "The first two" may then be i and j, and commits go that n has not, which `/sync` names. Where n is not
connected, a set that only grows does it too: `2 (a, n)` to `3 (a, i, n)`, by a walsender that has read the
first number and a place of i.

One function is wrapped, `ConfigHandler.set_synchronous_standby_names`. Where somebody stays, beside whom
others join or stay, PostgreSQL is told twice. First the *stage*: those who stay, behind as many places of
nobody (`GATE`) as make the number the larger of the two. Nothing is acknowledged meanwhile. Then, when each
walsender shows the place that the stage gives it, the new names. PostgreSQL shows the place that each one
*itself* has read (`pg_stat_replication.sync_priority`), and one that is forked later has read no older names,
since a new session showed that the postmaster has read the stage.

*Claim.* While the names go from A to B, no commit goes without all of S, which is in both. *Proof.* From A to
the stage, only members of A have a place, and each number is |A| at least: if enough of them count, all do.
Then all have read the stage: where its number is larger than |A|, each place in it is another than in A. From
there to B only members of B have a place, and each number is |B| at least. ∎ One that stays alone, and was
alone, needs no stage: its own walsender counts itself, and who joins has read the new number. It is looked
all the same whether anybody else has a place, left over from before. And one that is to be alone needs none.

If a walsender does not show its place in time, the stage stays: no commit goes, nothing is lost, and
Patroni's next loop tries again. A process that gets no turn for so long is one of a primary that hangs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg2

from replication.local_sql import Local
from replication.mends.gate import GATE
from replication.mends.in_force import LOOK_S, shown
from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

NAMES = "synchronous_standby_names"
READ_S = 2.0
PLACES = """
SELECT coalesce(json_agg(json_build_array(lower(application_name), sync_priority)), '[]')
  FROM pg_stat_replication
"""


def parsed(value: str) -> tuple[int, list[str]] | None:
    """The number and the names in their order; None for what Patroni does not write in the mode `on`."""
    from patroni.postgresql.sync import (  # pyright: ignore[reportMissingTypeStubs]
        parse_sync_standby_names,
    )

    try:
        found = parse_sync_standby_names(value)
    except ValueError:
        return None
    return None if found.has_star else (found.num, [str(name) for name in found.members])


def written(names: Sequence[str]) -> str:
    """As PostgreSQL reads it: commits wait for all of them."""
    from patroni.postgresql.sync import quote_standby_name  # pyright: ignore[reportMissingTypeStubs]

    quoted = [quote_standby_name(name) for name in names]
    return f"{len(names)} ({','.join(quoted)})" if len(names) > 1 else quoted[0]


def stage(before: str, value: str) -> list[str]:
    """The names of the stage on the way to `value`, [] where none is needed."""
    old, new = parsed(before), parsed(value)
    if old is None or new is None or len(new[1]) < 2:
        return []
    number, wanted = old[0], {name.lower() for name in new[1]}
    kept = [name for name in old[1] if name.lower() in wanted]
    if not kept or len(kept) == number == len(old[1]) == len(wanted):
        return []
    if number == len(old[1]) == 1:
        return kept
    return [GATE] * (max(number, len(wanted)) - len(kept)) + kept


def is_read(
    names: Sequence[str],
    new: Callable[[], Local] = Local,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Whether within READ_S each walsender shows the place that these names give it. Never raises."""
    places = {name.lower(): place for place, name in enumerate(names, start=1)}
    end_s = clock() + READ_S
    try:
        local = shown(written(names), new, sleep, clock)
        if local is None:
            logger.warning("PostgreSQL does not show %s", written(names))
            return False
        try:
            while other := [name for name, place in local.ask(PLACES) if place != places.get(name, 0)]:
                if clock() >= end_s:
                    logger.warning("a walsender has not read its settings: %s", ", ".join(sorted(other)))
                    return False
                sleep(LOOK_S)
            return True
        finally:
            local.close()
    except (psycopg2.Error, TimeoutError) as error:
        logger.warning("not known who has read the stage: %s", " ".join(str(error).split())[:200])
        return False


def exchanged(
    original: Callable[[Any, str | None], Any], read: Callable[[Sequence[str]], bool] = is_read
) -> Callable[[Any, str | None], Any]:
    """In the place of `ConfigHandler.set_synchronous_standby_names`, which it calls once or twice."""

    def set_synchronous_standby_names(self: Any, value: str | None) -> Any:
        before, server = self._server_parameters.get(NAMES), self._postgresql
        between = stage(before, value) if before and value else []
        if not between or server.state != "running" or not server.is_primary():
            return original(self, value)
        told = original(self, written(between))
        return original(self, value) if read(between) else told

    return set_synchronous_standby_names


def install() -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `config` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.postgresql.config import ConfigHandler  # pyright: ignore[reportMissingTypeStubs]

    wrap(ConfigHandler, "set_synchronous_standby_names", ("self", "value"), exchanged)
