"""Evidence is complete or absent, checked against its sha256, and removed only by count and aloud."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from replication.salvage.store import (
    MANIFEST,
    Copied,
    Manifest,
    SalvageDamaged,
    Segment,
    Store,
    UnknownSalvage,
    as_json,
    copy_segments,
    write,
)

MB = 1 << 20
PLAIN = Manifest(
    id="20260101T000000Z-dj-db1-t1", host="dj-db1", cluster="hanbat", system="7", made_at="2026-01-01",
    before="pg_rewind", leader="gg-db1", timeline=1, new_timeline=2, parted_timeline=1,
    parted_lsn="0/3000148", end_lsn="0/3000200",
    tail_bytes=184, committed=1, aborted=0, first_commit_at="t", last_commit_at="t",
    segments=(), notes=("a note",),
)  # fmt: skip


def stored(store: Store, manifest: Manifest) -> Manifest:
    return store.finish(store.begin(manifest.id), manifest)


def copied(sources: list[Path], target: Path, **other: float) -> Copied:
    limits = {"limit_bytes": 100 * MB, "reserve_bytes": 0, "deadline": 10.0} | other
    free = limits.pop("free", 1000 * MB)
    return copy_segments(
        [(path.name, path) for path in sources],
        target,
        now=lambda: 0.0,
        free_bytes=lambda: int(free),
        **limits,
    )  # type: ignore[arg-type]


@pytest.fixture
def segments(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"00000001000000000000000{number}" for number in (3, 4, 5)]
    for number, path in enumerate(paths):
        path.write_bytes(os.urandom(16) * (MB // 16) + bytes([number]))
    return paths


def test_a_manifest_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "salvage")
    whole = dataclasses.replace(PLAIN, segments=(Segment("000000010000000000000003", 5, "ab"),))
    whole = stored(store, whole)
    assert store.listed() == [whole]
    assert (store.folder / whole.id / MANIFEST).stat().st_mode & 0o077 == 0


def test_half_a_salvage_is_none(tmp_path: Path) -> None:
    store = Store(tmp_path / "salvage")
    half = store.begin(PLAIN.id)
    (half / "wal").mkdir()
    assert store.listed() == []
    assert store.begin(PLAIN.id).exists(), "a second attempt begins anew"
    assert not (half / "wal").exists()


def test_an_attempt_that_broke_off_holds_no_room_at_the_next_one(
    tmp_path: Path, segments: list[Path]
) -> None:
    """Each attempt has another ID: it is named by its second."""
    store = Store(tmp_path / "salvage")
    halves = [store.begin(f"2026010{day}T000000Z-dj-db1-t1") for day in (1, 2)]
    copied(segments, halves[1] / "wal")
    stored(store, PLAIN)
    assert [path.name for path in store.folder.iterdir()] == [PLAIN.id]


def test_a_damaged_manifest_is_told_and_stops_no_rejoin(tmp_path: Path) -> None:
    store = Store(tmp_path / "salvage")
    stored(store, PLAIN)
    other = dataclasses.replace(PLAIN, id="20260102T000000Z-dj-db1-t1")
    other = stored(store, other)
    (store.folder / PLAIN.id / MANIFEST).write_text("{}")
    with pytest.raises(SalvageDamaged):
        store.listed()
    assert store.readable() == [other]


@pytest.mark.parametrize("name", ["nothing", "../salvage", "", ".half-x"])
def test_an_unknown_id(tmp_path: Path, name: str) -> None:
    (tmp_path / "salvage").mkdir()
    with pytest.raises(UnknownSalvage):
        Store(tmp_path / "salvage").get(name)


def test_segments_are_copied_with_their_sha256(tmp_path: Path, segments: list[Path]) -> None:
    found = copied(segments, tmp_path / "wal")
    assert [one.name for one in found.kept] == [path.name for path in segments]
    assert found.left_out == ()
    for one, path in zip(found.kept, segments, strict=True):
        assert one.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (tmp_path / "wal" / one.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"limit_bytes": 2 * MB + 2}, "limit"),
        ({"free": 3 * MB, "reserve_bytes": 5 * MB}, "free"),
        ({"deadline": -1.0}, "time"),
    ],
)
def test_what_is_left_out_is_named_with_the_reason(
    tmp_path: Path, segments: list[Path], limits: dict[str, float], why: str
) -> None:
    found = copied(segments, tmp_path / "wal", **limits)
    names = {path.name for path in segments}
    assert {one.name for one in found.kept} | set(found.left_out) == names
    assert found.left_out
    assert why in " ".join(found.why)
    assert {path.name for path in (tmp_path / "wal").iterdir()} == {one.name for one in found.kept}


def test_a_segment_that_vanished_is_left_out(tmp_path: Path, segments: list[Path]) -> None:
    segments[1].unlink()
    found = copied(segments, tmp_path / "wal")
    assert found.left_out == (segments[1].name,)


def test_a_changed_or_missing_segment_is_found(tmp_path: Path, segments: list[Path]) -> None:
    store = Store(tmp_path / "salvage")
    half = store.begin(PLAIN.id)
    found = copied(segments, half / "wal")
    store.finish(half, dataclasses.replace(PLAIN, segments=found.kept))
    store.check(PLAIN.id)
    kept = store.path(PLAIN.id) / "wal" / segments[0].name
    content = bytearray(kept.read_bytes())
    content[100] ^= 1
    kept.write_bytes(content)
    with pytest.raises(SalvageDamaged, match="sha256"):
        store.check(PLAIN.id)
    kept.unlink()
    with pytest.raises(SalvageDamaged):
        store.check(PLAIN.id)


def test_the_oldest_go_by_kind_and_are_named(tmp_path: Path) -> None:
    store = Store(tmp_path / "salvage")
    for day in range(1, 8):
        committed = (1, 0, None)[day % 3]
        stored(store, dataclasses.replace(PLAIN, id=f"2026010{day}T000000Z-dj-db1-t1", committed=committed))
    # The older empty ones go, the older one with transactions, the older unknown one: each by its own kind.
    assert [name[:8] for name in store.retire(1)] == ["20260101", "20260104", "20260103", "20260102"]
    assert [one.id[:8] for one in store.listed()] == ["20260105", "20260106", "20260107"]
    assert store.retire(1) == []


def test_after_a_clock_that_was_wrong_the_newest_is_not_taken_for_the_oldest(tmp_path: Path) -> None:
    store = Store(tmp_path / "salvage")
    days = ("20261001", "20261002", "19700101", "20261003")  # in this order
    made = [stored(store, dataclasses.replace(PLAIN, id=f"{day}T000000Z-dj-db1-t1")) for day in days]
    assert store.listed() == store.readable() == made
    assert store.retire(2) == [one.id for one in made[:2]]
    assert store.listed() == made[2:]


def test_those_from_before_there_was_a_number_are_the_oldest(tmp_path: Path) -> None:
    store = Store(tmp_path / "salvage")
    made = [
        stored(store, dataclasses.replace(PLAIN, id=f"2026010{day}T000000Z-dj-db1-t1")) for day in (1, 2, 3)
    ]
    for one in made[1:]:
        data = one.as_dict()
        del data["number"]
        write(store.path(one.id) / MANIFEST, as_json(data))
    assert store.retire(1) == [made[1].id, made[2].id]


def test_two_of_one_second_do_not_share_an_id(tmp_path: Path) -> None:
    store = Store(tmp_path / "salvage")
    assert store.unused(PLAIN.id) == PLAIN.id
    stored(store, PLAIN)
    assert store.unused(PLAIN.id) == f"{PLAIN.id}-2"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write(tmp_path / "report.txt", "one")
    write(tmp_path / "report.txt", "two")
    assert (tmp_path / "report.txt").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["report.txt"]
