"""A throw-away primary, asked as an observer asks it."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from failover.config import Config
from failover.observer import monotonic_ms
from failover.probe_sql import SqlProbe
from failover.streaks import Probe, Streak, extended
from failover.view import Reach

from ..replication.salvage_servers import as_postgres, free_port

BIN = Path("/usr/lib/postgresql/15/bin")
CONFIGURATION = """
listen_addresses = '127.0.0.1'
shared_buffers = 32MB
"""


@contextlib.contextmanager
def primary(folder: Path, wal: Path | None = None) -> Iterator[int]:
    """Its data in `folder/data`, its WAL beside it or in `wal`; its port."""
    with as_postgres():
        number = free_port()
        data = folder / "data"
        quiet = {"check": True, "timeout": 60, "cwd": "/", "stdout": subprocess.DEVNULL}
        beside = ["-X", wal] if wal else []
        login = ["-U", "hanbat_observer", "-A", "trust"]
        subprocess.run([BIN / "initdb", "-D", data, "-N", *login, *beside], **quiet)
        with (data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"{CONFIGURATION}port = {number}\nunix_socket_directories = '{folder}'\n")
        control = [BIN / "pg_ctl", "-D", data, "-w", "-s", "-l", folder / "log"]
        subprocess.run([*control, "start"], **quiet)
    try:
        yield number
    finally:
        with as_postgres():
            subprocess.run([*control, "-m", "immediate", "stop"], **quiet)


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    with as_postgres():
        folder = Path(tempfile.mkdtemp(prefix="hanbat-probe-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def dsn(config: Config, port: int) -> str:
    """As an observer asks, at our port."""
    text = re.sub(r"host=\S+ port=5432", f"host=127.0.0.1 port={port}", config.dsn("dj-db1"))
    assert f"port={port}" in text
    return text


def sql(port: int, *statements: str) -> None:
    connection = psycopg2.connect(f"host=127.0.0.1 port={port} user=hanbat_observer dbname=postgres")
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("SET synchronous_commit = local")
    for statement in statements:
        cursor.execute(statement)
    connection.close()


@dataclass
class Watched:
    """Probes in real time, and what becomes of them."""

    probe: SqlProbe
    streak: Streak | None = None
    probes: list[Probe] = field(default_factory=list[Probe])

    def until(self, end_ms: int, *, stop: Reach | None = None) -> Probe:
        while True:
            found = self.probe.probe()
            self.probes.append(found)
            self.streak = extended(self.streak, found)
            if found.reach is stop or monotonic_ms() > end_ms:
                return found
            time.sleep(0.1)
