"""Control groups of the lab: `hb<id>/<part>/<name>`, so that a whole machine or site dies at once.

The version 2 hierarchy does the work: `cgroup.kill` and `cgroup.freeze` act on a whole subtree. It is
there on every kernel that the lab runs on, as the only hierarchy or (hybrid) beside those of version 1.
In the hybrid form systemd also needs a group in version 1's `name=systemd` hierarchy; without any
version 2 mount its `freezer` hierarchy takes the place of `cgroup.freeze`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lab.errors import LabError

KILL_LIMIT_S = 10.0
WRAPPER = 'for file in $HB_CGROUPS; do echo $$ > "$file" || exit 125; done; unset HB_CGROUPS; exec "$@"'


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where the cgroup file systems are mounted that the lab uses."""

    unified: Path | None
    named: Path | None
    freezer: Path | None

    def all(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.unified, self.named, self.freezer) if path)


def parse_mounts(mounts: str) -> Hierarchies:
    """The hierarchies, from the text of /proc/self/mounts."""
    unified = named = freezer = None
    for line in mounts.splitlines():
        _, point, kind, options = line.split()[:4]
        if kind == "cgroup2" and unified is None:
            unified = Path(point)
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            named = Path(point)
        elif kind == "cgroup" and "freezer" in options.split(","):
            freezer = Path(point)
    return Hierarchies(unified, named, None if unified else freezer)


@cache
def hierarchies() -> Hierarchies:
    """Raises LabError when no usable hierarchy is mounted."""
    found = parse_mounts(Path("/proc/self/mounts").read_text(encoding="utf-8"))
    if found.unified is None and found.freezer is None:
        raise LabError("no cgroup hierarchy is mounted", hint="mount cgroup2 on /sys/fs/cgroup")
    return found


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One group, at the same path in each hierarchy that the lab uses."""

    path: str

    def _folders(self) -> list[Path]:
        return [root / self.path for root in hierarchies().all()]

    @property
    def _main(self) -> Path:
        found = hierarchies()
        return (found.unified or found.freezer or Path()) / self.path

    def create(self) -> None:
        for folder in self._folders():
            folder.mkdir(parents=True, exist_ok=True)

    def exists(self) -> bool:
        return any(folder.exists() for folder in self._folders())

    def launcher(self) -> tuple[list[str], dict[str, str]]:
        """Prefix and environment of a command that joins this group and then becomes a program."""
        files = " ".join(str(folder / "cgroup.procs") for folder in self._folders())
        return ["/bin/sh", "-c", WRAPPER, "join"], {"HB_CGROUPS": files}

    def processes(self) -> set[int]:
        """Every process of the group and of the groups below it."""
        return {pid for folder in self._folders() for pid in _processes_below(folder)}

    def kill(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """SIGKILL to every process of the subtree at once; returns when none is left.

        `meanwhile` is called again and again, to free what keeps them from dying.
        """
        end = time.monotonic() + KILL_LIMIT_S
        file = self._main / "cgroup.kill"
        while self.processes():
            if file.exists():
                _write(file, "1")
            else:
                for pid in self.processes():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.thaw()
            meanwhile()
            if time.monotonic() > end:
                raise LabError(f"cgroup {self.path}: processes {sorted(self.processes())} survive SIGKILL")
            time.sleep(0.01)

    def freeze(self) -> None:
        self._set_frozen(True)

    def thaw(self) -> None:
        self._set_frozen(False)

    def _set_frozen(self, frozen: bool) -> None:
        if hierarchies().unified:
            _write(self._main / "cgroup.freeze", "1" if frozen else "0")
        else:
            for folder in [self._main, *(path for path in self._main.rglob("*") if path.is_dir())]:
                _write(folder / "freezer.state", "FROZEN" if frozen else "THAWED")

    def frozen(self) -> bool:
        """Whether the kernel reports that every process of the subtree stands still."""
        try:
            if hierarchies().unified:
                return "frozen 1" in (self._main / "cgroup.events").read_text(encoding="utf-8")
            return (self._main / "freezer.state").read_text(encoding="utf-8").strip() == "FROZEN"
        except FileNotFoundError:
            return False

    def remove(self, limit_s: float = KILL_LIMIT_S) -> None:
        """Remove the empty group and all below it. A group that was just left may be busy for a moment."""
        end = time.monotonic() + limit_s
        for folder in self._folders():
            for path in [Path(root) for root, _, _ in os.walk(folder, topdown=False)]:
                _rmdir(path, end)


def _processes_below(folder: Path) -> Iterator[int]:
    for root, _, _ in os.walk(folder):
        with contextlib.suppress(FileNotFoundError, OSError):
            yield from (int(pid) for pid in (Path(root) / "cgroup.procs").read_text().split())


def _write(file: Path, text: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        file.write_text(text)


def _rmdir(path: Path, end: float) -> None:
    while True:
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)


def groups_of_lab(lab: str) -> Cgroup:
    """The group that holds everything of one lab (`hb<id>`)."""
    return Cgroup(lab)


def all_labs() -> set[str]:
    """Names `hb<id>` of all labs that have a group now."""
    return {
        path.name for root in hierarchies().all() for path in root.glob("hb[0-9a-f]*") if len(path.name) == 8
    }
