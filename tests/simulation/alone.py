"""One fault at a time that lasts: the service is back within seconds meanwhile, and whole again after it.

`incidents.play` heals everything before it asks for a primary. Here nothing is healed before: with one fault
a majority stays connected, and its primary is due within `SOON_MS`, long before Patroni's lease has run out.
One of them is a loss in the middle of the takeover from another, with a majority that stays, too.
"""

from __future__ import annotations

import random

from failover.transaction import LEADER, SYNC

from . import incidents as inc
from .ambushes import lost_before_swap
from .engine import Violation
from .world import DATABASES, World

SOON_MS = 10_000
WHOLE_MS = 90_000  # a boot, a rewind, and Patroni's loops
FAULTS = (
    inc.host_loss,
    inc.site_loss,
    inc.isolate,
    inc.isolate_host,
    inc.host_freeze,
    inc.postgres_freeze,
    inc.postgres_crash,
    inc.wan_cut,
    inc.controller_kill,
    inc.observer_kill,
    inc.etcd_member,
    inc.patroni_kill,
    lost_before_swap,
)
ALONE = inc.Plan(number=6, kinds=tuple((kind, 1) for kind in FAULTS), alone=True)
BLOCK_MS = 12_000  # no second takeover is due so soon after one


def play(world: World, plan: inc.Plan) -> None:
    """So many faults, each in a cluster that is whole. Raises Violation."""
    rng = world.engine.rng
    kinds, weights = zip(*plan.kinds, strict=True)
    world.run(3000)
    for _ in range(plan.number):
        until_whole(world)
        if rng.random() < 0.5:
            blink(world, rng)
        what, heal = rng.choices(kinds, weights)[0](world, rng)
        world.engine.incidents += 1
        world.engine.log("INCIDENT", f"{what}, and nothing else")
        world.run(1000)
        world.until_acknowledged(SOON_MS)
        world.run(rng.randrange(30_000))
        world.engine.log("HEALED", what)
        heal()


def blink(world: World, rng: random.Random) -> None:
    """The primary is away for about as long as the window: often an intent is written, and given up."""
    _, heal = inc.isolate_host(world, rng)
    world.run(rng.randrange(700, 1500))
    heal()
    world.run(rng.randrange(BLOCK_MS, 2 * BLOCK_MS))
    until_whole(world)


def until_whole(world: World) -> None:
    """Until /sync names every other host, and as long as no takeover is due."""
    end = world.engine.now + WHOLE_MS
    while not is_whole(world):
        if world.engine.now >= end:
            what = f"not within {WHOLE_MS} ms: {world.etcd.data[SYNC].value}"
            world.engine.log("INVARIANT", what)
            raise Violation("the sync set is whole again", what)
        world.run(100)
    world.run(BLOCK_MS)


def is_whole(world: World) -> bool:
    lock, sync = world.etcd.get(LEADER), world.etcd.data[SYNC].value
    return lock is not None and sync.leader == lock.value and sync.members == set(DATABASES) - {lock.value}
