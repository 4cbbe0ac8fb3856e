"""Without room nothing is rewound, and so nothing removed; through Patroni's own class."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.postgresql.rewind import REWIND_STATUS, Rewind

from replication.mends import room_to_rewind
from replication.mends.room_to_rewind import LEAST_BYTES, executing, lack_of_room
from replication.mends.wrapping import ReplacedFunctionChanged

from ..salvage_servers import BIN, Pair, as_postgres, pair, prepared


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with its WAL elsewhere."""
    (tmp_path / "wal").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "pg_wal").symlink_to(tmp_path / "wal")
    return tmp_path / "data"


@pytest.mark.parametrize("full", ["data", "wal", None])
def test_both_places_need_room(data: Path, full: str | None) -> None:
    found = lack_of_room(data, lambda path: LEAST_BYTES - (path.name == full))
    assert (found is None) is (full is None)
    assert found is None or f"/{full} has 63 MB free" in found


def test_what_cannot_be_told_holds_nothing_up(data: Path) -> None:
    (data / "pg_wal").unlink()
    assert lack_of_room(data / "gone") is None
    assert lack_of_room(data) is None or shutil.disk_usage(data).free < LEAST_BYTES


@pytest.mark.parametrize("lack", [None, "it is full"])
def test_patroni_rewinds_only_with_room(lack: str | None, caplog: pytest.LogCaptureFixture) -> None:
    called: list[Any] = []
    execute = executing(lambda self, leader: called.append(leader.name) or True, lambda _: lack)
    here, leader = SimpleNamespace(_postgresql=SimpleNamespace(data_dir="/d")), SimpleNamespace(name="dj-db2")
    with caplog.at_level(logging.WARNING):
        assert execute(here, leader) is (True if lack is None else None)
    assert called == (["dj-db2"] if lack is None else [])
    assert ("it is full" in caplog.text) is (lack is not None)


def test_it_is_patronis_own_function_that_waits(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """Its state stays, so it is tried again; nothing is stopped or removed before."""
    original = Rewind.execute
    monkeypatch.setattr(Rewind, "execute", original)  # put back afterwards
    room_to_rewind.install()
    assert Rewind.execute is not original
    monkeypatch.setattr(room_to_rewind.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    rewind = Rewind.__new__(Rewind)
    rewind._postgresql, rewind._state = SimpleNamespace(data_dir=str(data)), REWIND_STATUS.NEED  # type: ignore
    leader: Any = SimpleNamespace(name="dj-db2")
    assert rewind.execute(leader) is None
    assert rewind.is_needed

    monkeypatch.setattr(Rewind, "execute", lambda self: None)
    with pytest.raises(ReplacedFunctionChanged):
        room_to_rewind.install()


@pytest.fixture
def volume() -> Iterator[Path]:
    """A small file system."""
    folder = Path(tempfile.mkdtemp(prefix="hanbat-room-"))
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=200m,mode=777", "hanbat-test", folder), check=True)
    try:
        yield folder
    finally:
        subprocess.run(("umount", "--lazy", folder), check=True)
        folder.rmdir()


@pytest.fixture
def parted(volume: Path) -> Iterator[Pair]:
    """An old primary that is to be rewound, with its WAL on that volume."""
    with as_postgres():
        template = prepared()
        with pair(template) as both:
            for node in (both.new, both.old):
                node.control("stop")
            shutil.move(both.old.data / "pg_wal", volume / "wal")
            (both.old.data / "pg_wal").symlink_to(volume / "wal")
            for node in (both.old, both.new):
                node.control("start")
            both.wait_replayed()
            both.take_over()
            both.new.sql("CREATE TABLE later ()", "postgres")
            both.old.sql("CREATE TABLE alone ()", "postgres")
            both.old.control("-m", "fast", "stop")
            yield both
    shutil.rmtree(template)


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(65536))


@pytest.mark.postgres
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a volume")
@pytest.mark.skipif(not (BIN / "postgres").exists(), reason="needs PostgreSQL 15's programs")
def test_a_rewind_without_room_could_not_be_repeated(parted: Pair, volume: Path) -> None:
    """Why it waits. The first half is planted: what happens without the function."""
    old, saved = parted.old, parted.old.folder / "saved"
    shutil.copytree(old.data, saved, symlinks=True)
    shutil.copytree(volume / "wal", parted.old.folder / "saved-wal")
    with pytest.raises(OSError, match="No space"):
        fill(volume / "filler")
    assert lack_of_room(old.data) is not None
    with pytest.raises(AssertionError, match="No space left"):
        old.rewind(parted.new)
    (volume / "filler").unlink()
    assert lack_of_room(old.data) is None
    with pytest.raises(AssertionError, match="pg_rewind: error"):
        old.rewind(parted.new)

    # Had it waited, it would have been rewound.
    shutil.rmtree(old.data)
    saved.rename(old.data)
    shutil.rmtree(volume / "wal")
    (old.folder / "saved-wal").rename(old.folder / "wal")
    shutil.move(old.folder / "wal", volume / "wal")
    old.rewind(parted.new)
    old.follow(parted.new)
