"""Errors of the lab core: codes 70-99."""

from __future__ import annotations

from hanbat.errors import Exit, HanbatError


class LabError(HanbatError):
    """A step of the lab failed that has no error of its own."""

    code = 70
    hint = "hanbat lab status shows what is there; hanbat lab down cleans up"


class CommandFailed(LabError):
    """A program that the lab started ended with an error."""

    code = 71


class CommandTimedOut(LabError):
    """A program that the lab started did not end in time, and was killed."""

    code = 72
    exit_status = Exit.UNKNOWN


class LabBusy(LabError):
    """Another `up` or `down` of the same lab is at work."""

    code = 73
    hint = "wait for it, or end it, then try again"
    exit_status = Exit.NOT_READY


class LabNotUp(LabError):
    """The command needs a lab that is up."""

    code = 74
    hint = "run: hanbat lab up"
    exit_status = Exit.NOT_READY


class NotHealthy(LabError):
    """The machines run, but a condition of a healthy lab stays false."""

    code = 75
    hint = "look at it with: hanbat lab exec --host HOST -- journalctl -b; then hanbat lab down"


class ImageFailed(LabError):
    """The machines' image could not be built."""

    code = 76
    hint = "the lines above are the last of the failing step; nothing is left of the attempt"


class MachineFailed(LabError):
    """A machine did not boot."""

    code = 77


class BadTarget(LabError):
    """A fault's target is not what that fault can hit."""

    code = 78
    exit_status = Exit.USAGE


class FaultNotActive(LabError):
    """A fault was injected, but observation says that it had no effect."""

    code = 79
    hint = "nothing can be concluded from a drill under this fault; heal it and look at the lab"


class FaultNotHealed(LabError):
    """A fault was healed, but observation says that it still acts."""

    code = 80
    exit_status = Exit.INCOMPLETE


class LeftBehind(LabError):
    """Cleaning ended, and something of the lab is still there."""

    code = 81
    hint = "run hanbat lab down once more; what stays is named above"
    exit_status = Exit.INCOMPLETE


class UnreadableState(LabError):
    """A state file of the lab is damaged."""

    code = 82
    hint = "hanbat lab down removes it"


class NotInNamespace(LabError):
    """A socket could not be opened inside a namespace of the lab."""

    code = 83


class OtherPython(LabError):
    """The computer's Python is not the one of the image: wheels would not fit."""

    code = 84
    hint = "make the clone's .venv with Debian 12's /usr/bin/python3: make setup"
    exit_status = Exit.NOT_READY
