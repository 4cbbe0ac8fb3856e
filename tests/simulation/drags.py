"""A sync standby that flushes late: the real rule (`mends.dragging.Drags`), and incidents around it.

What samples the primary (`mends.flush_watch`) runs only while something drags, or is still left out.
"""

from __future__ import annotations

import random

from failover.transaction import SYNC

from .engine import Body
from .incidents import Heal, holder, nothing
from .signatures import start, stop
from .world import DATABASES, World

SAMPLE_MS = 100


def drag(world: World, host: str, late_ms: int) -> Heal:
    """From now on the host flushes only so often."""
    running = any(server.late_ms for server in world.servers.by_host.values())
    world.servers.by_host[host].late_ms = late_ms
    if not running:
        world.engine.spawn("flush_watch", watch(world))
    return lambda: setattr(world.servers.by_host[host], "late_ms", 0)


def watch(world: World) -> Body:
    """Of each host; it tells something only on a primary."""
    servers = world.servers.by_host
    left_out = True
    while left_out or any(server.late_ms for server in servers.values()):
        now, left_out = world.engine.now, False
        for host, patroni in world.patronis.items():
            server = servers[host]
            if not (server.running and server.primary):
                patroni.drags.forget()
            elif server.frozen_until <= now:
                flushed = {name: session.confirmed for name, session in server.sessions.items()}
                patroni.drags.take(now / 1000, len(server.wal), flushed)
                left_out = left_out or bool(patroni.drags.draggers(now / 1000))
        yield SAMPLE_MS


def drags(world: World, rng: random.Random) -> tuple[str, Heal]:
    """Longer than it takes to be left out, or not."""
    host, late_ms = rng.choice(DATABASES), rng.choice((300, 700, 1300))
    heal = drag(world, host, late_ms)
    world.healed_at = max(world.healed_at, world.engine.now + 9000)
    world.engine.at(rng.randrange(2000, 9000), heal)
    return f"{host} flushes every {late_ms} ms", nothing


def lost_while_left_out(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The primary's Patroni sleeps just before it takes the standby that drags out of /sync. Then the primary
    is lost, and the other standby, too: the one that drags is left, and /sync names it.
    """
    old = holder(world)
    late, other = rng.sample(sorted(world.etcd.data[SYNC].value.members), 2)
    heal, done = drag(world, late, 1300), list[str]()

    def laid(who: str) -> None:
        if who != old:
            world.ambushes["write"] = laid
            return
        done.append(who)
        world.engine.pause(world.processes[f"patroni {old}"][0], 4000)
        world.engine.at(3000, lambda: world.power_off(old))
        world.engine.at(3000, lambda: stop(world, other))

    world.ambushes["write"] = laid
    for _ in range(60):
        world.run(200)
        if done:
            break
    world.ambushes.pop("write", None)
    world.run(34_000)
    heal()

    def back() -> None:
        world.power_on(old)
        start(world, [other])()

    return f"{old} and {other} lost while {late} drags", back
