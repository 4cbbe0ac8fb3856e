"""A promotion never takes a timeline that a lost primary may have taken; in Patroni's own words."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import psycopg2
import pytest
from patroni.dcs import Cluster, Leader, Member, SyncState, TimelineHistory
from patroni.ha import Ha

from replication import fresh_timeline
from replication.fresh_timeline import COMMENT, Memory, leave_out


def cluster(
    holder: str | None, role: str = "primary", timeline: int | None = 7, own: int | None = 7, leader: str = ""
) -> Cluster:
    """A snapshot: who holds the lock, and what it and dj-db2 have last said of themselves."""
    data: dict[str, Any] = {"role": role} | ({"timeline": timeline} if timeline else {})
    mine: dict[str, Any] = {"role": "replica"} | ({"timeline": own} if own else {})
    members = [Member("1", name, None, data) for name in ("dj-db1", "gg-db1")]
    members.append(Member("1", "dj-db2", None, mine))
    found = next((one for one in members if one.name == holder), None)
    sync = SyncState.from_node("3", {"leader": leader or holder, "sync_standby": "dj-db2"})
    lock = Leader("2", "1", found) if found else None
    return Cluster(**{**Cluster.empty()._asdict(), "leader": lock, "members": members, "sync": sync})


def seen(*snapshots: Cluster) -> str | None:
    memory = Memory()
    for snapshot in snapshots:
        memory.note(snapshot, "dj-db2")
    return memory.seen


def test_a_primary_on_the_own_timeline_is_seen_and_stays_so_while_nobody_holds_the_lock() -> None:
    assert seen(cluster("dj-db1")) == "dj-db1"
    assert seen(cluster("dj-db1"), cluster(None)) == "dj-db1"
    assert seen(cluster("dj-db1"), cluster("dj-db1", timeline=None)) == "dj-db1"
    assert seen(cluster("dj-db1"), cluster("dj-db1", role="demoted")) == "dj-db1"


@pytest.mark.parametrize(
    "last",
    [
        cluster("gg-db1", role="replica"),
        cluster("gg-db1", role="promoted"),
        cluster("gg-db1", timeline=8),
        cluster("dj-db1", timeline=8),
    ],
)
def test_who_may_be_on_a_newer_timeline_is_not_seen(last: Cluster) -> None:
    """Planted: the lost primary's number is one above one's own, and free by all that one has here."""
    assert seen(cluster("dj-db1"), last) is None


def test_the_number_above_all_that_are_there_is_left_out(tmp_path: Path) -> None:
    for number in (7, 8, 10):
        (tmp_path / f"{number:08X}.history").write_text("6\t0/5\treason\n")
    assert leave_out(tmp_path, 6) == 9
    assert (tmp_path / "00000009.history").read_text() == COMMENT
    assert leave_out(tmp_path, 6) == 11


def test_comments_above_the_newest_history_go_and_those_below_it_stay(tmp_path: Path) -> None:
    """Planted: a standby with a comment for 9 does not ask for the history of 9, and cannot follow."""
    for number, text in ((6, COMMENT), (7, "6\t0/5\treason\n"), (8, COMMENT), (9, COMMENT)):
        (tmp_path / f"{number:08X}.history").write_text(text)
    fresh_timeline.tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000006.history", "00000007.history"]


class Promoted(Ha):
    """dj-db2 on the way to its promotion."""

    def __init__(self, snapshot: Cluster, data: Path) -> None:
        self.cluster: Any = snapshot
        self.state_handler: Any = SimpleNamespace(name="dj-db2", data_dir=str(data))


def promotes(memory: Memory, snapshot: Cluster, data: Path, answer: Any = 7) -> bool:
    """Whether it goes on to Patroni's own function."""

    def ask(sql: str) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    local: Any = SimpleNamespace(ask=ask, close=lambda: None)
    step = fresh_timeline.before_promotion(lambda ha: True, memory, lambda: local)
    return step(Promoted(snapshot, data))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "pg_wal").mkdir()
    return tmp_path


def left_out(data: Path) -> list[str]:
    return sorted(path.name for path in (data / "pg_wal").iterdir())


def test_after_a_primary_that_was_seen_nothing_is_left_out(data: Path) -> None:
    memory = Memory()
    memory.note(cluster("dj-db1"), "dj-db2")
    assert promotes(memory, cluster(None, leader="dj-db1"), data)
    assert left_out(data) == []


def test_after_one_that_was_not_seen_its_number_is_left_out(data: Path) -> None:
    memory = Memory()
    memory.note(cluster("dj-db1"), "dj-db2")
    assert promotes(memory, cluster(None, leader="gg-db1"), data)
    assert left_out(data) == ["00000008.history"]


def test_a_promotion_that_is_postponed_leaves_no_number_out(data: Path) -> None:
    """Planted: /sync had changed, and another host took the number."""
    local: Any = SimpleNamespace(ask=lambda sql: 7, close=lambda: None)
    step = fresh_timeline.before_promotion(lambda ha: False, Memory(), lambda: local)
    assert not step(Promoted(cluster(None, leader="gg-db1"), data))
    assert left_out(data) == []


@pytest.mark.parametrize(
    ("role", "busy", "stays"), [("replica", False, False), ("replica", True, True), ("primary", False, True)]
)
def test_a_promotion_that_did_not_come_is_tidied_up_once(
    data: Path, role: str, busy: bool, stays: bool
) -> None:
    (data / "pg_wal" / "00000008.history").write_text(COMMENT)
    memory, ha = Memory(), Promoted(cluster("dj-db1"), data)
    ha.state_handler.role = role
    ha._async_executor = SimpleNamespace(busy=busy)
    assert fresh_timeline.touch_member(lambda ha: True, memory)(ha)
    assert (bool(left_out(data)), memory.untidy) == (stays, stays)


@pytest.mark.parametrize("failure", [psycopg2.OperationalError("gone"), TimeoutError("slow")])
def test_a_number_that_cannot_be_left_out_postpones_the_promotion(data: Path, failure: Exception) -> None:
    assert not promotes(Memory(), cluster(None, leader="gg-db1"), data, failure)


def test_a_full_disk_postpones_the_promotion(tmp_path: Path) -> None:
    assert not promotes(Memory(), cluster(None, leader="gg-db1"), tmp_path)  # there is no pg_wal


@pytest.mark.parametrize(
    ("written", "timeline", "calls"),
    [
        ([[7, 100, "reason", "time", "dj-db2"]], 9, 0),  # 8 was left out, and this stands there
        ([[7, 100, "reason"]], 9, 1),
        ([[6, 90, "reason", "time", "dj-db1"]], 9, 1),
        ([[7, 100, "reason", "time", "dj-db2"]], 8, 1),  # no gap: Patroni's own look
        ([], 9, 1),
    ],
)
def test_history_is_written_once_over_a_gap(written: list[Any], timeline: int, calls: int) -> None:
    called: list[Any] = []
    lines: Any = [tuple(line) for line in written]
    server = SimpleNamespace(
        get_primary_timeline=lambda: timeline, get_history=lambda number: [[7, 100, "reason"]]
    )
    ha = SimpleNamespace(
        cluster=SimpleNamespace(history=TimelineHistory("1", "", lines) if lines else None),
        state_handler=server,
    )
    fresh_timeline.update_cluster_history(called.append)(ha)
    assert len(called) == calls
