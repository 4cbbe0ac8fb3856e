"""The computer that a drill ran on, for the report: facts only, unknown as unknown."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"


def computer() -> dict[str, Any]:
    """CPU, memory, kernel and system of this computer."""
    return {
        "cpu": _field(Path("/proc/cpuinfo"), "model name"),
        "cpus": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "kernel": platform.release(),
        "system": _os_name(),
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }


def _field(path: Path, name: str) -> str:
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return UNKNOWN


def _memory_gib() -> float | str:
    words = _field(Path("/proc/meminfo"), "MemTotal").split()
    return round(int(words[0]) / 1024**2, 1) if words and words[0].isdigit() else UNKNOWN


def _os_name() -> str:
    path = Path("/etc/os-release")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip('"')
    return UNKNOWN


def commit_of(clone: Path) -> str:
    """The commit of the clone, with "+" when files differ from it; unknown when there is none."""
    try:
        head = subprocess.run(
            ["git", "-C", str(clone), "rev-parse", "--short=12", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
        )
        dirty = subprocess.run(
            ["git", "-C", str(clone), "status", "--porcelain"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return UNKNOWN
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "") if head.returncode == 0 else UNKNOWN
