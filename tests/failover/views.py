"""Views for tests by value: one in which a takeover is proved, and small changes to it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from failover.policy import MoveKind, Policy
from failover.view import (
    Config,
    DcsState,
    Host,
    HostSeen,
    Lock,
    Observation,
    Operation,
    Phase,
    Reach,
    Role,
    SyncMode,
    SyncSet,
    View,
)

HOSTS = (Host("dj-db1", "daejeon"), Host("dj-db2", "daejeon"), Host("gg-db1", "gyeonggi"))
GONE, UP = Reach.UNREACHABLE, Reach.REACHABLE


def standby(host: str, lsn: int | None = 500, reach: Reach = UP, for_ms: int = 9000) -> HostSeen:
    return HostSeen(host, reach, for_ms, Role.STANDBY, received_lsn=lsn)


def gone(host: str, for_ms: int = 2000, sync_lsn: int | None = None) -> HostSeen:
    return HostSeen(host, GONE, for_ms, sync_lsn=sync_lsn)


def primary(host: str, sync_lsn: int = 500) -> HostSeen:
    return HostSeen(host, UP, 9000, Role.PRIMARY, sync_lsn=sync_lsn)


def observation(
    site: str, *hosts: HostSeen, age_ms: int = 100, name: str = "", revision: int = 70, alive: bool = True
) -> Observation:
    return Observation(name or f"{site}/1", site, age_ms, revision, hosts, alive)


# dj-db1 alone is gone: dj-db2 may take over.
HOST_LOST = (
    observation("daejeon", gone("dj-db1", sync_lsn=480), standby("dj-db2"), standby("gg-db1"), revision=71),
    observation("gyeonggi", gone("dj-db1"), standby("dj-db2"), standby("gg-db1"), revision=72),
    observation("sejong", gone("dj-db1"), standby("dj-db2"), standby("gg-db1"), revision=73),
)
# All of Daejeon is gone, its observer too: gg-db1 may take over.
SITE_LOST = (
    observation(
        "daejeon", primary("dj-db1", 480), standby("dj-db2"), standby("gg-db1"), age_ms=60_000, alive=False
    ),
    observation("gyeonggi", gone("dj-db1"), gone("dj-db2"), standby("gg-db1"), revision=72),
    observation("sejong", gone("dj-db1"), gone("dj-db2"), standby("gg-db1"), revision=73),
)
DCS = DcsState(
    lock=Lock("dj-db1", lease=7, revision=10),
    sync=SyncSet("dj-db1", frozenset({"dj-db2", "gg-db1"}), revision=20, value='{"leader": "dj-db1"}'),
    config=Config(SyncMode.ON, paused=False, revision=30),
)
INTENT = Operation(4, Phase.INTENDED, MoveKind.CROSS_SITE, "dj-db1", "gg-db1", old_lease=7)


def view(observations: tuple[Observation, ...] = SITE_LOST, dcs: Any = DCS, **changes: Any) -> View:
    base = View(
        me="sejong",
        policy=Policy(),
        hosts=HOSTS,
        dcs=dcs,
        dcs_age_ms=20,
        operation_age_ms=60_000,
        observations=observations,
        seeing_ms=60_000,
        met=frozenset(host.name for host in HOSTS),
    )
    return replace(base, **changes)


def intended(observations: tuple[Observation, ...] = SITE_LOST, dcs: DcsState = DCS, **changes: Any) -> View:
    """The same, with the intent to promote gg-db1 written down a moment ago."""
    changes = {"operation_age_ms": 50, **changes}
    return view(observations, replace(dcs, operation=INTENT, operation_revision=40), **changes)


def in_phase(phase: Phase, holder: str | None, revision: int = 40, failover: int = 0, **changes: Any) -> View:
    """An operation in a later phase; `holder` has the lock."""
    lock = Lock(holder, 8, 50) if holder else None
    operation = replace(INTENT, phase=phase, epoch=5)
    dcs = replace(
        DCS, lock=lock, operation=operation, operation_revision=revision, failover_revision=failover
    )
    return view(dcs=dcs, **{"operation_age_ms": 50, **changes})
