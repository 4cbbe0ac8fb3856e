"""A small program that keeps a fault going. It has a control group of its own within the lab's, so
any process finds it without trusting a number, and `lab down` ends it like everything else.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from lab.cgroups import Cgroup
from lab.errors import LabError
from lab.identity import Names
from lab.processes import start

LIMIT_S = 1800  # each ends by itself after this
END_LIMIT_S = 10.0


def slug(key: tuple[str, str]) -> str:
    """A fault's name and target as one word for paths and tables."""
    return re.sub(r"[^a-z0-9]+", "_", "_".join(key).lower())


def group_of(names: Names, key: tuple[str, str]) -> Cgroup:
    return Cgroup(f"{names.lab}/_fault_{slug(key)}")


def begin(names: Names, key: tuple[str, str], script: str, arguments: Sequence[str]) -> int:
    """Start a script of this folder unless it runs; its process number."""
    group = group_of(names, key)
    if not group.processes():
        group.remove()
        group.create()
        path = Path(__file__).with_name(script)
        # -I: this folder must not hide modules of the standard library.
        argv = [sys.executable, "-I", str(path), *arguments]
        start(group, argv, names.state / "logs" / f"fault-{slug(key)}.log")
    return min(group.processes(), default=0)


def alive(names: Names, key: tuple[str, str]) -> bool:
    return bool(group_of(names, key).processes())


def end(names: Names, key: tuple[str, str]) -> None:
    """End it; returns when it is gone. Twice is the same as once. Raises LabError.

    A program whose starter was killed may join the group only now; it cannot once the group is removed.
    """
    group, limit = group_of(names, key), time.monotonic() + END_LIMIT_S
    while group.exists():
        group.kill()
        try:
            group.remove(limit_s=0.2)
        except OSError as error:
            if time.monotonic() > limit:
                raise LabError(f"cgroup {group.path} does not become empty: {error}") from error
