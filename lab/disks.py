"""Two file systems with a bound at each database host, for data and for WAL, so that they can be full,
hang or be slow without touching the computer's own disk.

Each is a sparse ext4 image in the machine's folder over a loop device, which the kernel frees by itself
with the last mount. A frozen file system holds back every write, also those of processes that are to
die, so whatever ends a machine thaws it too.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import subprocess
import time
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from hanbat.topology import Host, HostRole
from lab import commands, mounts
from lab.cgroups import Cgroup
from lab.errors import LabError
from lab.identity import Names
from lab.machine import Machine
from replication import layout

FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
# `assume_storage_prezeroed`: the image is new and sparse, so nothing needs to be zeroed.
MKFS = (
    "mkfs.ext4",
    "-q",
    "-F",
    "-m",
    "0",
    "-N",
    "65536",
    "-J",
    "size=32",
    "-E",
    "nodiscard,assume_storage_prezeroed=1",
)
PROBE = (
    'setpriv --reuid="$1" --regid="$2" --clear-groups '
    'dd if=/dev/zero of="$3.$$" bs=1024 count=1 conv=fsync status=none 2>&1; echo "end $?"; rm -f "$3.$$"'
)
SYS_BLOCK = Path("/sys/block")
DETACH_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Disk:
    """One of a database host's volumes. `folder`: where it is mounted, without the leading slash."""

    folder: str
    image: str
    size_bytes: int


DATA = Disk("var/lib/postgresql", "postgresql.img", 3 << 30)
WAL = Disk(layout.WAL_MOUNT.lstrip("/"), "postgresql-wal.img", 2 << 30)
DISKS = (DATA, WAL)


def has_disks(host: Host) -> bool:
    return host.has(HostRole.DB)


def point_of(machine: Machine, disk: Disk) -> Path:
    return machine.root / disk.folder


def attach(machine: Machine) -> None:
    """Mount the disks on the machine's mounted root; made at the first time. Twice is the same as once."""
    for disk in DISKS:
        _attach(machine, disk)


def _attach(machine: Machine, disk: Disk) -> None:
    point, image = point_of(machine, disk), machine.folder / disk.image
    if point in mounts.below(point):
        return
    point.mkdir(exist_ok=True)
    # Debian's package makes the one for data; the other is to be of the same owner.
    found, new = point_of(machine, DATA).stat(), not image.exists()
    if new:
        _make(image, point, disk.size_bytes)
    # `noinit_itable`: a sparse image needs no zeroes behind its tables.
    options = "loop,discard,noatime,noinit_itable"
    commands.run(["mount", "-t", "ext4", "-o", options, str(image), str(point)])
    if new:
        os.chown(point, found.st_uid, found.st_gid)
        point.chmod(found.st_mode & 0o7777)
        (point / "lost+found").rmdir()


def _make(image: Path, content: Path, size_bytes: int) -> None:
    """A new image with what the machine's own disk has in that folder."""
    draft = image.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with draft.open("wb") as stream:
        stream.truncate(size_bytes)
    commands.run([*MKFS, "-d", str(content), str(draft)])
    draft.rename(image)


def freeze(point: Path) -> None:
    """Hold back every write to a file system; twice is the same as once. It is synced first."""
    _ioctl(point, FIFREEZE, errno.EBUSY)


def thaw(point: Path) -> None:
    """Let writes go on; nothing happens when they were not held back."""
    _ioctl(point, FITHAW, errno.EINVAL)


def _ioctl(point: Path, request: int, already: int) -> None:
    descriptor = os.open(point, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if os.fstat(descriptor).st_dev == point.parent.stat().st_dev:
            raise LabError(f"{point} is no file system of its own")
        fcntl.ioctl(descriptor, request, 0)
    except OSError as error:
        if error.errno != already:
            raise LabError(f"{point}: {error}") from error
    finally:
        os.close(descriptor)


def points_below(folder: Path) -> list[Path]:
    """Disks of database hosts that are mounted below a folder."""
    ends = tuple(f"/root/{disk.folder}" for disk in DISKS)
    return [point for point in mounts.below(folder) if str(point).endswith(ends)]


def thaw_below(folder: Path) -> None:
    """Thaw every disk below a folder, so that what is blocked in a write can end, or be ended."""
    for point in points_below(folder):
        with contextlib.suppress(LabError, FileNotFoundError):
            thaw(point)


def loops(names: Names) -> list[str]:
    """Loop devices whose image is a lab's."""
    found: list[str] = []
    for file in SYS_BLOCK.glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # freed at this moment
            if file.read_text(encoding="utf-8").startswith(f"{names.state}/"):
                found.append(f"/dev/{file.parts[-3]}")
    return sorted(found)


def detach(names: Names) -> None:
    """Free a lab's loop devices that are left after their mounts. What stays is told by `leftovers`."""
    end = time.monotonic() + DETACH_LIMIT_S
    while (left := loops(names)) and time.monotonic() < end:
        for device in left:
            commands.run(["losetup", "--detach", device], check=False)
        time.sleep(0.05)


class Outcome(Enum):
    """What became of a small write."""

    WRITTEN = "written"
    FULL = "full"
    BLOCKED = "blocked"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Probe:
    """A small write with its sync, done as the machine's user postgres."""

    outcome: Outcome
    seconds: float


def probe(machine: Machine, disk: Disk, *, limit_s: float) -> Probe:
    """Write and sync a kilobyte. A write that is blocked is left to end when the disk lets it."""
    point, group = point_of(machine, disk), Cgroup(f"{machine.names.lab}/_probe")
    group.create()
    prefix, variables = group.launcher()
    owner, file = point.stat(), point / ".hanbat-probe"
    words = ["setsid", "--fork", "sh", "-c", PROBE, "probe", str(owner.st_uid), str(owner.st_gid), str(file)]
    reader, writer = os.pipe()
    started = time.monotonic()
    try:
        # Not `commands.run`: it would wait for a write that cannot end.
        subprocess.run(
            [*prefix, *words],
            stdin=subprocess.DEVNULL,
            stdout=writer,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C", **variables},
            timeout=limit_s + 5,
        )
        os.close(writer)
        writer = -1
        text = _read(reader, started + limit_s)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)
    seconds = time.monotonic() - started
    if "end " not in text:
        return Probe(Outcome.BLOCKED, seconds)
    if "No space left" in text:
        return Probe(Outcome.FULL, seconds)
    return Probe(Outcome.WRITTEN if "end 0" in text else Outcome.FAILED, seconds)


def _read(descriptor: int, end: float) -> str:
    """What a program says until it ends or the time is over."""
    text = b""
    while (left := end - time.monotonic()) > 0 and select.select([descriptor], [], [], left)[0]:
        more = os.read(descriptor, 4096)
        if not more:
            break
        text += more
    return text.decode("utf-8", errors="replace")
