"""What the control file and the two histories tell, by value."""

from __future__ import annotations

from pathlib import Path

import pytest

from replication.salvage.tail import Leader, all_segments, control, own_history, parted, written_files
from replication.salvage.wal import PAGE_HEADER, Parting, Stretch

SIZE = 16 << 20
FIELDS = {
    "Database system identifier": "7",
    "Database cluster state": "shut down",
    "Latest checkpoint location": "0/3000200",
    "Latest checkpoint's REDO location": "0/3000180",
    "Latest checkpoint's TimeLineID": "1",
    "Minimum recovery ending location": "0/0",
    "Min recovery ending loc's timeline": "0",
    "Bytes per WAL segment": str(SIZE),
}
STANDBY = FIELDS | {
    "Database cluster state": "shut down in recovery",
    "Minimum recovery ending location": "0/3000500",
    "Min recovery ending loc's timeline": "2",
}
HISTORY = "1\t0/3000148\tx\n2\t0/5000000\tx\n"


def test_a_primary_ends_at_its_checkpoint_and_a_standby_where_it_recovered_to() -> None:
    assert (control(FIELDS).timeline, control(FIELDS).end, control(FIELDS).redo) == (1, 0x3000200, 0x3000180)
    assert (control(STANDBY).timeline, control(STANDBY).end) == (2, 0x3000500)
    # A primary that died before the checkpoint of its promotion had ended.
    promoted = STANDBY | {"Database cluster state": "in production"}
    assert (control(promoted).timeline, control(promoted).end) == (2, 0x3000500)
    assert control(promoted | {"Database cluster state": "shut down"}).timeline == 1
    # A primary that crashed after it was started as a standby has no recovery position.
    crashed = STANDBY | {"Min recovery ending loc's timeline": "0", "Minimum recovery ending location": "0/0"}
    assert control(crashed).timeline == 1


def test_a_control_file_that_tells_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="does not tell"):
        control({})


def test_the_own_history_or_else_as_the_new_primary_knows_it(tmp_path: Path) -> None:
    (tmp_path / "pg_wal").mkdir()
    leader = Leader("gg-db1", 3, HISTORY)
    assert own_history(tmp_path, 1, None) == (Stretch(1, None),)
    assert own_history(tmp_path, 2, leader) == (Stretch(1, 0x3000148), Stretch(2, None))
    with pytest.raises(FileNotFoundError):
        own_history(tmp_path, 2, None)
    with pytest.raises(FileNotFoundError):
        own_history(tmp_path, 4, leader)  # a timeline that the new primary never had
    (tmp_path / "pg_wal" / "00000002.history").write_text("1\t0/2000000\tx\n")
    assert own_history(tmp_path, 2, leader) == (Stretch(1, 0x2000000), Stretch(2, None))


def test_a_parting_is_known_absent_or_unknown() -> None:
    leader = Leader("gg-db1", 2, "1\t0/3000148\tx\n")
    assert parted((Stretch(1, None),), leader).where == Parting(1, 0x3000148)
    same = parted((Stretch(1, 0x3000148), Stretch(2, None)), leader)
    assert (same.known, same.where) == (True, None)
    joined = parted((Stretch(1, 0x3000100), Stretch(2, None)), leader)  # one number, two histories
    assert joined.where == Parting(1, 0x3000100)
    assert not parted((Stretch(1, None),), None).known
    assert not parted((Stretch(9, None),), leader).known
    assert not parted((Stretch(1, None),), Leader("gg-db1", 2, "1\tnonsense\tx\n")).known


def test_all_segments_are_of_any_timeline_and_the_newest_first(tmp_path: Path) -> None:
    for timeline, number, address in ((1, 2, 2), (1, 3, 3), (2, 3, 3), (2, 4, 4), (2, 5, 1)):
        page = PAGE_HEADER.pack(0xD110, 2, timeline, address * SIZE)
        (tmp_path / f"{timeline:08X}00000000{number:08X}").write_bytes(page)
    (tmp_path / "000000020000000000000009").mkdir()  # stands for a file that cannot be read: its copy fails
    (tmp_path / "00000002.history").write_text("1\t0/3000148\tx\n")
    assert [(name[:8], name[-1]) for name in all_segments(tmp_path, SIZE)] == [
        ("00000002", "9"), ("00000002", "4"), ("00000002", "3"), ("00000001", "3"), ("00000001", "2"),
    ]  # fmt: skip


def test_recycled_segments_are_not_read(tmp_path: Path) -> None:
    for number, address in ((2, 2), (3, 3), (4, 1)):
        page = PAGE_HEADER.pack(0xD110, 2, 1, address * SIZE)
        (tmp_path / f"0000000100000000000000{number:02X}").write_bytes(page)
    assert written_files(tmp_path, (1,), 3 * SIZE + 8, SIZE) == {3: "000000010000000000000003"}
