"""A primary whose data volume the kernel has made read-only; its WAL stands on another, and it commits on."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from failover.config import Config, load
from failover.observer import monotonic_ms
from failover.policy import Policy
from failover.probe_sql import SqlProbe
from failover.streaks import seen
from failover.view import Reach, Role

from ..replication.topologies import SHAPES
from .probed_server import Watched, dsn, own_folder, primary
from .test_canary import until_it_writes
from .test_render import CONFIG, files

WHY = "cannot extend a file: Read-only file system"
NO_LOGIN = "nobody can log in: Read-only file system"
EMIT = "SELECT pg_logical_emit_message(true, 'hanbat', '')"  # all that was tried before


@dataclass
class Volume:
    """A volume of its own with a primary on it."""

    port: int
    error: Path  # written to, the file system finds an error

    def breaks(self) -> None:
        self.error.write_text("1", encoding="ascii")


def mounted(image: Path, point: Path) -> Path:
    """A new ext4, mounted with `errors=remount-ro`, as Debian does; where an error is injected."""
    owner = point.stat()
    for command in (
        ["mkfs.ext4", "-q", "-F", str(image), "160M"],
        ["mount", "-o", "loop,errors=remount-ro", str(image), str(point)],
        ["findmnt", "-n", "-o", "SOURCE", str(point)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            pytest.skip(f"no file system can be made to break here: {done.stderr.strip()}")
    os.chown(point, owner.st_uid, owner.st_gid)
    return Path("/sys/fs/ext4") / Path(done.stdout.strip()).name / "trigger_fs_error"


@pytest.fixture
def volume() -> Iterator[Volume]:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("a volume of its own is made by root only")
    with own_folder() as wal, own_folder() as folder:
        try:
            error = mounted(wal / "image", folder)
            with primary(folder, wal / "pg_wal") as port:
                yield Volume(port, error)
        except subprocess.CalledProcessError as error:
            if "stop" not in error.cmd:  # it has stopped, and could not remove its postmaster.pid
                raise
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=False, timeout=20, capture_output=True)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "failover.yml"
    path.write_text(files(SHAPES["reference"], "gg-db1")[CONFIG].text, encoding="utf-8")
    return load(path)


@pytest.mark.postgres
def test_a_volume_that_became_read_only_is_seen(
    volume: Volume, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """By a session that was there before, and by an observer that begins anew: a login opens tables."""
    before = psycopg2.connect(f"host=127.0.0.1 port={volume.port} user=hanbat_observer dbname=postgres")
    with contextlib.closing(before), before.cursor() as cursor:
        cursor.execute(EMIT)
        before.commit()
        watched = Watched(SqlProbe(dsn(config, volume.port), monotonic_ms))
        until_it_writes(watched)
        volume.breaks()
        cursor.execute(EMIT)
        before.commit()
    found = watched.until(monotonic_ms() + 4000, stop=Reach.UNREACHABLE)
    assert (found.reach, found.detail.why) == (Reach.UNREACHABLE, WHY)
    late = Watched(SqlProbe(dsn(config, volume.port), monotonic_ms))
    found = late.until(monotonic_ms() + 4000, stop=Reach.UNREACHABLE)
    assert (found.reach, found.detail.why) == (Reach.UNREACHABLE, NO_LOGIN)
    assert [one.getMessage() for one in caplog.records] == [f"primary at 127.0.0.1: {WHY}"]


@pytest.mark.postgres
def test_a_canary_that_has_lost_its_session(volume: Volume, config: Config) -> None:
    """Planted: a new one is refused at the login, and the primary was reachable, since it still answers."""
    probe = SqlProbe(dsn(config, volume.port), monotonic_ms)
    watched = Watched(probe)
    until_it_writes(watched)
    volume.breaks()
    probe._canary.close()
    found = watched.until(monotonic_ms() + 4000, stop=Reach.UNREACHABLE)
    assert (found.reach, found.role, found.detail.why) == (Reach.UNREACHABLE, Role.PRIMARY, NO_LOGIN)
    watched.until(monotonic_ms() + 1500)
    word = seen("dj-db1", watched.streak, monotonic_ms(), 1000)
    assert (word.reach, word.for_ms > Policy().window_ms) == (Reach.UNREACHABLE, True)  # without a break
