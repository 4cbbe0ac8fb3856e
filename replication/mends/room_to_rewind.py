"""A host is rewound only when there is room to write; until then it waits.

`pg_rewind` takes away before it has written all: broken off for want of room, it leaves a data directory
that no second rewind can mend. Patroni 4.1 takes that for a failed rewind, removes the data directory and
clones the host anew, which cannot end either while there is no room (tried with PostgreSQL 15, on a full
volume for WAL). And a host whose volume was full is just what has to be rewound.

How much a rewind writes is not known before it. Less than LEAST_BYTES free is no room for any; with more it
is tried, as before. In the journal a line a loop says what is waited for.

One function is wrapped, `Rewind.execute`: nothing returned means "not now" to Patroni.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

LEAST_BYTES = 64 << 20


def lack_of_room(
    data_dir: Path, free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> str | None:
    """Which of the two, data directory or WAL, has no room. None also when that cannot be told."""
    for path in (data_dir, (data_dir / "pg_wal").resolve()):
        try:
            free = free_bytes(path)
        except OSError:  # as when it is not there: Patroni will find out
            continue
        if free < LEAST_BYTES:
            return f"{path} has {free >> 20} MB free, and less than {LEAST_BYTES >> 20} MB is no room"
    return None


def executing(
    original: Callable[[Any, Any], bool | None], lack: Callable[[Path], str | None] = lack_of_room
) -> Callable[[Any, Any], bool | None]:
    """In the place of `execute`, which it calls when there is room."""

    def execute(self: Any, leader: Any) -> bool | None:
        why = lack(Path(self._postgresql.data_dir))
        if why is not None:
            logger.warning("not rewound from %s for want of room: %s", leader.name, why)
            return None
        return original(self, leader)

    return execute


def install() -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `rewind` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.postgresql.rewind import Rewind  # pyright: ignore[reportMissingTypeStubs]

    wrap(Rewind, "execute", ("self", "leader"), executing)
