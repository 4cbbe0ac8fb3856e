"""When a value of `synchronous_standby_names` is in force: every process that acts by it has read it (ADR 5).

PostgreSQL shows a value as soon as the process that is *asked* has read it (`pg_stat_replication.sync_state`
too). Two kinds of processes act by it, and each reads its settings when it comes to it:

- The checkpointer alone makes commits wait for anybody at all, or for nobody. It reads no settings during
  an immediate checkpoint, nor while any checkpoint syncs its files: seconds on a slow disk.
- Each walsender lets commits go by the names that *it* has read, and by the places in them that others have.

Read in PostgreSQL 15: `checkpointer.c`, `syncrep.c`, `walsender.c`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from replication.local_sql import Local

LOOK_S = 0.02
SHOW_S = 5.0
CHECKPOINT_S = 300.0  # who gives up too soon asks for the next one
ANSWER_S = 5.0
READ_S = 15.0  # PostgreSQL ends a walsender whose other side is silent much sooner (`wal_sender_timeout`)
SHOWN = "SELECT current_setting('synchronous_standby_names')"
RECORD = "SELECT pg_wal_lsn_diff(pg_logical_emit_message(true, 'hanbat', 'in force'), '0/0')::bigint"
SENT = """
SELECT coalesce(json_object_agg(pid, pg_wal_lsn_diff(sent_lsn, '0/0')::bigint), '{}')
  FROM pg_stat_replication WHERE state IN ('catchup', 'streaming', 'stopping') AND sent_lsn IS NOT NULL
"""
MOVES = 2


def shown(
    value: str,
    new: Callable[[], Local] = Local,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Local | None:
    """A new session that shows the value, None when none does within SHOW_S.

    It shows what the postmaster has read, and by then the postmaster has signalled all its children.
    Raises psycopg2.Error or TimeoutError.
    """
    end_s = clock() + SHOW_S
    while clock() < end_s:
        local = new()
        try:
            if local.ask(SHOWN) == value:
                return local
        except BaseException:
            local.close()
            raise
        local.close()
        sleep(LOOK_S)
    return None


def read_by_checkpointer(local: Local) -> None:
    """Until the checkpointer has read its settings after now. Raises psycopg2.Error or TimeoutError.

    It reads them in each of its rounds before it looks whether a checkpoint was asked for. One round may have
    read them before the signal, and see what is asked for after it; the round of the second one has not.
    """
    for _ in range(2):
        local.run("CHECKPOINT", CHECKPOINT_S)


def record(local: Local) -> int:
    """Write and flush a record here; its end, in bytes. Raises psycopg2.Error or TimeoutError."""
    return _asked(local, RECORD)


def read_by_walsenders(
    local: Local,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Until every walsender has read its settings after now. Raises psycopg2.Error or TimeoutError.

    A walsender's round: read the settings if signalled, take the standby's answers (and let commits go), send
    once. That its sent position has moved MOVES times since shows a round that began after the first move. It
    does not wait for the standby, which may be slow. One that comes later reads before it takes any answer.
    """
    end_s = clock() + READ_S
    last: dict[str, int] = _asked(local, SENT)
    left: dict[str, int] = dict.fromkeys(last, MOVES)
    while left:
        if clock() >= end_s:
            raise TimeoutError(f"walsenders that may not have read their settings: {', '.join(sorted(left))}")
        record(local)
        sleep(LOOK_S)
        sent: dict[str, int] = _asked(local, SENT)
        moves = {pid: count - (sent[pid] != last[pid]) for pid, count in left.items() if pid in sent}
        left, last = {pid: count for pid, count in moves.items() if count > 0}, sent


def _asked(local: Local, sql: str) -> Any:
    return local.run(sql, ANSWER_S).fetchone()[0]
