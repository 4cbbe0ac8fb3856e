"""Errors that a person can act on: a stable code, the fact, and a hint.

Codes never change their meaning; a new error takes a new number. Ranges: 1-19 general, 20-49
`sites.yml`, 50-69 rendering and secrets, 70-99 the lab, 100-129 drills, 130-159 replication,
160-189 failover.
`docs/errors.md` lists them, and a test fails when it does not.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """Exit status of every `hanbat` command (design, section 7)."""

    DONE = 0
    FAILED = 1  # and nothing was changed
    USAGE = 2
    NOT_READY = 3
    INCOMPLETE = 4  # act now
    UNKNOWN = 5
    WAITING = 6  # for an approval


class HanbatError(Exception):
    """Base of all errors that reach a person. Subclasses set `code`, `hint` and `exit_status`."""

    code: ClassVar[int] = 1
    hint: str = ""
    exit_status: Exit = Exit.FAILED

    def __init__(self, fact: str, *, hint: str | None = None) -> None:
        super().__init__(fact)
        if hint is not None:
            self.hint = hint

    def as_dict(self) -> dict[str, object]:
        """For `--json`: code, fact and hint."""
        return {"code": self.code, "fact": str(self), "hint": self.hint}


class NotRoot(HanbatError):
    """The command needs root: it makes namespaces, mounts or packages."""

    code = 2
    hint = "run it as root, or through sudo"
    exit_status = Exit.NOT_READY


class MissingProgram(HanbatError):
    """A program that the command needs is not installed."""

    code = 3
    hint = "run: make setup"
    exit_status = Exit.NOT_READY


class UnknownName(HanbatError):
    """A host, site, scenario or fault was named that does not exist."""

    code = 4
    exit_status = Exit.USAGE


def render(error: HanbatError) -> str:
    """The two lines that a person reads on standard error."""
    text = f"ERROR [{error.code:03d}]: {error}"
    return f"{text}\nHINT: {error.hint}" if error.hint else text
