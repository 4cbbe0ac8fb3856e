"""A primary that answers, commits and cannot extend a file: the disk is really full."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from failover.canary import Limits, Refusals, refused
from failover.config import Config, load
from failover.observer import monotonic_ms
from failover.policy import Policy
from failover.probe_sql import SqlProbe
from failover.streaks import Probe, seen
from failover.view import Reach, Role
from replication.disk_room import CREATE, EXTEND, lack_of
from replication.mends.shown_commit import commits

from ..replication.topologies import SHAPES
from .probed_server import Watched, dsn, own_folder, primary, sql
from .test_render import CONFIG, files

WHY = "cannot extend a file: disk full"
REACHED = Probe(5000, 5010, Reach.REACHABLE, Role.PRIMARY, sync_lsn=480)


def test_one_refusal_is_not_enough_and_two_count_from_the_first() -> None:
    one = refused(None, 1000, WHY)
    two = refused(one, 1300, WHY)
    assert (one, two) == (Refusals(1000, 1, WHY), Refusals(1000, 2, WHY))
    doubted, found = one.judge(REACHED, 2), two.judge(REACHED, 2)
    assert (doubted.reach, doubted.since_ms) == (Reach.REACHABLE, None)
    assert (found.reach, found.since_ms, found.role) == (Reach.UNREACHABLE, 1000, Role.PRIMARY)
    assert doubted.detail.why == found.detail.why == WHY


def test_from_the_first_refusal_on_the_sync_position_stands_still() -> None:
    """The primary goes on acknowledging small commits; a candidate must not seem to be behind."""
    assert refused(None, 1000, WHY).judge(REACHED, 2).sync_lsn is None


@pytest.mark.parametrize(
    ("code", "lack"),
    [
        ("53100", WHY),
        ("58030", "cannot extend a file: input/output error"),
        ("42501", None),
        ("57P01", None),
    ],
)
def test_only_a_disk_is_to_blame_for_what_a_disk_refuses(code: str, lack: str | None) -> None:
    error = psycopg2.OperationalError("could not extend file")
    error.__setstate__({"pgcode": code})
    assert lack_of(error) == lack


def test_what_is_no_word_of_the_server_is_no_lack() -> None:
    assert lack_of(OSError("No space left on device")) is None
    assert lack_of(psycopg2.OperationalError("No space left on device")) is None


SIZE = "160m"
TABLES = "SELECT oid, relfilenode FROM pg_class WHERE relname = 'hanbat_room'"
SESSIONS = """
SELECT pid FROM pg_stat_activity WHERE query LIKE '%emit_message%' AND pid <> pg_backend_pid()
"""


@dataclass
class Disk:
    """A small disk with a primary on it, and a file that fills it."""

    point: Path
    port: int

    def fill(self) -> None:
        with (self.point / "filler").open("wb") as file:
            for step in (1 << 20, 1 << 12):
                with contextlib.suppress(OSError):
                    while True:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, step)

    def free(self) -> None:
        (self.point / "filler").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def small() -> Iterator[Disk]:
    if os.geteuid() != 0:
        pytest.skip("a disk of its own is mounted by root only")
    with own_folder() as folder:
        owner = folder.stat()
        options = f"size={SIZE},uid={owner.st_uid},gid={owner.st_gid},mode=0700"
        mount = ["mount", "-t", "tmpfs", "-o", options, "hanbat-test", str(folder)]
        done = subprocess.run(mount, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
        try:
            with primary(folder) as port:
                yield Disk(folder, port)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=20)


@pytest.fixture
def disk(small: Disk) -> Iterator[Disk]:
    yield small
    small.free()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("config") / "failover.yml"
    path.write_text(files(SHAPES["reference"], "gg-db1")[CONFIG].text, encoding="utf-8")
    return load(path)


def until_it_writes(watched: Watched) -> None:
    end = monotonic_ms() + 5000
    while watched.probe.probe().detail.commit_ms is None:
        assert monotonic_ms() < end, "the first commit does not come"
        time.sleep(0.05)


@pytest.mark.postgres
def test_a_full_disk_is_seen_and_a_disk_with_room_again_too(disk: Disk, config: Config) -> None:
    watched = Watched(SqlProbe(dsn(config, disk.port), monotonic_ms))
    until_it_writes(watched)
    began = monotonic_ms()
    disk.fill()
    sql(disk.port, "SELECT pg_logical_emit_message(true, 'hanbat', '')")  # all that was tried before
    found = watched.until(began + 6000, stop=Reach.UNREACHABLE)
    assert (found.reach, found.role, found.detail.why) == (Reach.UNREACHABLE, Role.PRIMARY, WHY)
    assert found.sync_lsn is None
    assert monotonic_ms() - began < 3000
    assert found.since_ms is not None
    assert found.since_ms >= began
    watched.until(monotonic_ms() + 1000)
    word = seen("dj-db1", watched.streak, monotonic_ms(), 1000)
    assert word.reach is Reach.UNREACHABLE  # without a break
    assert word.for_ms > Policy().window_ms
    assert not commits(observer_dsn(disk), limit_s=3)
    disk.free()
    found = watched.until(monotonic_ms() + 3000, stop=Reach.REACHABLE)
    assert (found.reach, found.detail.why) == (Reach.REACHABLE, "")
    assert commits(observer_dsn(disk), limit_s=3)


@pytest.mark.postgres
@pytest.mark.parametrize("enough", [1, 2])
def test_a_disk_that_is_full_for_a_moment_is_no_failure(disk: Disk, config: Config, enough: int) -> None:
    """With one refusal enough (the planted bug) it would be one. The next one counts anew."""
    limits = Limits(commit_every_ms=100, refusals=enough)
    watched = Watched(SqlProbe(dsn(config, disk.port), monotonic_ms, limits))
    until_it_writes(watched)
    reaches: set[Reach] = set()
    for _ in range(2):
        disk.fill()
        end = monotonic_ms() + 3000
        while (found := watched.probe.probe()).detail.why != WHY:
            assert monotonic_ms() < end
            time.sleep(0.02)
        disk.free()
        reaches.add(found.reach)
        while watched.probe.probe().detail.why:
            assert monotonic_ms() < end
            time.sleep(0.02)
    assert reaches == {Reach.UNREACHABLE if enough == 1 else Reach.REACHABLE}


@pytest.mark.postgres
def test_it_makes_its_table_once(disk: Disk, config: Config) -> None:
    watched = Watched(SqlProbe(dsn(config, disk.port), monotonic_ms, Limits(commit_every_ms=0)))
    until_it_writes(watched)
    before = asked(disk, TABLES)
    watched.until(monotonic_ms() + 2000)
    assert asked(disk, TABLES) == before
    assert len(before) == 1


@pytest.mark.postgres
def test_four_pages_are_asked_for(disk: Disk) -> None:
    """By a session like the canary's; after the commit nothing of them is left."""
    with (
        contextlib.closing(psycopg2.connect(observer_dsn(disk))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(CREATE)
        connection.commit()
        for _ in range(2):
            cursor.execute(EXTEND)
            cursor.execute("SELECT pg_relation_size('pg_temp.hanbat_room')")
            assert cursor.fetchone() == (4 * 8192,)
            connection.commit()
        cursor.execute("SELECT pg_relation_size('pg_temp.hanbat_room')")
        assert cursor.fetchone() == (0,)


@pytest.mark.postgres
def test_without_the_privilege_the_commit_alone_is_tried(disk: Disk, config: Config) -> None:
    sql(disk.port, "DROP ROLE IF EXISTS poor", "CREATE ROLE poor LOGIN")
    sql(disk.port, "REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC")
    try:
        poor = dsn(config, disk.port).replace("user=hanbat_observer", "user=poor")
        watched = Watched(SqlProbe(poor, monotonic_ms, Limits(commit_every_ms=100)))
        until_it_writes(watched)
        assert watched.until(monotonic_ms() + 800).reach is Reach.REACHABLE
        assert {one.detail.why for one in watched.probes} == {""}
    finally:
        sql(disk.port, "GRANT TEMPORARY ON DATABASE postgres TO PUBLIC")


@pytest.mark.postgres
def test_a_session_is_renewed(disk: Disk, config: Config) -> None:
    limits = Limits(commit_every_ms=50, renew_ms=1000)
    watched = Watched(SqlProbe(dsn(config, disk.port), monotonic_ms, limits))
    until_it_writes(watched)
    first = asked(disk, SESSIONS)
    watched.until(monotonic_ms() + 2000)
    assert first
    assert not asked(disk, SESSIONS) & first
    assert {one.reach for one in watched.probes} == {Reach.REACHABLE}


def observer_dsn(disk: Disk) -> str:
    return (
        f"host=127.0.0.1 port={disk.port} user=hanbat_observer dbname=postgres "
        "options='-c synchronous_commit=local'"
    )


def asked(disk: Disk, query: str) -> set[tuple]:
    with (
        contextlib.closing(psycopg2.connect(observer_dsn(disk))) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(query)
        return set(cursor.fetchall())
