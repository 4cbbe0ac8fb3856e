"""A primary that its Patroni restarts is not lost, for a while.

`patronictl restart` keeps the lock, and PostgreSQL refuses meanwhile: for everybody that looks like a loss.
Patroni is in the state `restarting` before it stops PostgreSQL, and `starting` once the new one is begun; a
crash is never `restarting` (read in Patroni 4.1.5, `Postgresql.restart` and `start`). While it starts, too,
our Patroni says that it is a restart (`replication.mends.told_restart`), so that whoever asks late knows as
well. Nobody else can say so: a host that is gone, or a Patroni that is frozen, is asked in vain.

Then the host's reach is unknown and not unreachable, for RESTART_MS at most from the first probe that
failed; the window begins after that. It can only delay a takeover, never make one.

`/health` tries PostgreSQL once, which refuses at once; `/patroni` would hold a thread (`probe_patroni`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from failover.bounded_http import NoAnswer, get
from failover.streaks import Probe
from failover.view import Reach
from replication.mends.told_restart import RESTARTS

RESTART_MS = 3000
LIMIT_S = 0.2
RESTARTING, STARTING = "restarting", "starting"


@dataclass(frozen=True, slots=True)
class Away:
    """An unbroken row of probes that did not reach the host.

    `planned`: Patroni has said from the first refusal on that it restarts it; None: not asked yet.
    """

    since_ms: int
    planned: bool | None = None


def after(before: Away | None, probe: Probe, says: Callable[[], str]) -> Away | None:
    """The row after one more probe. `says` asks Patroni: once it has said no, not again in this row."""
    if probe.reach is Reach.REACHABLE:
        return None
    away = before or Away(probe.began_ms)
    if probe.ended_ms - away.since_ms > RESTART_MS:
        return replace(away, planned=False)
    if away.planned is False or not refused(probe):
        return away
    state = says()
    return replace(away, planned=state == RESTARTING or (away.planned is True and state == STARTING))


def refused(probe: Probe) -> bool:
    """The host is there: it said that PostgreSQL cannot be used."""
    return probe.reach is Reach.UNREACHABLE and probe.detail.why != "silent"


def judged(probe: Probe, away: Away | None) -> Probe:
    if away is None or not away.planned or not refused(probe):
        return probe
    return replace(probe, reach=Reach.UNKNOWN, detail=replace(probe.detail, why="its Patroni restarts it"))


def state_of_primary(address: str, port: int) -> str:
    """What Patroni says of its PostgreSQL; "" for silence, and for no primary. Never raises.

    RESTARTING also while it starts again, where Patroni says that this is a restart.
    """
    try:
        _, body = get(address, port, "/health", LIMIT_S)
        word: Any = json.loads(body)
        if word["role"] != "primary":
            return ""
        return RESTARTING if word.get(RESTARTS) is True else str(word["state"])
    except (NoAnswer, OSError, ValueError, KeyError, TypeError):
        return ""


class Prober(Protocol):
    def probe(self) -> Probe: ...


class WithRestart:
    """A prober that asks PostgreSQL, and why it refuses; for one thread."""

    def __init__(self, prober: Prober, says: Callable[[], str]) -> None:
        self._prober, self._says = prober, says
        self._away: Away | None = None

    def probe(self) -> Probe:
        found = self._prober.probe()
        self._away = after(self._away, found, self._says)
        return judged(found, self._away)
