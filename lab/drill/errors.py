"""Errors of drills: codes 100-129."""

from __future__ import annotations

from hanbat.errors import Exit, HanbatError


class UnknownScenario(HanbatError):
    """No scenario has this name."""

    code = 100
    hint = "hanbat drill list"
    exit_status = Exit.USAGE


class NotSteady(HanbatError):
    """The lab was not in its steady state when the drill wanted to begin."""

    code = 101
    hint = "hanbat lab status; then hanbat lab down, hanbat lab up"
    exit_status = Exit.NOT_READY


class LoadDied(HanbatError):
    """The load ended by itself, or did not do in time what it was told."""

    code = 102
    hint = "see load.log in the evidence folder"
    exit_status = Exit.UNKNOWN


class WaitedTooLong(HanbatError):
    """Something that the scenario waits for did not come in its time."""

    code = 103
    hint = "see the timeline and the logs in the evidence folder"
    exit_status = Exit.UNKNOWN


class SnapshotFailed(HanbatError):
    """A database host could not be read, so nothing can be said of it."""

    code = 104
    hint = "see the logs of that host in the evidence folder"
    exit_status = Exit.UNKNOWN


class NoEvidence(HanbatError):
    """There is no evidence folder of that name."""

    code = 105
    hint = "ls evidence/"
    exit_status = Exit.USAGE


class FaultWithoutEffect(HanbatError):
    """A fault was injected and did not bite: the drill proves nothing."""

    code = 106
    hint = "hanbat lab status"
    exit_status = Exit.UNKNOWN


class Interrupted(HanbatError):
    """A person or a signal stopped the drill."""

    code = 107
    hint = "the evidence is marked inconclusive; run the drill again"
    exit_status = Exit.UNKNOWN


class ServiceFailed(HanbatError):
    """The service did not do in time what the scenario requires of it: the drill has failed."""

    code = 108
    hint = "see the timeline and the logs in the evidence folder"
