"""The salvage stands before Patroni's destructive steps, by Patroni's own classes, and never stops one."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import patroni.postgresql  # first: Patroni's modules import each other in a circle
import pytest
from patroni.postgresql.bootstrap import Bootstrap
from patroni.postgresql.rewind import Rewind

from replication.mends import salvage_hook
from replication.mends.salvage_hook import (
    REMOVAL,
    Salvager,
    ask_history,
    ask_patiently,
    cloning,
    install,
    removing,
    rewinding,
)
from replication.mends.wrapping import ReplacedFunctionChanged
from replication.salvage import keeping
from replication.salvage.compare import State
from replication.salvage.report import Verdict
from replication.salvage.server import ProgramFailed, Programs
from replication.salvage.settings import Settings
from replication.salvage.store import Manifest, Store
from replication.salvage.tail import Leader

from ..salvage.test_store import PLAIN


@dataclass
class Cursor:
    """Answers the replication protocol; `answers` by the first word."""

    answers: dict[str, Any]
    last: str = ""

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *error: object) -> None: ...

    def execute(self, sql: str) -> None:
        self.last = sql.split()[0]

    def fetchone(self) -> Any:
        return self.answers[self.last]


@dataclass
class Postgresql:
    data_dir: str
    name: str = "dj-db1"
    scope: str = "hanbat"
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)
    lost: int = 0  # connections that fail before one is answered

    def get_replication_connection_cursor(self, host: Any = None, port: Any = 5432) -> Cursor:
        self.asked.append((host, port))
        if len(self.asked) <= self.lost:
            raise OSError("too many connections")
        return Cursor(self.answers)


@dataclass
class Holder:
    """Stands for Rewind and Bootstrap: what has a `_postgresql`."""

    _postgresql: Postgresql


HISTORY = {"IDENTIFY_SYSTEM": ("7", 2, "0/5", None), "TIMELINE_HISTORY": ("f", b"1\t0/3000148\tx\n")}


@pytest.fixture
def node(tmp_path: Path) -> Postgresql:
    (tmp_path / "data" / "global").mkdir(parents=True)
    (tmp_path / "data" / "global" / "pg_control").touch()
    return Postgresql(str(tmp_path / "data"), answers=HISTORY)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Leader | None]]:
    found: list[tuple[str, Leader | None]] = []
    monkeypatch.setattr(
        salvage_hook.keeping, "keep", lambda source, leader, *_: found.append((source.before, leader))
    )
    return found


@pytest.fixture
def salvager(tmp_path: Path) -> Salvager:
    settings = Settings(folder=tmp_path / "salvage", hosts={"10.71.2.11": "gg-db1"})
    return Salvager(settings, Programs(Path("/nowhere")), lambda work: None)


LEADER = Leader("gg-db1", 2, "1\t0/3000148\tx\n")


def test_before_a_rewind_the_new_primarys_history_is_asked_for(node, kept, salvager) -> None:
    def original(self: Any, conn_kwargs: dict[str, Any]) -> bool:
        assert kept, "the tail was not kept before the rewind"
        return True

    assert rewinding(original, salvager)(Holder(node), {"host": "10.71.2.11", "port": "5432"}) is True
    assert kept == [("pg_rewind", LEADER)]
    assert node.asked == [("10.71.2.11", "5432")]


def test_before_a_clone_its_source_is_asked(node, kept, salvager) -> None:
    @dataclass
    class Member:
        name: str = "dj-db2"

        def conn_kwargs(self) -> dict[str, Any]:
            return {"host": "10.71.1.12", "port": 5432}

    def original(self: Any, clone_member: Any, clone_from_leader: bool) -> bool:
        assert kept
        return clone_from_leader

    assert cloning(original, salvager)(Holder(node), Member(), True) is True
    assert kept == [("cloning anew", Leader("dj-db2", 2, LEADER.history))]
    assert cloning(lambda *_: False, salvager)(Holder(node), None) is False
    assert kept[-1] == ("cloning anew", None)


def test_after_a_failed_rewind_the_half_rewound_directory_is_not_looked_at_again(
    node, kept, salvager
) -> None:
    rewinding(lambda *_: False, salvager)(Holder(node), {"host": "h"})
    removed = []
    removing(removed.append, salvager)(node)
    assert [step for step, _ in kept] == ["pg_rewind"]
    assert removed == [node]
    # The next directory may have the same inode: the last door is shut again.
    removing(removed.append, salvager)(node)
    assert [step for step, _ in kept] == ["pg_rewind", REMOVAL]


def test_a_directory_without_a_server_is_left_alone(node, kept, salvager) -> None:
    (Path(node.data_dir) / "global" / "pg_control").unlink()
    removed = []
    removing(removed.append, salvager)(node)
    assert (kept, removed) == ([], [node])


def test_whatever_fails_the_rejoin_goes_on(node, salvager, monkeypatch, caplog) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(salvage_hook.keeping, "keep", broken)
    assert rewinding(lambda *_: True, salvager)(Holder(node), {"host": "h"}) is True
    assert "SALVAGE FAILED" in caplog.text


def test_a_salvage_of_what_cannot_be_read_fails_loudly_and_raises_nothing(node, salvager, caplog) -> None:
    source = keeping.Source(Path(node.data_dir), "dj-db1", "hanbat", "pg_rewind")
    assert keeping.keep(source, None, salvager.programs, salvager.settings) is None
    assert "SALVAGE FAILED" in caplog.text


@pytest.mark.parametrize("answers", [{}, {"IDENTIFY_SYSTEM": None}, {**HISTORY, "TIMELINE_HISTORY": None}])
def test_a_history_that_cannot_be_asked_for_is_none(node, answers, caplog) -> None:
    node.answers = answers
    assert ask_history(node, "gg-db1", "h", 5432) is None
    assert "could not be asked for" in caplog.text


def test_a_history_that_is_not_told_at_once_is_asked_for_again(node, kept, salvager, monkeypatch) -> None:
    monkeypatch.setattr(salvage_hook, "ASK_AT_S", (0.0, 0.0, 0.0))
    node.lost = 2
    rewinding(lambda *_: True, salvager)(Holder(node), {"host": "10.71.2.11"})
    cloning(lambda *_: True, salvager)(Holder(node), None)  # nobody to ask
    assert kept == [("pg_rewind", LEADER), ("cloning anew", None)]
    assert len(node.asked) == 3


@pytest.mark.parametrize(("takes_s", "asked_at_s"), [(0.0, [0, 2, 4]), (2.0, [0, 2, 4]), (3.0, [0, 3])])
def test_asking_in_vain_holds_up_a_rejoin_for_some_seconds(node, takes_s, asked_at_s, monkeypatch) -> None:
    now, asked = [0.0], []

    def lost(*_: Any) -> None:
        asked.append(now[0])
        now[0] += takes_s

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(salvage_hook, "ask_history", lost)
    assert ask_patiently(node, "gg-db1", "h", 5432, lambda: now[0], sleep) is None
    assert asked == asked_at_s
    assert now[0] <= 6


def test_timeline_one_has_no_history(node) -> None:
    node.answers = {"IDENTIFY_SYSTEM": ("7", 1, "0/5", None)}
    assert ask_history(node, "gg-db1", "h", 5432) == Leader("gg-db1", 1, "")


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, name in (
        (Rewind, "pg_rewind"), (Bootstrap, "clone"), (patroni.postgresql.Postgresql, "remove_data_directory"),
    ):  # fmt: skip
        monkeypatch.setattr(kind, name, getattr(kind, name))  # put back afterwards


@pytest.mark.usefixtures("restored")
def test_it_is_patronis_own_functions_that_are_wrapped(tmp_path: Path, caplog) -> None:
    before = (Rewind.pg_rewind, Bootstrap.clone, patroni.postgresql.Postgresql.remove_data_directory)
    with caplog.at_level(logging.ERROR):
        install(Settings(folder=tmp_path, complaints=("planted",)))
    after = (Rewind.pg_rewind, Bootstrap.clone, patroni.postgresql.Postgresql.remove_data_directory)
    assert not set(before) & set(after)
    assert "planted" in caplog.text
    for old, new in zip(before, after, strict=True):
        assert inspect.signature(old).parameters.keys() == inspect.signature(new).parameters.keys()
    # What is used of Patroni's own is there, under these names.
    for name in ("get_replication_connection_cursor", "data_dir"):
        assert hasattr(patroni.postgresql.Postgresql, name)
    source = inspect.getsource(Rewind.execute)
    assert "self.pg_rewind(r)" in source, "every rewind goes through the wrapped function"


@pytest.mark.usefixtures("restored")
def test_an_unknown_patroni_is_refused_and_left_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Bootstrap, "clone", lambda self, member, other, more: True)
    before = Rewind.pg_rewind
    with pytest.raises(ReplacedFunctionChanged):
        install(Settings(folder=tmp_path))
    assert Rewind.pg_rewind is before


def test_the_time_to_compare_begins_with_the_rejoin(salvager, monkeypatch, caplog) -> None:
    """Planted: it ran from before the clone, and a long one used it up: nobody was told what is missing."""
    events: list[str] = []
    answers = [State(True, 5, None, None), State(True, 5, 9, PLAIN.timeline), State(True, 5, 9, 9)]

    def look(_: object) -> State:
        if events.count("nap") < 100:
            raise ProgramFailed("no server: the clone takes its time")
        return answers.pop(0)

    def compared(store: Store, salvage: str, local: object, settings: Settings, limit_s: float) -> Verdict:
        events.append(f"compared within {limit_s} s")
        return Verdict.MISSING

    monkeypatch.setattr(salvage_hook, "state", look)
    monkeypatch.setattr(salvage_hook.keeping, "look_up", compared)
    store = Store(salvager.settings.folder)
    salvage_hook.look_up(store, PLAIN, salvager.programs, salvager.settings, lambda _: events.append("nap"))
    assert events == ["nap"] * 102 + ["compared within 300 s"]
    assert str(Verdict.MISSING) in caplog.text


def test_a_step_that_is_tried_again_starts_no_second_thread(salvager, monkeypatch) -> None:
    started: list[Any] = []
    salvager.in_background = started.append
    compared: list[Manifest] = []
    monkeypatch.setattr(salvage_hook, "look_up", lambda store, manifest, *_: compared.append(manifest))
    salvager.compare_later(PLAIN)
    salvager.compare_later(PLAIN)
    assert len(started) == 1
    started[0]()
    salvager.compare_later(PLAIN)
    assert (compared, len(started)) == ([PLAIN], 2)


@pytest.mark.parametrize(
    ("verdict", "level"),
    [(Verdict.PRESENT, "INFO"), (Verdict.MISSING, "ERROR"), (Verdict.UNKNOWN, "ERROR")],
)
def test_only_rows_that_are_all_there_are_no_error(salvager, monkeypatch, caplog, verdict, level) -> None:
    monkeypatch.setattr(salvage_hook, "state", lambda _: State(True, 9, 9, 9))
    monkeypatch.setattr(salvage_hook.keeping, "look_up", lambda *_: verdict)
    with caplog.at_level(logging.INFO):
        salvage_hook.look_up(Store(Path("x")), PLAIN, salvager.programs, salvager.settings)
    assert caplog.records[-1].levelname == level


def test_old_evidence_never_keeps_patroni_from_starting(salvager, tmp_path: Path, caplog) -> None:
    (tmp_path / "salvage").write_text("no folder")
    salvager.compare_what_is_left()
    (tmp_path / "salvage").unlink()
    (tmp_path / "salvage" / "x").mkdir(parents=True)
    (tmp_path / "salvage" / "x" / "manifest.json").write_text("[]")
    salvager.compare_what_is_left()
