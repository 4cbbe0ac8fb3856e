"""WAL of no data directory is set aside, and nothing else is touched."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from patroni.postgresql import Postgresql  # first: Patroni's modules import each other in a circle
from patroni.postgresql.bootstrap import Bootstrap

from hanbat import topology_file
from replication import layout
from replication.mends import stray_wal
from replication.mends.stray_wal import before, install, is_stray, set_aside, wal_dir
from replication.mends.wrapping import ReplacedFunctionChanged

from ..salvage_servers import BIN, Node, as_postgres, free_port, run

NOW = datetime(2026, 11, 29, 1, 2, 3, 4, UTC)
SEGMENT = "000000010000000000000001"


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    """A data directory, and a WAL directory with a segment; nothing links them."""
    data, wal = tmp_path / "data", tmp_path / "wal" / "hanbat"
    data.mkdir()
    wal.mkdir(parents=True)
    (wal / SEGMENT).touch()
    return data, wal


def test_wal_is_stray_unless_pg_wal_points_to_it(place: tuple[Path, Path]) -> None:
    data, wal = place
    assert is_stray(data, wal)
    assert is_stray(data / "none", wal)
    (data / "pg_wal").mkdir()  # a cluster from before, with its WAL in the data directory
    assert is_stray(data, wal)
    (data / "pg_wal").rmdir()
    (data / "pg_wal").symlink_to(wal.parent)
    assert is_stray(data, wal)
    (data / "pg_wal").unlink()
    (data / "pg_wal").symlink_to(wal)
    assert not is_stray(data, wal)


def test_an_empty_or_missing_directory_is_no_wal(place: tuple[Path, Path]) -> None:
    data, wal = place
    (wal / SEGMENT).unlink()
    assert not is_stray(data, wal)
    wal.rmdir()
    assert not is_stray(data, wal)
    assert set_aside(data, wal, NOW) is None


def test_it_is_renamed_and_kept(place: tuple[Path, Path]) -> None:
    data, wal = place
    aside = set_aside(data, wal, NOW)
    assert aside == wal.with_name("hanbat.stray-20261129T010203.000004Z")
    assert aside is not None
    assert [path.name for path in aside.iterdir()] == [SEGMENT]
    assert not wal.exists()


def test_the_function_is_called_whatever_becomes_of_it(
    place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data, wal = place

    def busy(*_: object) -> None:
        raise OSError(16, "Device or resource busy")  # a mount point

    monkeypatch.setattr(Path, "rename", busy)
    called: list[Any] = []
    make = before(lambda self, *words: called.append(words) or True, wal)
    with caplog.at_level(logging.ERROR):
        assert make(SimpleNamespace(_postgresql=SimpleNamespace(data_dir=str(data))), "from", True)
    assert called == [("from", True)]
    assert "cannot be set aside" in caplog.text


def test_patroni_yml_tells_where_wal_is() -> None:
    topology = topology_file.load(Path(__file__).parents[3] / "sites.yml")
    assert layout.wal_dir(topology) == "/var/lib/postgresql-wal/15/hanbat"
    assert not layout.wal_dir(topology).startswith(layout.version_dir(topology))
    golden = Path(__file__).parents[2] / "golden"
    for host in ("dj-db1", "gg-db1"):
        document = yaml.safe_load((golden / host / "etc/hanbat/patroni.yml").read_text(encoding="utf-8"))
        assert wal_dir(document) == Path(layout.wal_dir(topology))
        initdb = document.get("bootstrap", {}).get("initdb", [])
        assert ({"waldir": layout.wal_dir(topology)} in initdb) is bool(initdb)
    assert wal_dir({"postgresql": {"basebackup": ["no-manifest", {"checkpoint": "fast"}]}}) is None
    assert wal_dir({"etcd3": {}}) is None


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in stray_wal.SIGNATURES:
        monkeypatch.setattr(Bootstrap, name, getattr(Bootstrap, name))  # put back afterwards


@pytest.mark.usefixtures("restored")
def test_it_is_patronis_own_functions_that_are_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    originals = [getattr(Bootstrap, name) for name in stray_wal.SIGNATURES]
    install(None)
    assert [getattr(Bootstrap, name) for name in stray_wal.SIGNATURES] == originals
    install(Path("/nowhere"))
    for original, (name, parameters) in zip(originals, stray_wal.SIGNATURES.items(), strict=True):
        assert getattr(Bootstrap, name) is not original
        assert tuple(inspect.signature(getattr(Bootstrap, name)).parameters) == parameters
    # An interrupted clone has its link from the start, and Patroni empties what is linked.
    removal = inspect.getsource(Postgresql.remove_data_directory)
    assert removal.index("rmtree(pg_wal_realpath)") < removal.index("rmtree(self._data_dir)")
    monkeypatch.setattr(Bootstrap, "clone", lambda self, other: True)
    with pytest.raises(ReplacedFunctionChanged):
        install(Path("/nowhere"))


# With PostgreSQL's own programs


@pytest.fixture
def primary() -> Iterator[Node]:
    with as_postgres():
        folder = Path(tempfile.mkdtemp(prefix="hanbat-stray-pg-"))
        node = Node(folder, "dj-db1", free_port())
        try:
            words = ("-U", "postgres", "-A", "trust", "-N", "--locale=C.UTF-8", "--wal-segsize=1")
            run(BIN / "initdb", "-D", node.data, f"--waldir={node.wal}", *words)
            node.configure()
            node.control("start")
            yield node
        finally:
            if (node.data / "postmaster.pid").exists():
                with contextlib.suppress(AssertionError):
                    node.control("-m", "immediate", "stop")
            shutil.rmtree(folder, ignore_errors=True)


def patronis(node: Node, source: Node) -> Bootstrap:
    """Patroni's own class that clones, with so much of Patroni as it needs for that."""

    def call(argv: list[str], env: dict[str, str]) -> int:
        return subprocess.run(argv, env=env, cwd="/", capture_output=True, timeout=60).returncode

    bootstrap = object.__new__(Bootstrap)
    here: Any = object.__new__(Postgresql)
    here._data_dir, here.set_role = str(node.data), lambda _: None
    here._pg_control = str(node.data / "global" / "pg_control")
    here.cancellable = SimpleNamespace(is_cancelled=False, call=call)
    here.config = SimpleNamespace(pg_version=150000, data_dir=str(node.data))
    here.pgcommand = lambda name: str(BIN / name)
    bootstrap._postgresql = here
    return bootstrap


@pytest.mark.postgres
@pytest.mark.skipif(not (BIN / "postgres").exists(), reason="needs PostgreSQL 15's programs")
@pytest.mark.parametrize("left", ["broken off", "whole, data removed by hand", "WAL inside, from before"])
def test_a_clone_ends_whatever_the_one_before_left(
    primary: Node, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patroni.postgresql.bootstrap.time.sleep", lambda _: None)
    node = Node(primary.folder, "gg-db1", free_port())
    bootstrap = patronis(node, primary)

    def clone(self: Bootstrap) -> bool:
        options: Any = [{"checkpoint": "fast"}, "no-manifest", {"waldir": str(node.wal)}]
        return self.basebackup(primary.dsn("postgres"), dict(os.environ), options) == 0

    safe = before(clone, node.wal)
    if left == "WAL inside, from before":
        run(BIN / "pg_basebackup", "-D", node.data, "-d", primary.dsn("postgres"), "-c", "fast")
    else:
        assert clone(bootstrap)
    assert clone(bootstrap), "without any of ours: what is linked, or inside, Patroni removes itself"
    if left == "broken off":
        (node.data / "PG_VERSION").unlink()
        (node.data / "global" / "pg_control").unlink()
    elif left == "whole, data removed by hand":
        shutil.rmtree(node.data)
        assert not clone(bootstrap), "planted: this is what goes on for ever without the function"
    assert safe(bootstrap)
    assert (node.data / "pg_wal").resolve() == node.wal.resolve()
    aside = list(node.folder.glob("gg-db1-wal.stray-*"))
    assert bool(aside) is (left == "whole, data removed by hand")
    node.follow(primary)
    assert node.sql("SELECT pg_is_in_recovery()", "postgres") == [(True,)]
    node.control("-m", "immediate", "stop")
