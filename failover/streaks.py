"""From single probes to "unreachable for 1.7 s without a break", on one machine's monotonic clock. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from failover.publication import Detail
from failover.view import HostSeen, Reach, Role


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome of one probe of one host.

    `since_ms`: when it became so, where the probe itself has watched for longer (a commit that hangs, a
    Patroni that is silent): the time that it took to be sure counts, and is not waited for once more.
    """

    began_ms: int
    ended_ms: int
    reach: Reach
    role: Role = Role.UNKNOWN
    received_lsn: int | None = None
    sync_lsn: int | None = None
    detail: Detail = field(default_factory=Detail)
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Streak:
    """The unbroken row of probes with one reach.

    `since_ms`: when the first of them began, for failures (it had no answer from then on), or ended; or
    what a probe of the row knows to be earlier.
    `primary_at_ms`: when the probe began that told the primary's position in `last`.
    """

    reach: Reach
    since_ms: int
    last: Probe
    sync_lsn: int | None = None  # the last one known, kept while the host is silent
    primary_at_ms: int | None = None


def extended(streak: Streak | None, probe: Probe) -> Streak:
    """The streak after one more probe."""
    at_ms = _primary_at(streak, probe)
    probe = _remembering(streak.last, probe) if streak else probe
    known = streak.sync_lsn if streak else None
    sync_lsn = probe.sync_lsn if probe.sync_lsn is not None else known
    if streak is not None and streak.reach is probe.reach:
        since = _earlier(streak.since_ms, probe)
    else:
        since = _earlier(probe.began_ms if probe.reach is Reach.UNREACHABLE else probe.ended_ms, probe)
    return Streak(probe.reach, since, probe, sync_lsn, at_ms)


def _remembering(before: Probe, probe: Probe) -> Probe:
    """How far a primary was is asked for when it is gone: its last word is kept until the next."""
    if not _is_kept(before, probe):
        return probe
    last = before.detail
    return replace(probe, detail=replace(probe.detail, primary_lsn=last.primary_lsn, xid=last.xid))


def _is_kept(before: Probe, probe: Probe) -> bool:
    """Not beside a newer one: a primary that cannot commit still tells how far it is."""
    told = probe.reach is Reach.REACHABLE or probe.detail.primary_lsn is not None
    return not told and before.detail.primary_lsn is not None


def _primary_at(streak: Streak | None, probe: Probe) -> int | None:
    if probe.detail.primary_lsn is not None:
        return probe.began_ms
    return streak.primary_at_ms if streak is not None and _is_kept(streak.last, probe) else None


def _earlier(since_ms: int, probe: Probe) -> int:
    return since_ms if probe.since_ms is None else min(since_ms, probe.since_ms)


def told(streak: Streak, now_ms: int) -> Detail:
    """The detail to publish now, with the age of the primary's position."""
    at_ms = streak.primary_at_ms
    return replace(streak.last.detail, primary_age_ms=None if at_ms is None else now_ms - at_ms)


def seen(host: str, streak: Streak | None, now_ms: int, stale_ms: int) -> HostSeen:
    """What to publish now. No probe that ended within `stale_ms`: the observer is starved, so unknown.

    The probe under way counts as silence too: it has had no answer until now.
    """
    if streak is None:
        return HostSeen(host, Reach.UNKNOWN, 0)
    if now_ms - streak.last.ended_ms > stale_ms:
        return HostSeen(host, Reach.UNKNOWN, 0, sync_lsn=streak.sync_lsn)
    last = streak.last
    return HostSeen(
        host, streak.reach, now_ms - streak.since_ms, last.role, last.received_lsn, streak.sync_lsn
    )
