"""Mounts of the lab: overlay file systems of machines, found and removed by their path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lab.commands import run
from lab.errors import LabError

UNMOUNT_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Mount:
    """One row of /proc/self/mounts."""

    point: Path
    kind: str
    options: tuple[str, ...]

    def lower(self) -> tuple[Path, ...]:
        for option in self.options:
            if option.startswith("lowerdir="):
                return tuple(Path(part) for part in option.removeprefix("lowerdir=").split(":"))
        return ()


def parse(text: str) -> tuple[Mount, ...]:
    rows = (line.split()[:4] for line in text.splitlines())
    return tuple(
        Mount(Path(_unescape(point)), kind, tuple(options.split(","))) for _, point, kind, options in rows
    )


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def current() -> tuple[Mount, ...]:
    return parse(Path("/proc/self/mounts").read_text(encoding="utf-8"))


def below(folder: Path) -> list[Path]:
    """Mount points at or below a folder, the deepest first."""
    points = {mount.point for mount in current() if mount.point.is_relative_to(folder)}
    return sorted(points, key=lambda point: len(point.parts), reverse=True)


def lower_layers() -> set[Path]:
    """Every layer that some overlay stands on now."""
    return {layer for mount in current() if mount.kind == "overlay" for layer in mount.lower()}


def mount_overlay(lowerdir: str, upper: Path, work: Path, point: Path) -> None:
    """Mount an overlay; twice is the same as once."""
    if point in below(point):
        return
    for folder in (upper, work, point):
        folder.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={lowerdir},upperdir={upper},workdir={work}"
    run(["mount", "-t", "overlay", "overlay", "-o", options, str(point)])


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below a folder. Raises LabError when something stays."""
    for _ in range(10):
        points = below(folder)
        if not points:
            return
        for point in points:
            if run(["umount", str(point)], timeout_s=UNMOUNT_LIMIT_S, check=False).returncode != 0:
                run(["umount", "--lazy", str(point)], timeout_s=UNMOUNT_LIMIT_S, check=False)
    raise LabError(f"still mounted: {', '.join(map(str, below(folder)))}")
