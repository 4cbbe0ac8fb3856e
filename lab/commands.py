"""Run programs: every one bounded in time, every failure with its last lines."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence

from hanbat.errors import MissingProgram
from lab.errors import CommandFailed, CommandTimedOut

LAST_LINES = 15


def require(programs: Iterable[str]) -> None:
    """Raises MissingProgram, naming all that are missing."""
    missing = sorted(name for name in programs if shutil.which(name) is None)
    if missing:
        raise MissingProgram(f"not installed: {', '.join(missing)}")


def tail(text: str, lines: int = LAST_LINES) -> str:
    return "\n".join(text.rstrip().splitlines()[-lines:])


def run(
    argv: Sequence[str],
    *,
    timeout_s: float = 30.0,
    stdin: str | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end. Raises CommandFailed (unless `check` is False) or CommandTimedOut."""
    command = " ".join(argv)
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
        )
    except FileNotFoundError as error:
        raise MissingProgram(f"not installed: {argv[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandTimedOut(f"{command}: no end after {timeout_s:g} s") from error
    if check and done.returncode != 0:
        raise CommandFailed(f"{command}: exit status {done.returncode}\n{tail(done.stderr or done.stdout)}")
    return done


def ip_batch(lines: Sequence[str], *, namespace: str | None = None) -> None:
    """Several `ip` commands in one process, inside a namespace if one is named."""
    if lines:
        where = ["-n", namespace] if namespace else []
        run(["ip", *where, "-batch", "-"], stdin="\n".join(lines) + "\n")
