"""Real machines, without our services: boots, faults, and that nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import paramiko
import pytest

from hanbat.errors import UnknownName
from lab import commands, image, leftovers, lifecycle, wan
from lab.cgroups import Cgroup
from lab.errors import BadTarget, CommandTimedOut, LabNotUp
from lab.faults import injected, make_fault
from lab.identity import cache_root
from lab.laboratory import Lab
from lab.remote import connect
from tests.lab import stand_ins
from tests.lab.shapes import SMALL

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="machines need root"),
]

REPOSITORY = Path(__file__).resolve().parents[2]
BAD = (
    ("kill-process", "gg1:ssh"),
    ("kill-process", "gg1"),
    ("stop-process", "daejeon:etcd"),
    ("replication-cut", "daejeon-sejong"),
    ("replication-cut", "daejeon"),
    ("flap", "gg1"),
    ("flap", "daejeon>sejong"),
    ("flap", "daejeon:cut=2s"),
    ("wan", "daejeon"),
    ("wan", "all:delay=9"),
    ("disk-full", "sj1"),
    ("disk-full-wal", "sj1"),
    ("disk-hang", "daejeon"),
    ("clock", "daejeon"),
)
VOLUMES = ("/var/lib/postgresql", "/var/lib/postgresql-wal")
HALF_WAY = (
    "import sys; from pathlib import Path; from lab.laboratory import Lab\n"
    "Lab.of_clone(Path(sys.argv[1]), bare=True).up(print)"
)


def _clone(folder: Path) -> Path:
    folder.mkdir()
    for name in image.SOURCES:
        copytree(REPOSITORY / name, folder / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.lock", "README.md", "LICENSE"):
        if (REPOSITORY / name).exists():
            copy(REPOSITORY / name, folder / name)
    (folder / "sites.yml").write_text(SMALL, encoding="utf-8")
    return folder


def _removed(lab: Lab) -> None:
    lab.down(lambda _: None)
    assert leftovers.find(lab.names).text() == "nothing"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _clone(tmp_path_factory.mktemp("one") / "clone")


@pytest.fixture(scope="module")
def lab(clone: Path) -> Iterator[Lab]:
    one = Lab.of_clone(clone, bare=True)
    try:
        report = one.up(lambda _: None)
        assert not report.already_up
        assert {"image", "network", "disks", "boot"} <= set(report.seconds)
        yield one
    finally:
        _removed(one)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Lab]:
    """The lab of a second clone; not up."""
    two = Lab.of_clone(_clone(tmp_path / "clone"), bare=True)
    try:
        yield two
    finally:
        _removed(two)


def test_every_machine_runs_and_a_second_up_says_so(lab: Lab) -> None:
    for host in lab.machines:
        done = lab.run(host, ["systemctl", "is-system-running", "--wait"], timeout_s=20)
        assert done.stdout.strip() == "running"
    assert Lab.of_clone(lab.clone, bare=True).up(lambda _: None).already_up


def test_the_computers_own_network_is_as_it_was(lab: Lab) -> None:
    links = commands.run(["ip", "-oneline", "link"]).stdout
    routes = commands.run(["ip", "route", "show", "table", "all"]).stdout
    assert "10.81." not in routes
    assert not any(f" {name}" in links for name in ("wan0", "wan1", "p0", "users", "lan"))


def test_no_machine_keeps_a_full_queue_full(lab: Lab) -> None:
    """Whatever the computer's own choice: with bbr a base backup cost everybody every eighth packet."""
    for host in ("dj1", "gg1"):
        answer = lab.run(host, ["cat", "/proc/sys/net/ipv4/tcp_congestion_control"], timeout_s=5)
        assert answer.stdout.strip() in ("cubic", "reno")


@pytest.mark.skipif(wan.emulation() != wan.WIREFILTER, reason="netem works in the kernel")
@pytest.mark.skipif(not wan.at_once(wan.FILTER), reason="this kernel lets nobody go before others")
def test_the_wan_goes_before_others(lab: Lab) -> None:
    """On a busy computer it else drops what others send meanwhile, a SYN among it: a second each."""
    for number in Cgroup(f"{lab.names.lab}/_wan").processes():
        assert os.sched_getscheduler(number) == os.SCHED_FIFO


def test_the_wan_delays_and_names_are_known(lab: Lab) -> None:
    words = ["ping", "-q", "-c", "5", "-i", "0.2", "gg1"]
    line = lab.run("dj1", words, timeout_s=10).stdout.strip().splitlines()[-1]
    average_ms = float(line.split("=")[1].split("/")[1])
    assert 2.5 <= average_ms <= 25  # 2 ms one way
    assert "gg1" in lab.run(None, ["cat", "/etc/hosts"], timeout_s=5).stdout
    assert wan.emulation() in (wan.NETEM, wan.WIREFILTER)


def test_a_command_that_does_not_end_is_ended_inside(lab: Lab) -> None:
    with pytest.raises(CommandTimedOut):
        lab.run("dj1", ["sleep", "4711"], timeout_s=0.5)
    assert "4711" not in lab.run("dj1", ["ps", "-eo", "args"], timeout_s=5).stdout
    assert lab.run("dj1", ["id", "-un"], timeout_s=5, user="postgres").stdout.strip() == "postgres"


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("partition", "daejeon-gyeong-gi"),
        ("partition", "daejeon>sejong"),
        ("partition", "daejeon"),
        ("partition", "gyeong-gi+clients"),
        ("partition", "gg1"),
        ("freeze", "gg1"),
        ("kill", "sj1:ssh"),
        ("power-cut", "gg1"),
        ("power-cut", "daejeon"),
        ("replication-cut", "daejeon-gyeong-gi"),
        ("replication-cut", "gyeong-gi>daejeon"),
        ("flap", "daejeon-gyeong-gi"),
        ("flap", "gyeong-gi:cut=200ms,every=500ms"),
        ("wan", "all:delay=50ms,loss=0"),
        ("wan", "daejeon-sejong"),
        ("disk-full", "gg1"),
        ("disk-full-wal", "gg1"),
        ("disk-hang", "gg1"),
        ("disk-slow", "gg1"),
    ],
)
def test_a_fault_bites_and_heals(lab: Lab, name: str, target: str) -> None:
    fault = make_fault(lab, name, target)
    assert not fault.active()
    try:
        fault.inject()
        assert fault.active(), fault.describe()
        fault.inject()
        assert [each.key for each in injected(lab)] == [fault.key]
    finally:
        fault.heal()
    fault.heal()
    assert not fault.active()
    assert injected(lab) == []


def test_a_partition_leaves_the_rest_alone(lab: Lab) -> None:
    fault = make_fault(lab, "partition", "daejeon-gyeong-gi")
    try:
        fault.inject()
        assert lab.run("dj1", ["ping", "-c1", "-W1", "gg1"], timeout_s=5).returncode == 1
        assert lab.run("dj1", ["ping", "-c1", "-W1", "sj1"], timeout_s=5).returncode == 0
        assert lab.run("gg1", ["hostname"], timeout_s=5).stdout.strip() == "gg1"
    finally:
        fault.heal()


@pytest.fixture(scope="module")
def programs(lab: Lab) -> Lab:
    """The lab with real PostgreSQL and etcd on gg1, and a small program in Patroni's place."""
    stand_ins.start(lab, "gg1")
    return lab


@pytest.mark.parametrize("name", ["kill-process", "stop-process"])
@pytest.mark.parametrize("program", ["postgres", "patroni", "etcd", "failover"])
def test_one_program_is_hit_and_the_others_live_on(programs: Lab, name: str, program: str) -> None:
    stand_ins.wait_ready(programs, "gg1")
    before = stand_ins.running(programs, "gg1")
    fault = make_fault(programs, name, f"gg1:{program}")
    assert not fault.active()
    try:
        fault.inject()
        assert fault.active()
        fault.inject()
        assert [each.key for each in injected(programs)] == [fault.key]
        after = stand_ins.running(programs, "gg1")
        assert {other for other in before if other != program and after[other] == before[other]} == {
            other for other in before if other != program
        }
        assert (after[program] == before[program]) is (name == "stop-process")
    finally:
        fault.heal()
    assert not fault.active()
    assert injected(programs) == []
    stand_ins.wait_ready(programs, "gg1")


def test_the_clock_jumps_forward_and_back(programs: Lab) -> None:
    stand_ins.wait_ready(programs, "gg1")
    before = stand_ins.running(programs, "gg1")
    fault = make_fault(programs, "clock", "gg1")
    assert not fault.active()
    try:
        fault.inject()
        assert fault.active(), fault.describe()
        least, most = stand_ins.told_ahead_s(programs, "gg1")
        assert least <= 300 <= most, (least, most)
    finally:
        fault.heal()
    assert not fault.active()
    least, most = stand_ins.told_ahead_s(programs, "gg1")
    assert least <= 0 <= most, (least, most)
    assert stand_ins.running(programs, "gg1")["postgres"] == before["postgres"]


@pytest.mark.parametrize("name", ["disk-hang", "disk-slow", "flap"])
def test_what_a_killed_process_injected_is_healed_by_another(lab: Lab, name: str) -> None:
    target = "daejeon-sejong" if name == "flap" else "dj1"
    code = (
        "import sys, time; from pathlib import Path; from lab.faults import make_fault\n"
        "from lab.laboratory import Lab\n"
        "make_fault(Lab.of_clone(Path(sys.argv[1]), bare=True), *sys.argv[2:]).inject(); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(lab.clone), name, target], cwd=REPOSITORY)
    end = time.monotonic() + 10
    while not injected(lab) and time.monotonic() < end:
        time.sleep(0.005)
    process.kill()  # after the journal, before or after the effect
    process.wait()
    (fault,) = injected(lab)
    fault.heal()
    assert not fault.active()
    assert injected(lab) == []
    for disk in VOLUMES:
        assert lab.run("dj1", ["sh", "-c", f"echo 1 > {disk}/x"], timeout_s=5).returncode == 0


@pytest.mark.parametrize(("name", "full"), [("disk-full", VOLUMES[0]), ("disk-full-wal", VOLUMES[1])])
def test_one_volume_is_full_and_the_other_is_not(lab: Lab, name: str, full: str) -> None:
    fault = make_fault(lab, name, "dj1")
    (both,) = {"disk-full", "disk-full-wal"} - {name}
    write = "head -c 1024 /dev/zero > {0}/one && rm {0}/one"
    try:
        fault.inject()
        for volume in VOLUMES:
            done = lab.run("dj1", ["sh", "-c", write.format(volume)], timeout_s=5, user="postgres")
            assert ("No space left" in done.stderr) is (volume == full), done.stderr
        make_fault(lab, both, "dj1").inject()
        assert all(each.active() for each in injected(lab))
        with pytest.raises(BadTarget):
            make_fault(lab, "disk-slow", "dj1").inject()
    finally:
        for each in injected(lab):
            each.heal()
    for volume in VOLUMES:
        assert (
            lab.run("dj1", ["sh", "-c", write.format(volume)], timeout_s=5, user="postgres").returncode == 0
        )


def test_a_host_with_a_hanging_disk_can_lose_its_power(lab: Lab) -> None:
    hang, power = make_fault(lab, "disk-hang", "dj1"), make_fault(lab, "power-cut", "dj1")
    for volume in VOLUMES:
        lab.run("dj1", ["sh", "-c", f"echo kept > {volume}/kept"], timeout_s=10)
    try:
        hang.inject()
        with pytest.raises(BadTarget):
            make_fault(lab, "disk-full", "dj1").inject()
        power.inject()
        assert power.active()
    finally:
        for fault in injected(lab):
            fault.heal()
    for volume in VOLUMES:
        assert lab.run("dj1", ["cat", f"{volume}/kept"], timeout_s=5).stdout == "kept\n"


@pytest.mark.parametrize(("volume", "bytes_"), [(VOLUMES[0], 3 << 30), (VOLUMES[1], 2 << 30)])
def test_a_database_host_has_bounded_disks_of_postgres(lab: Lab, volume: str, bytes_: int) -> None:
    words = ["stat", "--file-system", "--format=%T %b %S", volume]
    kind, blocks, size = lab.run("gg1", words, timeout_s=5).stdout.split()
    assert kind == "ext2/ext3"
    assert int(blocks) * int(size) <= bytes_
    owner = lab.run("gg1", ["stat", "--format=%U:%G", volume], timeout_s=5).stdout
    assert owner == "postgres:postgres\n"
    assert "overlay" in lab.run("sj1", ["stat", "-fc%T", "/var/lib"], timeout_s=5).stdout


def test_power_comes_back_to_the_same_disk(lab: Lab) -> None:
    lab.run("dj1", ["sh", "-c", "echo kept > /var/lib/kept; sync /var/lib/kept"], timeout_s=10)
    host, site = make_fault(lab, "power-cut", "dj1"), make_fault(lab, "power-cut", "daejeon")
    try:
        host.inject()
        site.inject()
        with pytest.raises(LabNotUp):
            lab.run("dj1", ["true"], timeout_s=5)
        site.heal()
        assert not lab.machine("dj1").running(), "its own power cut is not healed"
    finally:
        site.heal()
        host.heal()
    assert lab.run("dj1", ["cat", "/var/lib/kept"], timeout_s=5).stdout == "kept\n"


def test_targets_are_checked_before_anything_happens(lab: Lab) -> None:
    for name, target in (("freeze", "daejeon"), ("kill", "gg1"), ("power-cut", "daejeon-sejong"), *BAD):
        with pytest.raises(BadTarget):
            make_fault(lab, name, target)
    with pytest.raises(UnknownName):
        make_fault(lab, "flood", "daejeon")
    unit = make_fault(lab, "kill", "gg1:no-such")
    with pytest.raises(BadTarget):
        unit.inject()
    assert injected(lab) == []


def test_ssh_takes_known_keys_only_and_ends_commands(lab: Lab) -> None:
    with connect(lab, "gg1") as connection:
        assert connection.command(["hostname"], timeout_s=5).stdout == "gg1\n"
        with pytest.raises(CommandTimedOut):
            connection.command(["sleep", "4712"], timeout_s=1)
    known = lab.known_hosts.read_text(encoding="utf-8")
    keys = [line.split()[2] for line in known.splitlines()]
    try:
        lab.known_hosts.write_text(known.replace(keys[0], keys[1]), encoding="utf-8")
        with connect(lab, "dj1") as connection, pytest.raises(paramiko.SSHException):
            connection.command(["hostname"], timeout_s=5)
    finally:
        lab.known_hosts.write_text(known, encoding="utf-8")


def test_two_labs_live_side_by_side(lab: Lab, other: Lab) -> None:
    other.up(lambda _: None)
    marker = lab.run("gg1", ["cat", "/proc/sys/kernel/random/boot_id"], timeout_s=5).stdout
    assert other.run("gg1", ["ping", "-c1", "-W2", "dj1"], timeout_s=5).returncode == 0
    load = subprocess.Popen(other.client_command(["sleep", "600"]))
    while not leftovers.processes(other.names) & {load.pid}:
        time.sleep(0.05)
    make_fault(other, "disk-hang", "gg1").inject()
    make_fault(other, "disk-slow", "dj1").inject()
    make_fault(other, "flap", "daejeon-sejong").inject()
    _removed(other)
    assert load.wait(5) == -signal.SIGKILL, "a client of a lab ends with it"
    assert lab.is_up()
    assert lab.run("gg1", ["cat", "/proc/sys/kernel/random/boot_id"], timeout_s=5).stdout == marker
    assert lab.run("gg1", ["ping", "-c1", "-W2", "dj1"], timeout_s=5).returncode == 0


@pytest.mark.parametrize("after", ["record", "network", "console"])
def test_an_up_that_was_killed_leaves_nothing_after_down(other: Lab, after: str) -> None:
    landmark = {
        "record": other.names.record,
        "network": other.names.run / "w1a",
        "console": other.machine("gg1").console,
    }[after]
    if after == "network" and wan.emulation() == wan.NETEM:
        landmark = Path("/run/netns") / other.names.client
    process = subprocess.Popen(
        [sys.executable, "-c", HALF_WAY, str(other.clone)], cwd=REPOSITORY, stdout=subprocess.DEVNULL
    )
    end = time.monotonic() + 60
    while not landmark.exists() and time.monotonic() < end:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not other.is_up()
    assert leftovers.find(other.names).any()
    if after == "console":  # the next `up` cleans by itself
        said: list[str] = []
        other.up(said.append)
        assert any("did not end well" in line for line in said)
    _removed(other)


def test_an_image_build_that_was_killed_leaves_nothing(
    other: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HANBAT_CACHE", str(tmp_path / "images"))
    process = subprocess.Popen(
        [sys.executable, "-c", HALF_WAY, str(other.clone)], cwd=REPOSITORY, stdout=subprocess.DEVNULL
    )
    end = time.monotonic() + 60
    while not list(cache_root().glob(".building-*/tree/usr")) and time.monotonic() < end:
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert leftovers.processes(other.names), "the build's programs run on"
    _removed(other)
    assert [path.name for path in cache_root().iterdir()] == [".lock"]


def test_orphans_are_known_by_their_record(other: Lab) -> None:
    other.names.state.mkdir(parents=True)
    assert other.names in lifecycle.orphans(other.names.states)
