"""Two histories under one number are not joined; through Patroni's own question and its own rewind."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs import Leader as Lock
from patroni.dcs import Member
from patroni.postgresql.rewind import REWIND_STATUS, Rewind

from replication.mends import joined_number
from replication.mends.joined_number import is_another
from replication.mends.wrapping import ReplacedFunctionChanged
from replication.salvage.tail import Leader

MINE = "7\t0/5000000\tno recovery target specified\n"
THEIRS = "7\t0/6000000\tno recovery target specified\n"


class Returning(Rewind):
    """gg-db1, a primary that was lost on timeline 8, and meets dj-db1 on timeline 8."""

    def __init__(self, folder: Path, theirs: str, local: int = 8) -> None:
        (folder / "pg_wal").mkdir()
        (folder / "pg_wal" / "00000008.history").write_text(MINE)
        self._state, self.ran, self.removed, self._local = REWIND_STATUS.CHECK, 0, 0, local
        rows = {"IDENTIFY_SYSTEM": ("1", 8), "TIMELINE_HISTORY 8": ("00000008.history", theirs)}

        @contextlib.contextmanager
        def cursor(**_: Any) -> Any:
            asked: list[str] = []

            def execute(sql: str | bytes) -> None:
                asked.append(sql if isinstance(sql, str) else sql.decode())

            yield SimpleNamespace(execute=execute, fetchone=lambda: rows[asked[-1]])

        def remove() -> None:
            self.removed += 1

        settings = {"remove_data_directory_on_rewind_failure": True}
        self._postgresql: Any = SimpleNamespace(
            name="gg-db1",
            data_dir=str(folder),
            config=SimpleNamespace(rewind_credentials={}, get=settings.get),
            get_replication_connection_cursor=cursor,
            is_running=lambda: False,
            major_version=150000,
            database="postgres",
            remove_data_directory=remove,
        )

    enabled = can_rewind = True  # pyright: ignore[reportAssignmentType,reportIncompatibleMethodOverride]

    def _get_local_timeline_lsn(self) -> Any:
        return True, self._local, 0x5000000

    def _archive_ready_wals(self) -> None:
        pass

    @staticmethod
    def check_leader_is_not_in_recovery(conn_kwargs: Any) -> bool:
        return True

    def meets(self) -> Any:
        data = {
            "role": "primary",
            "conn_url": "postgres://10.0.0.1:5432/postgres",
            "version": "4.1.5",
        }
        lock = Lock("1", "1", Member("1", "dj-db1", None, data))
        if self.rewind_or_reinitialize_needed_and_possible(lock):
            self.execute(lock)
        return self._state


def pg_rewind(self: Any, conn_kwargs: dict[str, Any]) -> bool:
    """Source and target are on one timeline: no rewind required."""
    self.ran += 1
    return True


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rewind, "pg_rewind", pg_rewind)
    monkeypatch.setattr(Rewind, "_maybe_clean_pg_replslot", lambda self: None, raising=False)
    monkeypatch.setattr(Rewind, "_check_timeline_and_lsn", Rewind._check_timeline_and_lsn)  # put back


@pytest.fixture
def mended(alone: None) -> None:
    joined_number.install()


@pytest.mark.usefixtures("alone")
def test_patroni_alone_joins_them(tmp_path: Path) -> None:
    assert Returning(tmp_path, THEIRS).meets() == REWIND_STATUS.NOT_NEED


@pytest.mark.usefixtures("mended")
def test_the_host_is_cloned_anew(tmp_path: Path) -> None:
    """Planted: pg_rewind finds one timeline on both sides, does nothing, and says that it is done."""
    host = Returning(tmp_path, THEIRS)
    assert host.meets() == REWIND_STATUS.INITIAL  # and Patroni clones an empty directory
    assert (host.ran, host.removed) == (0, 1)


@pytest.mark.usefixtures("mended")
def test_one_history_is_joined_as_before(tmp_path: Path) -> None:
    host = Returning(tmp_path, MINE)
    assert (host.meets(), host.removed) == (REWIND_STATUS.NOT_NEED, 0)


@pytest.mark.usefixtures("mended")
def test_a_rewind_is_made_as_before(tmp_path: Path) -> None:
    host = Returning(tmp_path, THEIRS, local=9)
    assert (host.meets(), host.ran, host.removed) == (REWIND_STATUS.SUCCESS, 1, 0)


@pytest.mark.parametrize(
    ("mine", "leader", "another"),
    [
        (MINE, Leader("x", 8, THEIRS), True),
        (MINE, Leader("x", 8, MINE), False),
        (MINE, Leader("x", 8, f"6\t0/4000000\treason\n{MINE}"), True),
        (MINE, Leader("x", 9, THEIRS), False),  # there is none here
        ("# left out by hanbat\n", Leader("x", 8, THEIRS), False),
        ("7\tnonsense\tx\n", Leader("x", 8, THEIRS), False),
        (MINE, Leader("x", 1, ""), False),
        (MINE, None, False),
    ],
)
def test_what_is_another_history(tmp_path: Path, mine: str, leader: Leader | None, another: bool) -> None:
    (tmp_path / "00000008.history").write_text(mine)
    assert is_another(tmp_path, leader) == another


def test_another_patroni_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rewind, "_check_timeline_and_lsn", lambda self, more: None)
    with pytest.raises(ReplacedFunctionChanged):
        joined_number.install()
