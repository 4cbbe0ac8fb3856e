"""Start programs of the lab inside their control group, their output in a log file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lab.cgroups import Cgroup
from lab.errors import CommandTimedOut

START_LIMIT_S = 20.0


def run_in(
    group: Cgroup,
    argv: Sequence[str],
    log: Path,
    *,
    env: dict[str, str] | None = None,
    limit_s: float = START_LIMIT_S,
) -> int:
    """Run a program of a group to its end (or until it has detached itself); its exit status.

    Raises CommandTimedOut.
    """
    prefix, variables = group.launcher()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        try:
            return subprocess.run(
                [*prefix, *argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=limit_s,
                env={**os.environ, **(env or {}), **variables},
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise CommandTimedOut(f"{' '.join(argv)}: no end after {limit_s:g} s") from error


def start(group: Cgroup, argv: Sequence[str], log: Path, *, env: dict[str, str] | None = None) -> None:
    """Start a long-lived program. It is no child of ours: it outlives us, and dies with its group."""
    run_in(group, ["setsid", "--fork", *argv], log, env=env)
