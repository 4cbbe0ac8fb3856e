"""A loss right behind a takeover, or right behind a false alarm: it is as long an outage as any other."""

from __future__ import annotations

import random

from failover.transaction import LEADER, OPERATION, SYNC, decode
from failover.view import Phase

from .incidents import Heal, cut, holder
from .world import World

NEXT_MS = 8000  # a standby joins the new primary's sync set within so long


def second_loss(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The primary loses its power, and seconds later the next one, whoever that is."""
    first = holder(world)
    world.power_off(first)
    world.run(rng.randrange(1500, 9000))
    second = holder(world)
    world.power_off(second)
    return (
        f"{first} has lost power, then {second}",
        lambda: [world.power_on(each) for each in (first, second)] and None,
    )


def protected(world: World) -> bool:
    """Whether the primary's sync set has a member: else nobody may follow it."""
    lock, sync = world.etcd.get(LEADER), world.etcd.data[SYNC].value
    return lock is not None and sync.leader == lock.value and bool(sync.members - world.network.down)


def wait_until(world: World, truth: object, limit_ms: int) -> bool:
    """Run until it holds, a step at a time; whether it does."""
    end = world.engine.now + limit_ms
    while not truth(world) and world.engine.now < end:  # type: ignore[operator]
        world.run(20)
    return truth(world)  # type: ignore[operator]


def ended(world: World, phase: Phase) -> bool:
    entry = world.etcd.get(OPERATION)
    return entry is not None and decode(entry.value).phase is phase


def false_alarm(world: World) -> bool:
    """Nobody's probes reach the primary, which takes its lock back: its candidates are slow to ask for it.

    Whether it came to that: an operation that was aborted after its transaction.
    """
    old = holder(world)
    heal = cut(world, [frozenset((one.host, old)) for one in world.observers], world.network.link_cuts)
    slow = [world.processes[f"patroni {host}"][0] for host in world.patronis if host != old]
    world.ambushes["takeover"] = lambda who: [world.engine.pause(each, 1500) for each in slow] and None
    came = wait_until(world, lambda world: ended(world, Phase.ABORTED), 6000)
    heal()
    return came and holder(world) == old
