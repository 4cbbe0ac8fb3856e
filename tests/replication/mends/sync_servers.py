"""A primary with standbys whose processes can be stopped one by one; real PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg2

from replication.local_sql import Local

from ..salvage_servers import BIN, Node, as_postgres, free_port, run

INITDB = ("-U", "postgres", "-A", "trust", "-N", "-k", "-E", "UTF8", "--locale=C.UTF-8")
ROWS = """
SELECT pid, application_name, sync_state, pg_wal_lsn_diff(flush_lsn, '0/0')::bigint FROM pg_stat_replication
"""
FLUSHED = "SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint"


@contextlib.contextmanager
def streaming(*names: str) -> Iterator[tuple[Node, ...]]:
    """The first is the primary, and all others stream from it. It has the table `written`."""
    with as_postgres():
        folder = Path(tempfile.mkdtemp(prefix="hanbat-sync-pg-"))
        nodes = tuple(Node(folder, name, free_port()) for name in names)
        first, *standbys = nodes
        try:
            run(BIN / "initdb", "-D", first.data, *INITDB)
            for node in standbys:
                run("cp", "-a", first.data, node.data)
                with (node.data / "postgresql.conf").open("a") as out:
                    out.write(f"cluster_name = '{node.name}'\n")  # and so the name of its walreceiver
            first.configure()
            first.control("start")
            first.sql("CREATE TABLE written (number int)", "postgres")
            for node in standbys:
                node.follow(first)
            until(lambda: len(first.sql(ROWS, "postgres")) == len(standbys), "all stream")
            yield nodes
        finally:
            for node in nodes:
                if (node.data / "postmaster.pid").exists():
                    with contextlib.suppress(AssertionError):
                        node.control("-m", "immediate", "stop")
            shutil.rmtree(folder, ignore_errors=True)


def until(holds: Callable[[], bool], what: str, limit_s: float = 20) -> None:
    end_s = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    """SIGSTOP: for the checkpointer it stands for an immediate checkpoint that takes long."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def process(node: Node, kind: str) -> int:
    return node.sql(f"SELECT pid FROM pg_stat_activity WHERE backend_type = '{kind}'", "postgres")[0][0]


def walsender(node: Node, of: Node) -> int:
    return next(pid for pid, name, *_ in node.sql(ROWS, "postgres") if name == of.name)


def session(node: Node) -> Local:
    return Local(f"{node.dsn('postgres')} options='-c synchronous_commit=local'")


def tell(node: Node, names: str) -> None:
    node.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'", "postgres")
    node.sql("SELECT pg_reload_conf()", "postgres")
    until(lambda: node.sql("SHOW synchronous_standby_names", "postgres") == [(names,)], "it shows the names")


def acknowledged(node: Node, number: int) -> bool:
    """Whether a commit is acknowledged within a second; if not, the connection is closed."""
    connection: Any = psycopg2.connect(node.dsn("postgres"), async_=1)
    with contextlib.closing(connection):
        waited(connection, 5)
        cursor = connection.cursor()
        cursor.execute(f"INSERT INTO written VALUES ({number})")
        return waited(connection, 1)


def waited(connection: Any, limit_s: float) -> bool:
    end_s = time.monotonic() + limit_s
    while connection.poll() != psycopg2.extensions.POLL_OK:
        if time.monotonic() > end_s:
            return False
        time.sleep(0.01)
    return True
