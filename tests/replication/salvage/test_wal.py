"""Histories, segments and pg_waldump's text, by value; the lines are PostgreSQL 15's own."""

from __future__ import annotations

import pytest

from replication.salvage import wal
from replication.salvage.wal import Commit, Parting, Stretch, Tail

MB = 1 << 20
SIZE = 16 * MB
INSERT = (
    "rmgr: Heap        len (rec/tot):     61/    61, tx:        726, lsn: 0/01537B08, prev 0/01537AE0, "
    "desc: INSERT off 2 flags 0x00, blkref #0: rel 1663/5/16384 blk 0"
)
PLAIN = (
    "rmgr: Transaction len (rec/tot):     34/    34, tx:        725, lsn: 0/01537AE0, prev 0/01537AA0, "
    "desc: COMMIT 2026-11-22 00:54:03.557747 UTC"
)
SUB = (
    "rmgr: Transaction len (rec/tot):     46/    46, tx:        726, lsn: 0/01537C08, prev 0/01537BC8, "
    "desc: COMMIT 2026-11-22 00:54:03.558526 UTC; subxacts: 727 729; inval msgs: catcache 55"
)
PREPARED = (
    "rmgr: Transaction len (rec/tot):     42/    42, tx:          0, lsn: 0/015388A0, prev 0/015387A8, "
    "desc: COMMIT_PREPARED 732: 2026-11-22 00:54:03.566519 UTC"
)
ABORT = (
    "rmgr: Transaction len (rec/tot):     34/    34, tx:        731, lsn: 0/01538700, prev 0/015386C0, "
    "desc: ABORT 2026-11-22 00:54:03.565867 UTC"
)
UPDATE = (
    "rmgr: Heap        len (rec/tot):     69/    69, tx:        728, lsn: 0/01537C38, prev 0/01537C08, "
    "desc: HOT_UPDATE off 1 xmax 728 flags 0x20 ; new off 4 xmax 0, blkref #0: rel 1663/5/16384 blk 0"
)
DELETE = (
    "rmgr: Heap        len (rec/tot):     54/    54, tx:        729, lsn: 0/01537CA8, prev 0/01537C80, "
    "desc: DELETE off 2 flags 0x00 KEYS_UPDATED , blkref #0: rel 1663/5/16384 blk 0"
)
END = (
    "pg_waldump: error: error in WAL record at 0/1538A00: "
    "invalid record length at 0/1538A78: wanted 24, got 0"
)


def read(*lines: str, beyond: int = 0) -> Tail:
    tail = Tail()
    for line in lines:
        tail.read(line, beyond, SIZE)
    return tail


def test_a_commit_has_its_transactions_time_and_end() -> None:
    assert read(PLAIN, SUB).commits == [
        Commit(725, (), "2026-11-22 00:54:03.557747", 0x1537B08),
        Commit(726, (727, 729), "2026-11-22 00:54:03.558526", 0x1537C38),
    ]


def test_a_prepared_commit_names_the_transaction_that_was_prepared() -> None:
    assert [commit.xid for commit in read(PREPARED).commits] == [732]


def test_aborts_and_changes_are_counted_and_inserts_are_not() -> None:
    tail = read(ABORT, UPDATE, DELETE, DELETE, INSERT, "first record is after 0/1537A00, at 0/1537A08")
    assert (tail.commits, tail.aborted) == ([], 1)
    assert tail.changes == {(728, "1663/5/16384", "updated"): 1, (729, "1663/5/16384", "deleted"): 2}


@pytest.mark.parametrize(
    ("beyond", "counts"), [(0x1537B08, 0), (0x1537B07, 1), (0x1537AE0, 1), (0x1537AE1, 1)]
)
def test_a_commit_that_only_ends_beyond_the_parting_is_left_behind(beyond: int, counts: int) -> None:
    assert len(read(PLAIN, beyond=beyond).commits) == counts


def test_a_commit_that_cannot_be_understood_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="unknown form"):
        read(PLAIN.replace("COMMIT 2026-11-22", "COMMIT at noon"))


def test_what_pg_waldump_says_at_the_end() -> None:
    assert wal.last_record(END) == (0x1538A00, "invalid record length at 0/1538A78: wanted 24, got 0")
    assert wal.last_record("pg_waldump: error: could not find file") is None
    assert wal.end_after(PLAIN, SIZE) == 0x1537B08
    assert wal.end_after(PLAIN.replace("rmgr", "error"), SIZE) is None


SWITCH = (
    "rmgr: XLOG        len (rec/tot):     24/    24, tx:          0, lsn: {}, prev 0/01537AE0, desc: SWITCH "
)


def test_after_a_switch_wal_goes_on_in_the_next_segment() -> None:
    assert wal.end_after(SWITCH.format("0/01537B08"), SIZE) == 0x2000000
    assert wal.end_after(SWITCH.format("0/01FFFFE8"), SIZE) == 0x2000000
    assert wal.end_after(SWITCH.format("0/01537B08").replace("XLOG", "Heap"), SIZE) == 0x1537B20


@pytest.mark.parametrize(
    ("start", "total", "end"),
    [
        (0x1537AE0, 34, 0x1537B08),  # the next of the lines above
        (0x1537C08, 46, 0x1537C38),
        (0x2000 - 8, 24, 0x2000 + 24 + 16),  # crosses into a page with its short header
        (SIZE - 8, 24, SIZE + 40 + 16),  # crosses into a segment with its long one
        (SIZE - 24, 24, SIZE),  # ends exactly there
        (0x2000 - 8, 8 + (8192 - 24) + 8, 0x4000 + 24 + 8),  # fills a page between
    ],
)
def test_where_a_record_ends(start: int, total: int, end: int) -> None:
    assert wal.record_end(start, total, SIZE) == end


def test_lsns() -> None:
    assert wal.parse_lsn("16/B374D848") == 0x16B374D848
    assert wal.format_lsn(0x16B374D848) == "16/B374D848"
    with pytest.raises(ValueError, match="no LSN"):
        wal.parse_lsn("unknown")


def test_a_history_file() -> None:
    text = "1\t0/3000148\tno recovery target specified\n\n2\t0/50000A0\tno recovery target specified\n"
    assert wal.history(3, text) == (Stretch(1, 0x3000148), Stretch(2, 0x50000A0), Stretch(3, None))
    assert wal.history(1, "") == (Stretch(1, None),)


A, B = 0x3000148, 0x50000A0


@pytest.mark.parametrize(
    ("mine", "theirs", "where"),
    [
        ([Stretch(1, None)], [Stretch(1, A), Stretch(2, None)], Parting(1, A)),
        ([Stretch(1, A), Stretch(2, None)], [Stretch(1, A), Stretch(2, B), Stretch(3, None)], Parting(2, B)),
        # I was promoted alone (2); the new primary parted before that (3).
        ([Stretch(1, B), Stretch(2, None)], [Stretch(1, A), Stretch(3, None)], Parting(1, A)),
        # It parted after that: all of my timeline 2 is beyond.
        ([Stretch(1, A), Stretch(2, None)], [Stretch(1, B), Stretch(3, None)], Parting(1, A)),
        # Both were promoted from the same place.
        ([Stretch(1, A), Stretch(2, None)], [Stretch(1, A), Stretch(3, None)], Parting(1, A)),
        # Both called their own timeline 2.
        ([Stretch(1, B), Stretch(2, None)], [Stretch(1, A), Stretch(2, None)], Parting(1, A)),
        # The new primary is on the older timeline.
        ([Stretch(1, A), Stretch(2, None)], [Stretch(1, None)], Parting(1, A)),
        ([Stretch(1, None)], [Stretch(1, None)], None),
        ([Stretch(1, A), Stretch(2, None)], [Stretch(1, A), Stretch(2, None)], None),
    ],
)
def test_where_histories_part(mine: list[Stretch], theirs: list[Stretch], where: Parting | None) -> None:
    assert wal.parting(mine, theirs) == where


def test_histories_without_a_common_timeline_are_not_compared() -> None:
    with pytest.raises(wal.NotRelated):
        wal.parting([Stretch(4, None)], [Stretch(1, A), Stretch(2, None)])


def test_segment_names() -> None:
    assert wal.segment_name(3, 0x10A, SIZE) == "00000003000000010000000A"
    assert wal.segment_number("00000003000000010000000A", SIZE) == (3, 0x10A)
    assert wal.segment_number("00000003000000010000000A.partial", SIZE) is None
    assert wal.segment_number("00000003.history", SIZE) is None


def test_the_segment_before_a_boundary_is_read_too() -> None:
    assert wal.first_segment(3 * SIZE, SIZE) == 2  # a record that ends beyond may begin there
    assert wal.first_segment(3 * SIZE + 1, SIZE) == 3


def test_the_files_of_a_tail_are_those_of_my_newest_timeline() -> None:
    names = [
        "000000010000000000000002", "000000010000000000000003", "000000020000000000000003",
        "000000020000000000000004", "000000030000000000000004", "00000002.history", "archive_status",
        "000000010000000000000003.partial",
    ]  # fmt: skip
    assert wal.tail_files(names, (1, 2), 3, SIZE) == {
        3: "000000020000000000000003",
        4: "000000020000000000000004",
    }
    assert wal.timelines_from([Stretch(1, A), Stretch(2, B), Stretch(3, None)], Parting(2, A)) == (2, 3)


def test_a_recycled_file_holds_no_wal_of_its_name() -> None:
    page = wal.PAGE_HEADER.pack(0xD110, 2, 1, 3 * SIZE)
    assert wal.is_written(page, 3, SIZE)
    assert not wal.is_written(page, 7, SIZE)
    assert not wal.is_written(b"", 3, SIZE)
