"""A promotion never takes a timeline that another host may have taken; in Patroni's own words."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import psycopg2
import pytest
from patroni.dcs import Cluster, Member, SyncState, TimelineHistory
from patroni.dcs.etcd3 import Etcd3
from patroni.exceptions import PatroniException
from patroni.ha import Ha
from psycopg2.errors import ObjectNotInPrerequisiteState

from replication.mends import fresh_timeline, sync_swap
from replication.mends.fresh_timeline import COMMENT, Claimed, Memory, claimed, here, leave_out, next_number
from replication.mends.sync_swap import Rider

from .etcd_parts import Dcs, Etcd

SYNC, KEY = "/service/hanbat/sync", "/service/hanbat/hanbat_timeline"
OLD_COMMENT = "# left out by hanbat: a primary that was lost may have used this timeline\n"
HISTORY = "6\t0/5\treason\n"


class Host(Ha):
    """A database host with Patroni's own step before a promotion, and PostgreSQL's choice of a number."""

    def __init__(
        self, name: str, folder: Path, etcd: Etcd, timeline: int = 7, sync_mode: bool = True
    ) -> None:
        self.etcd, self.dcs, self.timeline = etcd, Dcs(etcd, name), timeline
        self.heard: dict[str, int] = {}
        self.sync_mode, self.ordered = sync_mode, False
        self.wal = folder / name / "pg_wal"
        self.wal.mkdir(parents=True)
        self.state_handler: Any = SimpleNamespace(
            name=name,
            data_dir=str(self.wal.parent),
            role="replica",
            get_primary_timeline=lambda: self.timeline,
            get_history=lambda number: [],
            sync_handler=SimpleNamespace(set_synchronous_standby_names=lambda *given: None),
        )
        self._async_executor: Any = SimpleNamespace(busy=False)
        self.starts()
        self.reads()

    def is_synchronous_mode(self) -> bool:
        return self.sync_mode

    def is_quorum_commit_mode(self) -> bool:
        return False

    def quorum_commit_mode_is_active(self) -> bool:
        return False

    def starts(self) -> None:
        """Patroni is started; the memory of the one before is gone."""
        self.memory, self.failure, self.rider = Memory(), None, RIDER

    def reads(self) -> None:
        value, revision = self.etcd.keys.get(SYNC, (None, None))
        members = [Member("1", name, None, {"timeline": number}) for name, number in self.heard.items()]
        sync = SyncState.from_node(revision and str(revision), value)
        self.cluster = Cluster(**{**Cluster.empty()._asdict(), "members": members, "sync": sync})

    def prepares(self) -> bool:
        """Whether the promotion begins, after a look at etcd as it is."""
        self.reads()
        return self.steps(Ha.process_sync_replication_prepromote)

    def steps(self, original: Any) -> bool:
        return fresh_timeline.before_promotion(original, self.memory, self.rider, self.local)(self)

    def local(self) -> Any:
        def ask(sql: str) -> Any:
            if self.failure:
                raise self.failure
            if self.ordered and sql == fresh_timeline.UNORDERED:
                raise ObjectNotInPrerequisiteState("standby promotion is ongoing")
            return self.timeline

        return SimpleNamespace(ask=ask, close=lambda: None)

    def loops(self) -> None:
        """One loop of Patroni, at its beginning."""
        assert fresh_timeline.touch_member(lambda ha: True, self.memory, self.local)(self)

    def is_promoted(self) -> int:
        """As PostgreSQL numbers it: `findNewestTimeLine`, and one more."""
        number = self.timeline + 1
        while (self.wal / f"{number:08X}.history").exists():
            number += 1
        (self.wal / f"{number:08X}.history").write_text(f"{self.timeline}\t0/5\treason\n")
        self.timeline = number
        return number

    def left_out(self) -> list[int]:
        return sorted(int(path.stem, 16) for path in self.wal.iterdir() if path.read_text() == COMMENT)


RIDER = Rider()


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> Etcd:
    """dj-db1 was promoted to 7, and named the others."""
    monkeypatch.setattr(Etcd3, "set_sync_state_value", Etcd3.set_sync_state_value)  # put back afterwards
    sync_swap.install(RIDER)
    made = Etcd()
    made.put(KEY, json.dumps({"timeline": 7, "host": "dj-db1"}))
    made.put(SYNC, json.dumps({"leader": "dj-db1", "sync_standby": "dj-db2,gg-db1"}))
    return made


def names(etcd: Etcd, leader: str, members: str = "") -> None:
    etcd.put(SYNC, json.dumps({"leader": leader, "sync_standby": members}))


def number_in(etcd: Etcd) -> tuple[int, str]:
    value = json.loads(etcd.keys[KEY][0])
    return value["timeline"], value["host"]


def test_a_promotion_claims_the_next_number_and_leaves_none_out(etcd: Etcd, tmp_path: Path) -> None:
    host = Host("gg-db1", tmp_path, etcd)
    assert host.prepares()
    assert (host.dcs._client.asked, host.left_out()) == (1, [])
    assert (host.is_promoted(), number_in(etcd)) == (8, (8, "gg-db1"))


def test_a_signed_failover_never_takes_the_lost_primarys_number(etcd: Etcd, tmp_path: Path) -> None:
    """Planted: gg-db1 took over unheard; the signature has put the candidate's own name into /sync."""
    dj, gg, third = (Host(name, tmp_path, etcd) for name in ("dj-db1", "gg-db1", "dj-db2"))
    assert gg.prepares()
    assert gg.is_promoted() == 8
    names(etcd, "dj-db1")
    assert dj.prepares()
    assert (dj.is_promoted(), dj.left_out()) == (9, [8])
    names(etcd, "dj-db2")  # signed once more, for a host that heard of neither
    assert third.prepares()
    assert (third.is_promoted(), third.left_out()) == (10, [8, 9])
    names(etcd, "gg-db1")  # and back to the first
    assert gg.prepares()
    assert gg.is_promoted() == 11


def test_a_kept_member_that_never_heard_of_the_new_primary(etcd: Etcd, tmp_path: Path) -> None:
    gg, third = Host("gg-db1", tmp_path, etcd), Host("dj-db2", tmp_path, etcd)
    assert gg.prepares()
    names(etcd, "gg-db1", "dj-db2")
    assert third.prepares()
    assert (third.is_promoted(), gg.is_promoted()) == (9, 8)


def test_of_two_that_read_the_same_one_claims(etcd: Etcd, tmp_path: Path) -> None:
    gg, third = Host("gg-db1", tmp_path, etcd), Host("dj-db2", tmp_path, etcd)
    assert gg.prepares()

    def names_it_again(self: Any) -> bool:
        names(etcd, "dj-db2")  # whatever /sync says: the number decides, too
        self.reads()
        etcd.put(KEY, json.dumps({"timeline": 9, "host": "gg-db1"}))
        return Ha.process_sync_replication_prepromote(self)

    assert not third.steps(names_it_again)
    assert (third.left_out(), number_in(etcd)) == ([], (9, "gg-db1"))


def test_a_lost_answer_costs_a_loop_and_no_number(etcd: Etcd, tmp_path: Path) -> None:
    """Planted: the swap of /sync landed, so the second attempt finds itself as leader."""
    gg = Host("gg-db1", tmp_path, etcd)
    gg.dcs._client.answers_lost = 1
    assert not gg.prepares()
    assert (json.loads(etcd.keys[SYNC][0])["leader"], number_in(etcd)) == ("gg-db1", (8, "gg-db1"))
    assert gg.prepares()
    assert (gg.is_promoted(), number_in(etcd)) == (8, (8, "gg-db1"))


def test_a_restart_between_swap_and_promotion_costs_a_number(etcd: Etcd, tmp_path: Path) -> None:
    gg = Host("gg-db1", tmp_path, etcd)
    assert gg.prepares()
    gg.starts()
    assert gg.prepares()
    assert gg.is_promoted() == 9


def test_a_promotion_that_began_is_never_made_again_with_its_number(etcd: Etcd, tmp_path: Path) -> None:
    gg = Host("gg-db1", tmp_path, etcd)
    assert gg.prepares()
    assert gg.prepares()  # PostgreSQL's order to promote has failed, or not: nobody knows
    assert (gg.is_promoted(), number_in(etcd)) == (9, (9, "gg-db1"))


def test_without_a_synchronous_mode_the_number_is_claimed_alone(etcd: Etcd, tmp_path: Path) -> None:
    gg = Host("gg-db1", tmp_path, etcd, sync_mode=False)
    gg.reads()
    assert gg.steps(lambda ha: True)
    assert number_in(etcd) == (8, "gg-db1")
    gg.starts()

    def another_claims(ha: Any) -> bool:
        etcd.put(KEY, json.dumps({"timeline": 9, "host": "dj-db2"}))
        return True

    assert not gg.steps(another_claims)
    assert number_in(etcd) == (9, "dj-db2")


def test_what_the_members_say_counts_as_well(etcd: Etcd, tmp_path: Path) -> None:
    """A primary that a person promoted by hand, and that Patroni has not seen yet."""
    gg = Host("gg-db1", tmp_path, etcd)
    gg.heard = {"dj-db2": 9}
    assert gg.prepares()
    assert (gg.is_promoted(), gg.left_out()) == (10, [8, 9])


def test_history_counts_as_well() -> None:
    lines: Any = [(6, 90, "reason"), (11, 100, "reason")]
    cluster = Cluster(**{**Cluster.empty()._asdict(), "history": TimelineHistory("1", "", lines)})
    assert fresh_timeline.heard_of(cluster) == 12


@pytest.mark.parametrize(
    ("top", "heard", "before", "number"),
    [
        (7, 0, Claimed(7, "x", "1"), 8),
        (7, 12, Claimed(7, "x", "1"), 13),
        (9, 0, Claimed(7, "x", "1"), 10),
        (7, 0, Claimed(0, "", "0"), 9),  # a cluster from before: a lost primary may have used 8
    ],
)
def test_the_next_number_is_above_all(top: int, heard: int, before: Claimed, number: int) -> None:
    assert next_number(top, heard, before) == number


def test_every_number_between_is_left_out(tmp_path: Path) -> None:
    """Planted: one that is free below a history lets PostgreSQL stop its count there, or go on above."""
    for number in (7, 8, 10):
        (tmp_path / f"{number:08X}.history").write_text(HISTORY)
    assert (here(tmp_path, 6), here(tmp_path, 12)) == (10, 12)
    assert leave_out(tmp_path, 6, 12) == [9, 11]
    assert (tmp_path / "00000009.history").read_text() == COMMENT
    assert (tmp_path / "00000008.history").read_text() == HISTORY
    assert leave_out(tmp_path, 6, 12) == []


def test_comments_above_the_newest_history_go_and_those_below_it_stay(tmp_path: Path) -> None:
    """Planted: a standby with a comment for 9 does not ask for the history of 9, and cannot follow."""
    for number, text in ((6, COMMENT), (7, HISTORY), (8, COMMENT), (9, OLD_COMMENT)):
        (tmp_path / f"{number:08X}.history").write_text(text)
    fresh_timeline.tidy(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000006.history", "00000007.history"]


def test_a_promotion_that_is_postponed_leaves_no_number_out(etcd: Etcd, tmp_path: Path) -> None:
    """Planted: /sync had changed, and another host took the number."""
    gg = Host("gg-db1", tmp_path, etcd, timeline=5)
    names(etcd, "dj-db1")  # after gg-db1 had read it
    assert not gg.steps(Ha.process_sync_replication_prepromote)
    assert (list(gg.wal.iterdir()), number_in(etcd)) == ([], (7, "dj-db1"))


@pytest.mark.parametrize(
    ("role", "busy", "stays"), [("replica", False, False), ("replica", True, True), ("primary", False, True)]
)
def test_a_promotion_that_did_not_come_is_tidied_up_once(
    etcd: Etcd, tmp_path: Path, role: str, busy: bool, stays: bool
) -> None:
    gg = Host("gg-db1", tmp_path, etcd)
    (gg.wal / "00000008.history").write_text(COMMENT)
    gg.state_handler.role, gg._async_executor.busy = role, busy
    gg.loops()
    assert (bool(gg.left_out()), gg.memory.untidy) == (stays, stays)


def test_a_patroni_that_is_started_in_the_middle_of_a_promotion_leaves_its_files(
    etcd: Etcd, tmp_path: Path
) -> None:
    """Planted: dj-db2 has used 8, unheard of; PostgreSQL counts when its WAL is replayed."""
    gg = Host("gg-db1", tmp_path, etcd)
    etcd.put(KEY, json.dumps({"timeline": 8, "host": "dj-db2"}))
    assert gg.prepares()
    gg.ordered = True
    gg.starts()
    gg.loops()
    assert (gg.left_out(), gg.memory.untidy) == ([8], True)
    assert not gg.prepares()  # nor does it put more of them there
    assert (gg.left_out(), number_in(etcd)) == ([8], (9, "gg-db1"))
    assert gg.is_promoted() == 9


def test_an_order_that_was_not_seen_yet_counts(etcd: Etcd, tmp_path: Path) -> None:
    gg = Host("gg-db1", tmp_path, etcd)
    (gg.wal / "00000008.history").write_text(COMMENT)
    (gg.wal.parent / fresh_timeline.ORDER).touch()
    gg.loops()
    assert gg.left_out() == [8]
    (gg.wal.parent / fresh_timeline.ORDER).unlink()
    gg.loops()
    assert (gg.left_out(), gg.memory.untidy) == ([], False)


def test_a_server_that_cannot_be_asked_is_left_alone(etcd: Etcd, tmp_path: Path) -> None:
    gg = Host("gg-db1", tmp_path, etcd)
    (gg.wal / "00000008.history").write_text(COMMENT)
    for gg.failure in (psycopg2.OperationalError("gone"), TimeoutError("slow")):
        gg.loops()
        assert (gg.left_out(), gg.memory.untidy) == ([8], True)


@pytest.mark.parametrize(
    "failure", [psycopg2.OperationalError("gone"), TimeoutError("slow"), PatroniException("etcd")]
)
def test_a_number_that_cannot_be_claimed_postpones_the_promotion(
    etcd: Etcd, tmp_path: Path, failure: Exception
) -> None:
    gg = Host("gg-db1", tmp_path, etcd)
    gg.failure = failure
    assert not gg.prepares()
    assert (number_in(etcd), RIDER.put) == ((7, "dj-db1"), None)


def test_a_full_disk_postpones_the_promotion(etcd: Etcd, tmp_path: Path) -> None:
    gg = Host("gg-db1", tmp_path, etcd, timeline=5)
    gg.wal.rmdir()
    assert not gg.prepares()
    assert number_in(etcd) == (7, "dj-db1")


def test_a_step_that_fails_leaves_no_claim_to_the_next_write(etcd: Etcd, tmp_path: Path) -> None:
    def fails(ha: Any) -> bool:
        raise PatroniException("etcd")

    with pytest.raises(PatroniException):
        Host("gg-db1", tmp_path, etcd).steps(fails)
    assert RIDER.put is None


@pytest.mark.parametrize(("timeline", "then"), [(9, (9, "dj-db1")), (7, (7, "dj-db1")), (6, (7, "dj-db1"))])
def test_a_primary_raises_a_number_below_its_own(
    etcd: Etcd, tmp_path: Path, timeline: int, then: tuple[int, str]
) -> None:
    primary = Host("dj-db1", tmp_path, etcd, timeline=timeline)
    fresh_timeline.update_cluster_history(lambda ha: None)(primary)
    assert number_in(etcd) == then


def test_the_first_primary_writes_the_key(tmp_path: Path) -> None:
    etcd = Etcd()
    primary = Host("dj-db1", tmp_path, etcd, timeline=1)
    assert claimed(primary.dcs) == Claimed(0, "", "0")
    fresh_timeline.update_cluster_history(lambda ha: None)(primary)
    assert number_in(etcd) == (1, "dj-db1")


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
def test_history_is_written_once_over_a_gap(
    etcd: Etcd, tmp_path: Path, written: list[Any], timeline: int, calls: int
) -> None:
    called: list[Any] = []
    lines: Any = [tuple(line) for line in written]
    host = Host("dj-db2", tmp_path, etcd, timeline)
    host.state_handler.get_history = lambda number: [[7, 100, "reason"]]
    history = TimelineHistory("1", "", lines) if lines else None
    host.cluster = Cluster(**{**Cluster.empty()._asdict(), "history": history})
    fresh_timeline.update_cluster_history(called.append)(host)
    assert len(called) == calls
