"""A person restarts the primary's PostgreSQL (`patronictl restart`), which the observers wait for, a while.

Whether they do is decided by the real `failover.planned_restart`.
"""

from __future__ import annotations

import random

from failover.planned_restart import RESTART_MS, RESTARTING, STARTING

from .controller import PROBE_MS
from .engine import Body
from .incidents import Heal, holder, nothing
from .world import World

IN_TIME_MS = RESTART_MS - 700  # a probe, and its answer, come later than the restart


def restart(world: World, host: str, stops_ms: int, starts_ms: int) -> None:
    patroni, server = world.patronis[host], world.servers.by_host[host]
    process = patroni.process
    if process is None or not process.alive or patroni.promoting or patroni.restarting:
        return
    if not (server.running and server.primary):
        return

    def still(state: str) -> bool:
        """The same Patroni, which has not given the restart up: one that was begun anew knows of none."""
        return patroni.process is process and process.alive and patroni.restarting == state

    def body() -> Body:
        patroni.restarting = RESTARTING
        yield 100
        if not still(RESTARTING):
            return
        server.stop()
        yield stops_ms
        if not still(RESTARTING):
            return
        patroni.restarting = STARTING
        yield starts_ms
        if still(STARTING):
            patroni.restarting = ""
            server.running = server.running or server.primary

    world.engine.spawn(f"{host}/restart", body())


def restarted(world: World, rng: random.Random) -> tuple[str, Heal]:
    """In the normal mix: in time, or not."""
    host, lasting = holder(world), rng.choice((1500, 4000, 20_000))
    restart(world, host, rng.randrange(50, lasting), rng.randrange(50, lasting))
    return f"postgres on {host} is restarted", nothing


def in_time(world: World, rng: random.Random) -> tuple[str, Heal]:
    """Back within what it is waited for: nothing else is done about it.

    Often it stops before an observer's next probe, and is first heard of when it is starting again.
    """
    world.invariants.starting_until = world.engine.now + IN_TIME_MS + 3000
    stops = rng.randrange(20, rng.choice((PROBE_MS, IN_TIME_MS - 200)))
    restart(world, holder(world), stops, rng.randrange(100, IN_TIME_MS - stops))
    return "a restart that ends in time", nothing


def too_long(world: World, rng: random.Random) -> tuple[str, Heal]:
    """It does not come back while the fault lasts: a standby takes its place."""
    restart(world, holder(world), rng.randrange(100, 2000), 60_000)
    return "a restart that does not end", nothing
