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
from replication.disk_room import CREATE, EXTEND, lack, lack_at_login, lack_of
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


RO = 'could not extend file "base/5/t3_16384": Read-only file system'
EUCLEAN = 'could not create file "base/5/t3_16384": Structure needs cleaning'
READ_ONLY, UNCLEAN = (
    "cannot extend a file: Read-only file system",
    "cannot extend a file: Structure needs cleaning",
)


@pytest.mark.parametrize(
    ("code", "source", "message", "fresh", "made"),
    [
        ("53100", "md.c", 'could not extend file "x": No space left on device', WHY, WHY),
        ("58030", "md.c", "x", *["cannot extend a file: input/output error"] * 2),
        ("42501", "md.c", RO, READ_ONLY, READ_ONLY),  # planted: taken for a missing privilege
        ("XX000", "md.c", EUCLEAN, UNCLEAN, UNCLEAN),
        ("53000", "fd.c", "out of file descriptors: x", *["cannot extend a file: x"] * 2),
        ("42501", "namespace.c", "permission denied to create temporary tables in database", None, None),
        ("42501", "aclchk.c", "permission denied for function pg_logical_emit_message", None, None),
        ("XX000", "relcache.c", "cache lookup failed", None, "cannot extend a file: cache lookup failed"),
        ("42P01", "parse_relation.c", "relation does not exist", None, None),  # a person dropped it
        ("25006", "utility.c", "cannot execute CREATE TABLE in a read-only transaction", None, None),
        ("57014", "postgres.c", "canceling statement due to user request", None, None),
        ("57P01", "postgres.c", "terminating connection", None, None),
    ],
)
def test_only_a_disk_is_to_blame_for_what_a_disk_refuses(
    code: str, source: str, message: str, fresh: str | None, made: str | None
) -> None:
    """`fresh`: said to a session whose table has not been made; `made`: to one whose table was extended."""
    assert lack(code, source, message, made=False) == fresh
    assert lack(code, source, message, made=True) == made


@pytest.mark.parametrize("made", [False, True])
def test_what_is_no_word_of_the_server_is_no_lack(made: bool) -> None:
    assert lack_of(OSError("No space left on device"), made=made) is None
    assert lack_of(psycopg2.OperationalError("No space left on device"), made=made) is None


LOGIN = 'connection to server at "10.0.0.9", port 5432 failed: FATAL:  '


@pytest.mark.parametrize(
    ("text", "lack"),
    [
        (
            'could not open file "base/5/2601": Read-only file system',
            "nobody can log in: Read-only file system",
        ),
        ('could not open file "global/1262": Input/output error', "nobody can log in: Input/output error"),
        ("sorry, too many clients already", None),
        ('database "x" does not exist', None),
        ("the database system is starting up", None),
    ],
)
def test_a_login_that_the_file_system_refuses(text: str, lack: str | None) -> None:
    assert lack_at_login(psycopg2.OperationalError(LOGIN + text)) == lack
    assert lack_at_login(OSError("Read-only file system")) is None  # ours


SIZE = "160m"
TABLES = "SELECT oid, relfilenode FROM pg_class WHERE relname = 'hanbat_room'"
DATABASE = "SELECT oid::text FROM pg_database WHERE datname = current_database()"
WHERE_IT_IS = (
    "SELECT relnamespace::regnamespace || '.hanbat_room' FROM pg_class WHERE relname = 'hanbat_room'"
)
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
def test_without_the_privilege_the_commit_alone_is_tried(
    disk: Disk, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once, shown all the while, and given up when the privilege is there again."""
    sql(disk.port, "DROP ROLE IF EXISTS poor", "CREATE ROLE poor LOGIN")
    sql(disk.port, "REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC")
    try:
        poor = dsn(config, disk.port).replace("user=hanbat_observer", "user=poor")
        limits = Limits(commit_every_ms=100, plain_ms=1000)
        watched = Watched(SqlProbe(poor, monotonic_ms, limits))
        until_it_writes(watched)
        assert watched.until(monotonic_ms() + 2500).reach is Reach.REACHABLE
        assert {one.reach for one in watched.probes} == {Reach.REACHABLE}
        assert any("only commits are tried" in one.detail.why for one in watched.probes[-5:])
        assert len(caplog.records) == 1
    finally:
        sql(disk.port, "GRANT TEMPORARY ON DATABASE postgres TO PUBLIC")
    end = monotonic_ms() + 3000
    while (found := watched.probe.probe().detail).why or found.commit_ms is None:
        assert monotonic_ms() < end, "the file is never tried again"
        time.sleep(0.05)
    assert "can be written to again" in caplog.text


@pytest.mark.postgres
def test_a_table_that_a_person_dropped_is_made_again(disk: Disk, config: Config) -> None:
    watched = Watched(SqlProbe(dsn(config, disk.port), monotonic_ms, Limits(commit_every_ms=50)))
    until_it_writes(watched)
    sql(disk.port, f"DROP TABLE {asked_one(disk, WHERE_IT_IS)}")
    watched.until(monotonic_ms() + 1000)
    assert {one.reach for one in watched.probes} == {Reach.REACHABLE}
    assert watched.probes[-1].detail.why == ""


@pytest.mark.postgres
def test_files_that_cannot_be_made_in_a_new_session(disk: Disk, config: Config) -> None:
    """Planted: a file system refuses with the SQLSTATE of a missing privilege; the canary left files out."""
    folder = disk.point / "data" / "base" / asked_one(disk, DATABASE)
    folder.chmod(0o500)
    try:
        watched = Watched(SqlProbe(dsn(config, disk.port), monotonic_ms))
        found = watched.until(monotonic_ms() + 4000, stop=Reach.UNREACHABLE)
        assert (found.reach, found.detail.why) == (
            Reach.UNREACHABLE, "cannot extend a file: Permission denied",
        )  # fmt: skip
    finally:
        folder.chmod(0o700)
    found = watched.until(monotonic_ms() + 3000, stop=Reach.REACHABLE)
    assert (found.reach, found.detail.why) == (Reach.REACHABLE, "")


@pytest.mark.postgres
def test_a_file_that_cannot_be_extended_for_a_reason_without_a_code(
    disk: Disk, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    """Planted: SQLSTATE XX000, as of a quota or a broken file system, was no refusal, and nobody was told."""
    watched = Watched(SqlProbe(dsn(config, disk.port), monotonic_ms))
    until_it_writes(watched)
    for (pid,) in asked(disk, SESSIONS):
        limit = ["prlimit", f"--pid={pid}", "--fsize=0:"]
        subprocess.run(["runuser", "-u", "postgres", "--", *limit], check=True, timeout=20)
    found = watched.until(monotonic_ms() + 4000, stop=Reach.UNREACHABLE)
    assert (found.reach, found.detail.why) == (Reach.UNREACHABLE, "cannot extend a file: File too large")
    watched.until(monotonic_ms() + 1000)
    assert [one.getMessage() for one in caplog.records] == [
        "primary at 127.0.0.1: cannot extend a file: File too large"
    ]


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


def asked_one(disk: Disk, query: str) -> str:
    ((one,),) = asked(disk, query)
    return one
