"""The pure parts of faults, by value: targets, values, rules, which processes a program is."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hanbat.topology import Topology
from lab import cuts, disks, faults, leftovers, wan
from lab.cgroups import Cgroup, groups_of_lab
from lab.errors import BadTarget, LabError
from lab.faults import FAULTS, background, clock, disk_filler, flap, processes, slow_wan, values, wal_filler
from lab.faults.processes import Process, chosen
from lab.identity import Names
from lab.plan import plan
from replication import layout
from replication.salvage import wal
from tests.lab.shapes import small

NAMES = Names("0a1b2c", Path("/nowhere"))


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    return small(tmp_path)


def test_every_fault_is_known_by_its_name() -> None:
    assert set(FAULTS) == {
        "power-cut", "partition", "replication-cut", "flap", "wan", "freeze", "kill", "kill-process",
        "stop-process", "disk-full", "disk-full-wal", "disk-hang", "disk-slow", "clock",
    }  # fmt: skip
    assert all(name == each.name for name, each in FAULTS.items())


# Values in a target


def test_values_replace_what_is_given() -> None:
    assert values.split("all", slow_wan.KNOWN, slow_wan.GIVEN) == (
        "all",
        {"delay": 50.0, "jitter": 0.0, "loss": 5.0},
    )
    found = values.split("a-b:loss=0.5,delay=1s", slow_wan.KNOWN, slow_wan.GIVEN)
    assert found == ("a-b", {"delay": 1000.0, "jitter": 0.0, "loss": 0.5})


@pytest.mark.parametrize(
    "text", ["all:", "all:delay", "all:delay=9", "all:speed=1s", "all:loss=51", "all:loss=x", "all:loss=nan"]
)
def test_bad_values_are_refused(text: str) -> None:
    with pytest.raises(BadTarget):
        values.split(text, slow_wan.KNOWN, slow_wan.GIVEN)


# WAN


def test_a_slow_wan_names_links_in_either_order(topology: Topology) -> None:
    links = plan(topology, NAMES).wan
    assert slow_wan.parse("all", links)[0] == (0, 1, 2)
    assert slow_wan.parse("gyeong-gi-daejeon", links)[0] == (0,)
    assert slow_wan.parse("gyeong-gi-sejong:delay=10ms", links) == (
        (2,),
        {"delay": 10.0, "jitter": 0.0, "loss": 5.0},
    )
    for text in ("daejeon", "daejeon>sejong", "all:delay=3s", "all:delay=1ms,jitter=2ms"):
        with pytest.raises(BadTarget):
            slow_wan.parse(text, links)


def test_a_slow_wan_keeps_what_it_does_not_change(topology: Topology) -> None:
    found = slow_wan.changed(topology.wan, {"delay": 50.0, "jitter": 0.0, "loss": 5.0})
    assert wan.netem_arguments(found)[:2] == ["delay", "50000us"]
    assert wan.netem_arguments(found)[-2:] == ["loss", "5%"]
    assert found.bandwidth_mbit == topology.wan.bandwidth_mbit


def _wirefilter(socket_path: Path, info: str) -> threading.Thread:
    """A wirefilter's management socket that says this, once."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(socket_path))
    server.listen()

    def serve() -> None:
        with server, server.accept()[0] as connection:
            connection.sendall(b"\nVDE wirefilter\n\nVDEwf$ ")
            while connection.recv(100):
                connection.sendall(f"{info}\n\nVDEwf$ ".encode())

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


SLOW = "Loss   L->R 5+0U   R->L 5+0U\nDelay  L->R 50+0U   R->L 50+0U\n.\n1000 Success"


@pytest.mark.parametrize(
    ("info", "holds"),
    [(SLOW, True), (SLOW.replace("R->L 5+", "R->L 0+"), False), (SLOW.replace("L->R 50", "L->R 1.5"), False)],
    ids=["as set", "loss one way only", "delay one way only"],
)
def test_the_emulation_is_asked_what_it_does(
    tmp_path: Path, topology: Topology, info: str, holds: bool
) -> None:
    link = plan(topology, NAMES).wan[0]
    thread = _wirefilter(tmp_path / "w0m", info)
    setting = slow_wan.changed(topology.wan, {"delay": 50.0, "jitter": 0.0, "loss": 5.0})
    assert wan.is_set(link, 0, setting, wan.WIREFILTER, tmp_path) is holds
    thread.join(5)


def test_an_emulation_that_refuses_or_is_gone_is_an_error(tmp_path: Path, topology: Topology) -> None:
    link = plan(topology, NAMES).wan[0]
    with pytest.raises(LabError):
        wan.change(link, 0, topology.wan, wan.WIREFILTER, tmp_path)
    thread = _wirefilter(tmp_path / "w0m", "1038 Function not implemented")
    with pytest.raises(LabError):
        wan.change(link, 0, topology.wan, wan.WIREFILTER, tmp_path)
    thread.join(5)


# Replication


def test_a_replication_cut_names_database_hosts_and_one_port(topology: Topology) -> None:
    rules = cuts.rules(topology, [], [], [cuts.parse(topology, "daejeon-gyeong-gi")])
    for site, source, goal in (
        ("daejeon", "10.81.1.11", "10.81.2.11"),
        ("gyeong-gi", "10.81.2.11", "10.81.1.11"),
    ):
        for side in ("sport", "dport"):
            line = f"ip saddr {{ {source} }} ip daddr {{ {goal} }} tcp {side} 5432 drop"
            assert rules[site].count(line) == 1
    assert "iifname" not in "".join(rules.values())
    assert "drop" not in rules["sejong"]


def test_a_one_way_replication_cut_drops_at_the_sending_site_only(topology: Topology) -> None:
    rules = cuts.rules(topology, [], [], [cuts.parse(topology, "gyeong-gi>daejeon")])
    assert rules["gyeong-gi"].count(" drop") == 2
    assert "drop" not in rules["daejeon"]


# Flap


def test_a_flap_cuts_through_a_set_whose_elements_end_by_themselves() -> None:
    text = flap.table_text("hanbat_flap_a_b")
    assert text.startswith("table inet hanbat_flap_a_b {}\ndelete table inet hanbat_flap_a_b\n")
    assert "flags timeout" in text
    assert text.count("@cut drop") == 2
    assert background.slug(("flap", "gyeong-gi:cut=1s")) == "flap_gyeong_gi_cut_1s"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: control groups")
def test_a_background_program_that_joins_late_is_ended_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, key = Names("fffffe", tmp_path), ("flap", "late")
    group = background.group_of(names, key)
    group.create()
    prefix, variables = group.launcher()
    late: list[subprocess.Popen[bytes]] = []
    kill = Cgroup.kill

    def kill_too_early(self: Cgroup) -> None:
        kill(self)
        if not late:
            late.append(subprocess.Popen([*prefix, "sleep", "60"], env={**os.environ, **variables}))
            while not self.processes():
                time.sleep(0.01)

    monkeypatch.setattr(Cgroup, "kill", kill_too_early)
    try:
        background.end(names, key)
        assert not group.exists()
        assert late[0].wait(5) == -9
    finally:
        late[0].kill()
        late[0].wait(5)
        groups_of_lab(names.lab).remove()


# Processes


def _row(pid: int, parent: int, program: str, unit: str = "hanbat-patroni") -> Process:
    return Process(pid, pid, parent, "S", program, unit)


TABLE = [
    _row(10, 1, "python3.11"),
    _row(11, 10, "pg_basebackup"),
    _row(20, 1, "postgres"),
    _row(21, 20, "postgres"),
    _row(22, 20, "dash"),
    _row(23, 22, "python3.11"),
    _row(30, 1, "etcd", "hanbat-etcd"),
    _row(31, 1, "etcd", "other"),
    _row(40, 1, "python3.11", "hanbat-failover"),
]


@pytest.mark.parametrize(
    ("program", "pids"),
    [("postgres", [20, 21, 22, 23]), ("patroni", [10]), ("etcd", [30]), ("failover", [40])],
)
def test_a_program_is_its_own_processes_only(program: str, pids: list[int]) -> None:
    assert [each.pid for each in chosen(TABLE, program)] == pids


def test_the_clock_is_shifted_for_our_python_units() -> None:
    assert clock.units_of(TABLE) == {"hanbat-patroni": {10, 23}, "hanbat-failover": {40}}


def test_a_process_is_read_as_it_is() -> None:
    found = processes.read(os.getpid())
    assert found is not None
    assert (found.parent, found.state) == (os.getppid(), "R")
    assert found.program.startswith("python")
    child = subprocess.Popen(["sleep", "60"])
    other = processes.read(child.pid)
    assert other is not None
    assert other.started >= found.started
    child.kill()
    child.wait()
    assert processes.read(child.pid) is None


def test_a_command_is_its_interpreter_and_not_what_wraps_it(tmp_path: Path) -> None:
    script = tmp_path / "hanbat"
    script.write_text("import time; print(flush=True); time.sleep(60)", encoding="utf-8")
    argv = ["timeout", "60", sys.executable, str(script)]
    with (
        subprocess.Popen([*argv, "switchover"], stdout=subprocess.PIPE) as wanted,
        subprocess.Popen([*argv, "status"], stdout=subprocess.PIPE) as other,
    ):
        try:
            for child in (wanted, other):
                assert child.stdout is not None
                child.stdout.readline()
            assert [each.parent for each in processes.commanded(os.getpid(), "switchover")] == [wanted.pid]
            assert processes.commanded(None, "switchover") == []
        finally:
            wanted.terminate()
            other.terminate()


# Disks


def test_a_disk_is_told_by_its_mount_point(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path("/s/machines/gg1/root")
    inside = [root / "var/lib/postgresql-wal", root / "var/lib/postgresql"]
    monkeypatch.setattr("lab.mounts.below", lambda _: [*inside, root, root / "var/lib/other"])
    assert disks.points_below(Path("/s")) == inside


def test_a_folder_that_is_no_disk_is_never_frozen(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no file system of its own"):
        disks.freeze(tmp_path)


def test_loop_devices_of_this_lab_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "SYS_BLOCK", tmp_path)
    names = Names("0a1b2c", Path("/labs"))
    for device, backing in (
        ("loop0", "/labs/0a1b2c/machines/gg1/postgresql.img\n"),
        ("loop1", "/labs/0a1b2d/machines/gg1/postgresql.img\n"),
        ("loop2", "/labs/0a1b2c/machines/dj1/postgresql.img (deleted)\n"),
    ):
        (tmp_path / device / "loop").mkdir(parents=True)
        (tmp_path / device / "loop/backing_file").write_text(backing, encoding="utf-8")
    (tmp_path / "loop3").mkdir()
    assert disks.loops(names) == ["/dev/loop0", "/dev/loop2"]
    assert leftovers.Leftovers((), (), (), False, (), ("/dev/loop0",)).text() == "loop devices: /dev/loop0"
    assert leftovers.Leftovers((), (), (), False, (), ("/dev/loop0",)).any()


def test_both_disks_of_a_host_are_thawed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends a machine: a write that is held back on one of them would keep its process."""
    inside = [tmp_path / "root" / disk.folder for disk in disks.DISKS]
    monkeypatch.setattr("lab.mounts.below", lambda _: inside)
    thawed: list[Path] = []

    def thaw(point: Path) -> None:
        thawed.append(point)
        raise LabError("one that cannot be thawed keeps no other one")

    monkeypatch.setattr(disks, "thaw", thaw)
    disks.thaw_below(tmp_path)
    assert thawed == inside


def test_wal_has_the_volume_that_the_product_names() -> None:
    assert f"/{disks.WAL.folder}" == layout.WAL_MOUNT
    assert len({disk.image for disk in disks.DISKS}) == len(disks.DISKS) == 2


SIZE = 1 << 20


def _segment(folder: Path, number: int, holds: int, timeline: int = 1) -> Path:
    """A segment's file whose first page has another one's address, as PostgreSQL keeps them for later."""
    path = folder / wal.segment_name(timeline, number, SIZE)
    with path.open("wb") as stream:
        stream.write(wal.PAGE_HEADER.pack(0xD110, 2, timeline, holds * SIZE))
        stream.truncate(SIZE)
    return path


def test_segments_held_ready_are_told_from_those_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "15" / "hanbat"
    folder.mkdir(parents=True)
    (tmp_path / ".hanbat-filler").touch()
    (folder / "archive_status").mkdir()
    (folder / "00000002.history").touch()
    (folder / "xlogtemp.12").touch()
    assert wal_filler.held_ready(tmp_path) == []
    for number in (5, 6):
        _segment(folder, number, holds=number)
    _segment(folder, 7, holds=7, timeline=2)
    _segment(folder, 8, holds=3)  # PostgreSQL may open it at this moment
    later = {_segment(folder, 9, holds=4), _segment(folder, 10, holds=2, timeline=2)}
    assert set(wal_filler.held_ready(tmp_path)) == later


def test_without_a_written_segment_none_is_taken(tmp_path: Path) -> None:
    """Nobody knows then where PostgreSQL is."""
    folder = tmp_path / "15" / "hanbat"
    folder.mkdir(parents=True)
    for number in (8, 9, 10):
        _segment(folder, number, holds=1)
    assert wal_filler.held_ready(tmp_path) == []


def test_filling_ends_when_nothing_more_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = 10 << 20
    grown: list[int] = []

    def fallocate(_: int, offset: int, length: int) -> None:
        if sum(grown) + length > room:
            raise OSError(28, "No space left on device")
        grown.append(length)

    monkeypatch.setattr(disk_filler.os, "posix_fallocate", fallocate)
    with (tmp_path / "filler").open("wb") as stream:
        disk_filler.fill(stream.fileno())
    assert sum(grown) == room


# Clock


def test_the_library_shifts_the_wall_clock_and_no_other(tmp_path: Path) -> None:
    library, offset = tmp_path / "clock.so", tmp_path / "offset"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, clock.SOURCE, "-ldl"], check=True
    )
    offset.write_bytes(struct.pack("q", 300_000_000_000))
    code = (
        "import time, threading, datetime\n"
        "started = time.monotonic(); threading.Event().wait(0.2); time.sleep(0.1)\n"
        "print(time.time(), datetime.datetime.now().timestamp(), time.monotonic(), started)"
    )
    environment = {**os.environ, "LD_PRELOAD": str(library), "HANBAT_CLOCK": str(offset)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    wall, date, monotonic, started = map(float, done.stdout.split())
    assert 299 <= wall - time.time() <= 301
    assert abs(date - wall) < 1
    assert abs(monotonic - time.monotonic()) < 5
    assert 0.25 <= monotonic - started <= 2


# Heal all


def test_one_fault_that_cannot_be_healed_keeps_no_other_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the first error ended the healing, and what was injected earlier stayed."""

    class Broken:
        name, target = "wan", "all"

        def heal(self) -> None:
            raise LabError("the emulation does not answer")

    class Healed:
        name, target = "flap", "daejeon"
        healed = 0

        def heal(self) -> None:
            Healed.healed += 1

    said: list[str] = []
    monkeypatch.setattr(faults, "injected", lambda lab: [Broken(), Healed()])
    with pytest.raises(LabError, match="does not answer"):
        faults.heal_all(None, said.append)  # pyright: ignore[reportArgumentType]
    assert Healed.healed == 1
    assert [line.split(":")[0] for line in said] == ["not healed", "healed"]
