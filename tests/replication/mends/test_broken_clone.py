"""What a clone or a removal that was broken off has left is cloned anew, and nothing else is."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import patroni.postgresql as patroni_postgresql  # first: Patroni's modules import each other in a circle
import pytest
from patroni import global_config
from patroni.dcs import Cluster, ClusterConfig, Leader, Member, Status, SyncState
from patroni.ha import Ha
from patroni.postgresql import Postgresql
from patroni.postgresql.bootstrap import Bootstrap
from patroni.postgresql.mpp import get_mpp

from replication.mends import stray_wal
from replication.mends.broken_clone import (
    View,
    Watch,
    cloning,
    copier_to,
    has_control,
    install,
    is_unsynced,
    mark,
    mark_of,
    obstacle,
    removing,
    starting,
)
from replication.mends.wrapping import ReplacedFunctionChanged

from ..salvage_servers import BIN, Node, as_postgres, free_port, run

FOR_EVER = "data dir for the cluster is not empty, but system ID is invalid; consider doing reinitialize"
SYSTEM = "7300000000000000000"
BROKEN = View(
    me="dj-db2",
    leader="dj-db1",
    initialized=True,
    bootstrapping=False,
    marked=True,
    copier=None,
    served=False,
)


class PowerCut(BaseException):
    """Nobody catches it, and nothing is tidied up."""


# By value


def test_only_a_marked_directory_that_nobody_uses_is_cloned_over_and_only_from_another() -> None:
    assert obstacle(BROKEN) is None
    for change, why in (
        ({"leader": None}, "nobody holds the lock"),
        ({"leader": "dj-db2"}, "this host holds"),
        ({"initialized": False}, "no data directory yet"),
        ({"bootstrapping": True}, "no data directory yet"),
        ({"marked": False}, "patronictl reinit"),
        ({"copier": 17}, "pg_basebackup runs on it, process 17"),
        ({"served": True}, "a postmaster runs"),
    ):
        assert why in (obstacle(replace(BROKEN, **change)) or ""), change


def test_an_empty_pg_control_is_none_and_one_that_cannot_be_seen_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not has_control(tmp_path)
    (tmp_path / "global").mkdir()
    assert not has_control(tmp_path)
    (tmp_path / "global" / "pg_control").touch()
    assert not has_control(tmp_path)
    (tmp_path / "global" / "pg_control").write_bytes(bytes(8192))
    assert has_control(tmp_path)

    def unreadable(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "stat", unreadable)
    with pytest.raises(OSError, match="Input/output"):
        has_control(tmp_path)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["/usr/lib/postgresql/15/bin/pg_basebackup", "--pgdata=/v/15/hanbat", "-X", "stream"], True),
        (["pg_basebackup", "-D", "/v/15/hanbat/"], True),
        (["pg_basebackup", "-D", "/backup", "--waldir=/v-wal/15/hanbat"], False),
        (["postgres", "-D", "/v/15/hanbat"], False),
        ([], False),  # a zombie, or a thread of the kernel
    ],
)
def test_a_pg_basebackup_is_known_by_its_directory(tmp_path: Path, words: list[str], found: bool) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "16").mkdir()  # it has ended: there is no cmdline
    (tmp_path / "17").mkdir()
    (tmp_path / "17" / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
    assert copier_to(Path("/v/15/hanbat"), tmp_path) == (17 if found else None)


# Marks


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A server's directory, as far as is looked at."""
    (tmp_path / "hanbat" / "global").mkdir(parents=True)
    (tmp_path / "hanbat" / "global" / "pg_control").write_bytes(bytes(8192))
    return tmp_path / "hanbat"


def test_a_clone_is_marked_from_before_its_begin_to_its_good_end(data: Path) -> None:
    during: list[bool] = []
    here = SimpleNamespace(_postgresql=SimpleNamespace(data_dir=str(data)))

    def clone(result: object) -> Callable[..., bool]:
        def function(self: Any, clone_member: Any, clone_from_leader: bool) -> bool:
            during.append(mark_of(data).exists())
            if isinstance(result, BaseException):
                raise result
            return bool(result)

        return cloning(function)

    assert clone(True)(here, "dj-db1", True)
    assert not mark_of(data).exists()
    assert not clone(False)(here, "dj-db1")
    assert mark_of(data).exists(), "it is begun anew, or the next loop finds the directory empty"
    with pytest.raises(PowerCut):
        clone(PowerCut())(here, "dj-db1")
    assert mark_of(data).exists()
    assert during == [True, True, True]


def test_a_removal_takes_pg_control_first(data: Path) -> None:
    seen: list[tuple[bool, bool]] = []
    here = SimpleNamespace(data_dir=str(data))

    def cut(self: Any) -> None:
        seen.append((mark_of(data).exists(), has_control(data)))
        raise PowerCut

    with pytest.raises(PowerCut):
        removing(cut)(here)
    assert seen == [(True, False)]
    assert mark_of(data).exists()
    assert (data / "global" / "pg_control.old").exists()


@pytest.mark.parametrize("in_a_clone", [True, False])
def test_within_a_clone_the_mark_outlives_the_removal(data: Path, in_a_clone: bool) -> None:
    if in_a_clone:
        assert mark(data)
    removing(lambda self: shutil.rmtree(data))(SimpleNamespace(data_dir=str(data)))
    assert mark_of(data).exists() is in_a_clone
    removing(lambda self: None)(SimpleNamespace(data_dir=str(data)))  # there is nothing left to remove
    assert mark_of(data).exists() is in_a_clone


def test_without_marks_patroni_goes_on(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    for name in ("open", "unlink", "rename"):
        monkeypatch.setattr(Path, name, read_only)
    here = SimpleNamespace(data_dir=str(data))
    here._postgresql = here
    called: list[str] = []
    assert cloning(lambda *_: called.append("clone") or True)(here, None)
    removing(lambda _: called.append("removal"))(here)
    assert called == ["clone", "removal"]
    assert caplog.text.count("Read-only file system") == 4


# Through Patroni's own Ha


def a_cluster(system: str | None, leader: str | None, port: int = 1) -> Cluster:
    url = f"postgres://127.0.0.1:{port}/postgres"
    members = [Member(1, name, "0", {"state": "running", "conn_url": url}) for name in ("dj-db1", "dj-db2")]
    holder = next((Leader(1, "0", member) for member in members if member.name == leader), None)
    settings = {"synchronous_mode": True, "ttl": 20, "loop_wait": 1, "retry_timeout": 5}
    sync = SyncState.from_node("7", {"leader": "dj-db1", "sync_standby": "gg-db1"})
    return Cluster(
        system, ClusterConfig(1, settings, 1), holder, Status.empty(), members, None, sync, None, None, None
    )


def a_server(folder: Path, port: int, *options: dict[str, str]) -> Postgresql:
    user = {"username": "postgres"}
    configuration: dict[str, Any] = {
        "scope": "hanbat",
        "name": "dj-db2",
        "data_dir": str(folder / "dj-db2"),
        "bin_dir": str(BIN),
        "listen": f"127.0.0.1:{port}",
        "connect_address": f"127.0.0.1:{port}",
        "use_unix_socket": True,
        "pgpass": str(folder / "pgpass"),
        "retry_timeout": 5,
        "authentication": {"superuser": user, "replication": user},
        "basebackup": [{"waldir": str(folder / "dj-db2-wal")}, {"checkpoint": "fast"}, *options],
        "parameters": {"unix_socket_directories": str(folder), "shared_buffers": "32MB"},
    }
    return Postgresql(configuration, get_mpp({}))


def an_ha(server: Any, cluster: Cluster) -> Ha:
    global_config.update(cluster)
    whole = MagicMock()
    whole.postgresql, whole.config = server, {"retry_timeout": 5, "bootstrap": {}}
    whole.dcs.get_cluster.return_value, whole.dcs.loop_wait, whole.dcs.ttl = cluster, 1, 20
    whole.nofailover = whole.nosync = False
    whole.replicatefrom, whole.tags, whole.scheduled_restart = None, {}, {}
    return Ha(whole)


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Patroni's functions and its global configuration are put back afterwards."""
    monkeypatch.setattr(Bootstrap, "clone", Bootstrap.clone)
    monkeypatch.setattr(Bootstrap, "_initdb", Bootstrap._initdb)
    monkeypatch.setattr(Postgresql, "remove_data_directory", Postgresql.remove_data_directory)
    monkeypatch.setattr(Ha, "handle_starting_instance", Ha.handle_starting_instance)
    yield
    global_config.update(None)


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """Half a clone, marked."""
    data = tmp_path / "dj-db2"
    (data / "base").mkdir(parents=True)
    (data / "PG_VERSION").write_text("15\n")
    assert mark(data)
    return data


def looked(half: Path, cluster: Cluster, watch: Watch | None = None, loops: int = 3) -> tuple[set[str], int]:
    """What some loops of Patroni say, and how many clones they begin."""
    server = a_server(half.parent, 1)
    ha = an_ha(server, cluster)
    begun: list[str] = []
    ha.bootstrap = lambda: begun.append("clone") or "a clone"  # type: ignore[method-assign]
    wrapper = starting(lambda self: None, watch or Watch(lambda _: None))
    ha.handle_starting_instance = wrapper.__get__(ha)  # type: ignore[method-assign]
    return {ha.run_cycle() for _ in range(loops)}, len(begun)


needs_programs = pytest.mark.skipif(not (BIN / "postgres").exists(), reason="needs PostgreSQL 15's programs")


@needs_programs
@pytest.mark.usefixtures("restored")
def test_patroni_clones_over_half_a_clone(half: Path) -> None:
    assert looked(half, a_cluster(SYSTEM, "dj-db1")) == ({"a clone"}, 3)


@needs_programs
@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(
    ("system", "leader"), [(SYSTEM, None), (SYSTEM, "dj-db2"), (None, None), ("", None), (None, "dj-db1")]
)
def test_not_without_another_holder_and_a_made_cluster(
    half: Path, system: str | None, leader: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert looked(half, a_cluster(system, leader)) == ({FOR_EVER}, 0)
    assert caplog.text.count("is left as it is") == 1
    assert mark_of(half).exists()


@needs_programs
@pytest.mark.usefixtures("restored")
def test_not_what_no_mark_tells_of(half: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged only copy looks like this, too."""
    mark_of(half).unlink()
    assert looked(half, a_cluster(SYSTEM, "dj-db1")) == ({FOR_EVER}, 0)
    assert caplog.text.count("patronictl reinit") == 1


@needs_programs
@pytest.mark.usefixtures("restored")
def test_not_while_pg_basebackup_outlives_its_patroni(half: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert looked(half, a_cluster(SYSTEM, "dj-db1"), Watch(lambda _: 17)) == ({FOR_EVER}, 0)
    assert caplog.text.count("pg_basebackup runs on it") == 1


@needs_programs
@pytest.mark.usefixtures("restored")
def test_not_what_cannot_be_looked_at(half: Path, caplog: pytest.LogCaptureFixture) -> None:
    def unknown(_: Path) -> int | None:
        raise PermissionError(13, "Permission denied")

    assert looked(half, a_cluster(SYSTEM, "dj-db1"), Watch(unknown)) == ({FOR_EVER}, 0)
    assert caplog.text.count("Permission denied") == 1


@needs_programs
@pytest.mark.usefixtures("restored")
def test_not_in_pause(half: Path, caplog: pytest.LogCaptureFixture) -> None:
    cluster = a_cluster(SYSTEM, "dj-db1")
    assert cluster.config
    cluster.config.data["pause"] = True
    assert looked(half, cluster) == ({f"PAUSE: {FOR_EVER}"}, 0)
    assert "left as it is" not in caplog.text


@pytest.mark.parametrize("left", ["a server", "nothing"])
@pytest.mark.parametrize("copier", [17, None])
def test_a_mark_goes_when_nothing_is_unfinished(data: Path, left: str, copier: int | None) -> None:
    """So a later damage is not taken for half a clone."""
    assert mark(data)
    if left == "nothing":
        shutil.rmtree(data)
    server = SimpleNamespace(data_dir=str(data), data_directory_empty=lambda: left == "nothing")
    ha = SimpleNamespace(state_handler=server, is_paused=lambda: False)  # and no bootstrap
    assert Watch(lambda _: copier).look(ha) is None
    assert mark_of(data).exists() is (copier is not None)


@pytest.mark.parametrize(
    ("label", "boot", "unsynced"),
    [(True, "another", True), (True, None, False), (False, "another", False), (True, "", False)],
)
def test_a_clone_that_ended_in_a_power_cut_may_not_be_on_the_disk(
    data: Path, label: bool, boot: str | None, unsynced: bool
) -> None:
    """Planted: pg_control has its content, other files have none. Once started it is a server's."""
    assert not is_unsynced(data)
    assert mark(data)
    if label:
        (data / "backup_label").write_text("START WAL LOCATION: 0/2000028\n")
    if boot is not None:
        mark_of(data).write_text(boot)
    assert is_unsynced(data) is unsynced
    cluster = SimpleNamespace(leader_name="dj-db1", initialize=SYSTEM)
    server = SimpleNamespace(
        name="dj-db2",
        data_dir=str(data),
        data_directory_empty=lambda: False,
        bootstrapping=False,
        is_running=lambda: False,
    )
    ha = SimpleNamespace(
        state_handler=server,
        cluster=cluster,
        is_paused=lambda: False,
        sysid_valid=lambda _: True,
        bootstrap=lambda: "a clone",
    )
    assert Watch(lambda _: None).look(ha) == ("a clone" if unsynced else None)
    assert mark_of(data).exists() is unsynced


@pytest.mark.usefixtures("restored")
def test_it_is_patronis_own_functions_that_are_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    places = ((Bootstrap, "clone"), (Postgresql, "remove_data_directory"), (Ha, "handle_starting_instance"))
    originals = [getattr(owner, name) for owner, name in places]
    install()
    for original, (owner, name) in zip(originals, places, strict=True):
        assert getattr(owner, name) is not original
        assert inspect.signature(getattr(owner, name)) == inspect.signature(original)
    loop = inspect.getsource(Ha._run_cycle)
    busy, looks = loop.index("_async_executor.busy"), loop.index("self.handle_starting_instance()")
    assert busy < looks < loop.index("data_directory_empty()"), "never beside a clone that is under way"
    basebackup = inspect.getsource(Bootstrap.basebackup)
    assert basebackup.index("remove_data_directory()") < basebackup.index("cancellable.call("), "it tidies up"
    monkeypatch.setattr(Ha, "handle_starting_instance", lambda self, other: None)
    with pytest.raises(ReplacedFunctionChanged):
        install()


# With PostgreSQL's own programs


@pytest.fixture
def primary() -> Iterator[Node]:
    with as_postgres():
        folder = Path(tempfile.mkdtemp(prefix="hanbat-broken-pg-"))
        node = Node(folder, "dj-db1", free_port())
        try:
            run(BIN / "initdb", "-D", node.data, "-U", "postgres", "-A", "trust", "-N", "--locale=C.UTF-8")
            node.configure()
            node.control("start")
            yield node
        finally:
            if (node.data / "postmaster.pid").exists():
                with contextlib.suppress(AssertionError):
                    node.control("-m", "immediate", "stop")
            shutil.rmtree(folder, ignore_errors=True)


def break_off(server: Postgresql, source: Member, wait_for: Path) -> None:
    """A clone by Patroni's own function, whose pg_basebackup and caller both end in the middle."""

    def call(argv: list[str], env: dict[str, str]) -> int:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen(argv, env=env, start_new_session=True, **quiet)
        try:
            end = time.monotonic() + 20
            while not wait_for.exists():
                assert child.poll() is None, "it has ended"
                assert time.monotonic() < end, "no clone is under way"
                time.sleep(0.02)
            assert copier_to(Path(server.data_dir)) is not None
        finally:
            os.killpg(child.pid, signal.SIGKILL)  # with the process that fetches WAL
            child.wait()
        raise PowerCut

    server.cancellable.call = call  # type: ignore[method-assign]
    with pytest.raises(PowerCut):
        server.bootstrap.clone(source)


def remove_half(server: Postgresql, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    """A removal by Patroni's own function that ends when WAL is gone."""

    def rmtree(path: str, **_: Any) -> None:
        if Path(path) != Path(server.data_dir):
            shutil.rmtree(path)
            return
        if left == "no global":
            shutil.rmtree(Path(path) / "global")
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(patroni_postgresql, "shutil", SimpleNamespace(rmtree=rmtree))
        with pytest.raises(PowerCut):
            server.remove_data_directory()


@pytest.mark.postgres
@needs_programs
@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("broken", ["a clone", "a removal: no global", "a removal: no WAL"])
def test_a_host_comes_back_by_itself(primary: Node, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(primary.folder, "dj-db2", free_port())
    system = str(primary.sql("SELECT system_identifier FROM pg_control_system()", "postgres")[0][0])
    cluster = a_cluster(system, "dj-db1", primary.port)
    assert cluster.leader
    source, unmended = cluster.leader.member, Ha.handle_starting_instance
    install()
    stray_wal.install(node.wal)
    if broken == "a clone":
        before = a_server(primary.folder, node.port, {"max-rate": "2M"})
        break_off(before, source, wait_for=node.data / "base")
        assert (node.data / "pg_wal").resolve() == node.wal.resolve()
    else:
        before = a_server(primary.folder, node.port)
        assert before.bootstrap.clone(source)
        assert has_control(node.data)
        assert not mark_of(node.data).exists()
        remove_half(before, monkeypatch, broken.removeprefix("a removal: "))
        assert not node.wal.exists()
    assert not has_control(node.data)
    assert any(node.data.iterdir())

    server = a_server(primary.folder, node.port)  # after the restart
    ha, cloned = an_ha(server, cluster), []

    def clone(member: Any, *_: Any) -> bool:
        cloned.append(server.bootstrap.clone(member))
        return cloned[-1]

    ha.clone = clone  # type: ignore[method-assign]
    without_a_thread = ha._async_executor.run
    ha._async_executor.run_async = lambda f, args: without_a_thread(f, args) and None  # type: ignore
    with monkeypatch.context() as patch:
        patch.setattr(Ha, "handle_starting_instance", unmended)
        assert {ha.run_cycle() for _ in range(5)} == {FOR_EVER}, "planted: so it goes on for ever"
    assert not cloned

    assert ha.run_cycle() == "trying to bootstrap from leader 'dj-db1'"
    assert cloned == [True]
    assert has_control(node.data)
    assert not mark_of(node.data).exists()
    assert not (node.data / "global" / "pg_control.old").exists()
    assert (node.data / "pg_wal").resolve() == node.wal.resolve()
    there = {path.name for path in primary.folder.iterdir() if path.name.startswith("dj-db2")}
    assert there == {"dj-db2", "dj-db2-wal"}, "nothing is kept aside: there may be no room for it"
    node.follow(primary)
    assert node.sql("SELECT pg_is_in_recovery()", "postgres") == [(True,)]
    node.control("-m", "immediate", "stop")
