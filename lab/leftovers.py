"""What is there of a lab: processes, mounts, namespaces, control groups, files. And its removal.

All of it is derived from the lab's identity. A process is the lab's only if the kernel says so: it
is in the lab's control group, or it stands in one of the lab's network namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab import disks, image, mounts, network
from lab.cgroups import all_labs, groups_of_lab
from lab.errors import LeftBehind
from lab.identity import NETNS_ETC, NETNS_ROOT, OWN_NAME, RUN_ROOT, Names, cache_root
from lab.machine import NSPAWN_RUN, forget_nspawn

KILL_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Everything of one lab that exists now."""

    processes: tuple[int, ...]
    mounts: tuple[str, ...]
    namespaces: tuple[str, ...]
    cgroups: bool
    files: tuple[str, ...]
    loops: tuple[str, ...] = ()

    def any(self) -> bool:
        return bool(
            self.processes or self.mounts or self.namespaces or self.cgroups or self.files or self.loops
        )

    def text(self) -> str:
        parts = {
            "processes": self.processes,
            "mounts": self.mounts,
            "loop devices": self.loops,
            "namespaces": self.namespaces,
            "files": self.files,
        }
        words = [f"{name}: {', '.join(map(str, values))}" for name, values in parts.items() if values]
        return "; ".join([*words, "cgroups"] if self.cgroups else words) or "nothing"


def find(names: Names) -> Leftovers:
    """Everything of a lab that exists now, whether it works or is a crash's remains."""
    return Leftovers(
        processes=tuple(sorted(processes(names))),
        mounts=tuple(str(point) for point in mounts.below(names.state)),
        namespaces=tuple(network.namespaces(names)),
        cgroups=groups_of_lab(names.lab).exists(),
        files=tuple(str(path) for path in _files(names)),
        loops=tuple(disks.loops(names)),
    )


def _files(names: Names) -> list[Path]:
    paths = [names.state, names.run]
    for folder in (NETNS_ETC, NSPAWN_RUN / "propagate", NSPAWN_RUN / "unix-export"):
        if folder.exists():
            paths += [path for path in folder.iterdir() if names.is_own(path.name)]
    return [path for path in paths if path.exists()]


def processes(names: Names) -> set[int]:
    """The lab's processes, by control group and by network namespace; never the caller itself."""
    found = set(groups_of_lab(names.lab).processes())
    inodes = {
        (stat.st_dev, stat.st_ino)
        for stat in ((NETNS_ROOT / name).stat() for name in network.namespaces(names))
    }
    for folder in Path("/proc").iterdir() if inodes else ():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (folder / "ns/net").stat()
                if (stat.st_dev, stat.st_ino) in inodes:
                    found.add(int(folder.name))
    return found - {os.getpid()}


def clean(names: Names, progress: Callable[[str], None]) -> None:
    """Remove everything of a lab. Twice is the same as once. Raises LeftBehind."""
    group = groups_of_lab(names.lab)
    group.kill(lambda: disks.thaw_below(names.state))
    _kill(names)
    disks.thaw_below(names.state)
    mounts.unmount_below(names.state)
    disks.detach(names)
    machines = [name for name in network.namespaces(names) if name.startswith(f"{names.lab}-m-")]
    network.remove(names)
    for machine in {*machines, *(path.name for path in _files(names) if path.is_relative_to(NSPAWN_RUN))}:
        forget_nspawn(machine)
    group.kill()  # a program whose starter was killed may have joined only now
    group.remove()
    for folder in (names.run, names.state):
        if folder.exists():
            shutil.rmtree(folder)
    for folder in (names.states, RUN_ROOT):
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if no other lab has something there
    image.clean_if_idle(cache_root())
    left = find(names)
    if left.any():
        raise LeftBehind(f"lab {names.identity}: {left.text()}")
    progress(f"lab {names.identity}: nothing is left of it")


def _kill(names: Names) -> None:
    """End what stands in the lab's namespaces without being in its group, such as clients of a drill."""
    end = time.monotonic() + KILL_LIMIT_S
    while left := processes(names):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        disks.thaw_below(names.state)
        if time.monotonic() > end:
            raise LeftBehind(f"lab {names.identity}: processes {sorted(left)} survive SIGKILL")
        time.sleep(0.02)


def identities(states: Path) -> set[str]:
    """Every lab on this computer of which something exists."""
    found = {name.removeprefix("hb") for name in all_labs()}
    for folder in (NETNS_ROOT, NETNS_ETC):
        if folder.exists():
            found |= {match[1] for path in folder.iterdir() if (match := OWN_NAME.match(path.name))}
    for folder in (states, RUN_ROOT):
        if folder.exists():
            found |= {path.name for path in folder.iterdir() if path.is_dir() and len(path.name) == 6}
    return found
