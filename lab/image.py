"""The machines' image: two read-only layers under every machine, cached by the hash of what goes in.

- *base*: Debian packages and the pinned third-party Python packages in /opt/hanbat. Minutes on a
  first run, so it changes only with the recipe and the pins.
- *project*: our own wheel. Seconds; it changes with the clone's sources.

Each layer is built in a folder of its own under a lock and renamed when complete: a reader never
sees half a layer, two labs at once build once, and an interrupted build leaves only a folder that
the next build (or `lab down`) removes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import mounts, recipe
from lab.builders import build_base, build_project
from lab.cgroups import Cgroup
from lab.errors import ImageFailed
from lab.identity import cache_root

KEPT = 3  # of each layer, the newest
BUILDING = ".building-"
LOCK_LIMIT_S = 1800.0
SOURCES = (
    "hanbat",
    "replication",
    "primary",
    "backup_site",
    "failover",
    "runbooks",
    "monitoring",
    "app",
    "lab",
)
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Image:
    """Paths of the two layers' file trees."""

    base: Path
    project: Path

    @property
    def lowerdir(self) -> str:
        """Value of overlay's `lowerdir`: the topmost layer first."""
        return f"{self.project}:{self.base}"

    @property
    def key(self) -> str:
        return f"{self.base.parent.name}+{self.project.parent.name}"


def base_key(pins: str) -> str:
    """Hash of what the base layer is made from: the recipe and the dependency pins."""
    return "base-" + hashlib.sha256(f"{recipe.text()}\n{pins}".encode()).hexdigest()[:16]


def project_key(clone: Path) -> str:
    """Hash of the sources that our wheel is built from: an unchanged clone needs no build."""
    digest = hashlib.sha256()
    files = [clone / "pyproject.toml"]
    for package in SOURCES:
        files += [path for path in (clone / package).rglob("*") if path.is_file()]
    for path in sorted(files):
        name = path.relative_to(clone)
        if "__pycache__" in name.parts or path.suffix == ".pyc":
            continue
        digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return "project-" + digest.hexdigest()[:16]


def pins_of(clone: Path) -> Path:
    """The file of dependency pins. Raises ImageFailed when the clone has none."""
    path = clone / "requirements.lock"
    if not path.exists():
        raise ImageFailed(f"{path} is missing", hint="it names the exact third-party packages of a machine")
    return path


def ensure(clone: Path, group: Cgroup, progress: Progress) -> Image:
    """The image of a clone, built if it is not cached. Raises ImageFailed, MissingProgram, OtherPython."""
    root = cache_root()
    root.mkdir(parents=True, exist_ok=True)
    pins = pins_of(clone)
    base = root / base_key(pins.read_text(encoding="utf-8"))
    project = root / project_key(clone)
    if not (base.exists() and project.exists()):
        with locked(root, progress):
            remove_unfinished(root)
            if not base.exists():
                _build(base, lambda draft: build_base(draft, pins, group, progress), progress)
            if not project.exists():
                _build(project, lambda draft: build_project(draft, clone, group, progress), progress)
            for layer in (base, project):
                os.utime(layer)
            prune(root)
    for layer in (base, project):
        os.utime(layer)
    return Image(base / "tree", project / "tree")


def _build(target: Path, fill: Callable[[Path], None], progress: Progress) -> None:
    draft = target.with_name(f"{BUILDING}{target.name}")
    started = time.monotonic()
    draft.mkdir()
    try:
        fill(draft / "tree")
        draft.rename(target)
    except BaseException:
        _discard(draft)
        raise
    progress(f"image: {target.name} complete after {time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def locked(root: Path, progress: Progress, *, limit_s: float = LOCK_LIMIT_S) -> Iterator[None]:
    """Hold the builder's lock of an image folder. Raises ImageFailed when it is not free in time."""
    with (root / ".lock").open("w") as lock:
        end, told = time.monotonic() + limit_s, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise ImageFailed(f"{root}: another build holds the lock for {limit_s:g} s") from None
                if not told:
                    progress("image: another lab builds it; waiting")
                    told = True
                time.sleep(0.5)
        yield


def remove_unfinished(root: Path) -> None:
    """Remove what interrupted builds left. Call with the lock held."""
    for draft in root.glob(f"{BUILDING}*"):
        _discard(draft)


def clean_if_idle(root: Path) -> None:
    """Remove what interrupted builds left, unless a build runs now."""
    if not root.exists():
        return
    with contextlib.suppress(ImageFailed), locked(root, lambda _: None, limit_s=0):
        remove_unfinished(root)


def prune(root: Path) -> None:
    """Keep the newest layers of each kind that no machine of any lab stands on."""
    in_use = mounts.lower_layers()
    for kind in ("base", "project"):
        layers = sorted(root.glob(f"{kind}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for layer in layers[KEPT:]:
            if layer / "tree" not in in_use:
                _discard(layer)


def _discard(folder: Path) -> None:
    """Unmount all below, then delete: never delete through a mount."""
    mounts.unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=False)
