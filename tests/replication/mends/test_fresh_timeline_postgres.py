"""PostgreSQL takes the claimed number, wherever it begins to count, and its standbys follow over the gap."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from replication.mends.fresh_timeline import COMMENT, ORDER, TIMELINE, is_ordered, leave_out, tidy

from ..salvage_servers import BIN, Node, as_postgres, free_port, run

pytestmark = [
    pytest.mark.skipif(not (BIN / "postgres").exists(), reason="needs PostgreSQL 15's programs"),
    pytest.mark.postgres,
]
INITDB = ("-U", "postgres", "-A", "trust", "-N", "-k", "-E", "UTF8", "--locale=C.UTF-8")


@pytest.fixture
def servers() -> Iterator[tuple[Node, Node, Node]]:
    """A primary and two standbys, on timeline 1."""
    with as_postgres():
        folder = Path(tempfile.mkdtemp(prefix="hanbat-timeline-pg-"))
        nodes = tuple(Node(folder, name, free_port()) for name in ("dj-db1", "gg-db1", "dj-db2"))
        first, *standbys = nodes
        try:
            run(BIN / "initdb", "-D", first.data, *INITDB)
            for node in standbys:
                run("cp", "-a", first.data, node.data)
            first.configure()
            first.control("start")
            for node in standbys:
                node.follow(first)
            yield first, standbys[0], standbys[1]
        finally:
            for node in nodes:
                if (node.data / "postmaster.pid").exists():
                    with contextlib.suppress(AssertionError):
                        node.control("-m", "immediate", "stop")
            shutil.rmtree(folder, ignore_errors=True)


def promoted(node: Node) -> int:
    node.control("promote")
    return promoted_to(node)


def promoted_to(node: Node) -> int:
    node.sql("CHECKPOINT", "postgres")
    return node.sql("SELECT timeline_id FROM pg_control_checkpoint()", "postgres")[0][0]


def follows(standby: Node, timeline: int) -> bool:
    end_s = time.monotonic() + 20
    while standby.sql("SELECT received_tli FROM pg_stat_wal_receiver", "postgres") != [(timeline,)]:
        if time.monotonic() > end_s:
            return False
        time.sleep(0.1)
    return True


def test_postgresql_takes_the_claimed_number(servers: tuple[Node, Node, Node]) -> None:
    """Claimed is 5: two primaries of which this host never heard may have used 2 to 4."""
    _first, candidate, third = servers
    own = candidate.sql(TIMELINE, "postgres")[0][0]
    wal = candidate.data / "pg_wal"
    assert leave_out(wal, own, 5) == [2, 3, 4]
    assert promoted(candidate) == 5
    third.control("stop")
    third.follow(candidate)  # the last line of its configuration counts
    assert follows(third, 5)
    assert (third.data / "pg_wal" / "00000003.history").read_text() == COMMENT
    tidy(third.data / "pg_wal")
    assert leave_out(third.data / "pg_wal", third.sql(TIMELINE, "postgres")[0][0], 8) == [6, 7]
    assert promoted(third) == 8


def ordered(node: Node) -> bool:
    return is_ordered(node.data, lambda sql: node.sql(sql, "postgres"))


def until(what: str, holds: Callable[[], bool]) -> None:
    end_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end_s, what
        time.sleep(0.05)


@pytest.mark.parametrize("removed", [False, True], ids=["files stay", "planted: files removed"])
def test_an_order_to_promote_is_seen_until_it_is_carried_out(
    servers: tuple[Node, Node, Node], removed: bool
) -> None:
    """While the last WAL is asked of the archive, as long as it takes, the new timeline has no number."""
    _first, candidate, _third = servers
    wal, waits = candidate.data / "pg_wal", candidate.folder / "waits"
    with (candidate.data / "postgresql.conf").open("a") as out:
        out.write(f"restore_command = 'while [ -e {waits} ]; do sleep 0.05; done; false'\n")
    candidate.control("reload")
    assert not ordered(candidate)
    candidate.sql("SELECT pg_wal_replay_pause()", "postgres")
    assert not ordered(candidate)
    assert candidate.sql("SELECT pg_is_wal_replay_paused()", "postgres") == [(True,)]
    candidate.sql("SELECT pg_wal_replay_resume()", "postgres")
    leave_out(wal, candidate.sql(TIMELINE, "postgres")[0][0], 5)
    waits.touch()
    candidate.control("-W", "promote")
    assert ordered(candidate)
    until("the order is seen", lambda: not (candidate.data / ORDER).exists())
    assert candidate.sql("SELECT pg_is_in_recovery()", "postgres") == [(True,)]
    assert ordered(candidate)
    if removed:
        tidy(wal)
    waits.unlink()
    until("it is promoted", lambda: candidate.sql("SELECT pg_is_in_recovery()", "postgres") == [(False,)])
    assert ordered(candidate)
    assert promoted_to(candidate) == (2 if removed else 5)
