"""Hazards of Patroni 4.1.5 itself, as ADR 5 lists them: each is one long sleep at a bad moment.

They need no controller of ours. Upstream's rules lose commits in them; with the mend
`named_before_primary` (H1 to H4), or `kept_set` (H5), they do not.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from failover.transaction import CONFIG, LEADER, SYNC

from .etcd import Event
from .incidents import Heal, cut, holder, nothing
from .world import World


def _when(world: World, key: str, test: Callable[[Event], bool], act: Callable[[Event], None]) -> None:
    """Act once, on the first change of a key that passes the test."""
    done: list[Event] = []

    def told(events: tuple[Event, ...]) -> None:
        for event in events:
            if not done and event.key == key and event.value is not None and test(event):
                done.append(event)
                act(event)

    world.etcd.on_change.append(told)


def lost_swap(world: World, rng: random.Random) -> tuple[str, Heal]:
    """H1: the primary sleeps before it shrinks /sync, until a standby has taken the lock.

    It wakes, its compare-and-swap succeeds, and it acknowledges alone. The standby's own swap fails, and
    in the next loop it promotes with the fresh revision, not looking whether it is still named.
    """
    pairs = [(one, other) for one in ("dj", "gg") for other in ("dj", "gg")]
    heal, old = cut(world, pairs, world.network.replication_cuts), holder(world)
    world.ambushes["write"] = lambda who: world.freeze(who, rng.randrange(24_000, 26_000))
    _when(world, LEADER, lambda event: event.value != old, lambda event: world.freeze(event.value, 6000))
    world.run(40_000)
    heal()
    return "H1", nothing


def slept_promotion(world: World, rng: random.Random) -> tuple[str, Heal]:
    """H2: the candidate sleeps between its swap and its promotion; the old primary is back first."""
    old = holder(world)
    world.freeze(old, 46_000)
    _when(
        world,
        SYNC,
        lambda event: event.value.leader != old,
        lambda event: world.freeze(event.value.leader, 60_000),
    )
    world.run(64_000)
    return "H2", nothing


def unlooked_lock(world: World, rng: random.Random) -> tuple[str, Heal]:
    """H3: a Patroni takes its lock back and sleeps; it reads that another has it, and goes on.

    Its PostgreSQL is awake all the time."""
    old = holder(world)
    lock = world.etcd.get(LEADER)
    patroni = world.processes[f"patroni {old}"][0]
    _when(world, LEADER, lambda event: event.value == old, lambda event: world.engine.pause(patroni, 30_000))
    if lock is not None:
        world.etcd.revoke(lock.lease)
    world.run(40_000)
    return "H3", nothing


def late_return(world: World, rng: random.Random) -> tuple[str, Heal]:
    """H4: the new primary sleeps before it has written /history; the old one takes the lock."""
    world.freeze(holder(world), rng.randrange(45_000, 48_000))
    noted = world.promoted

    def promoted(host: str) -> None:
        noted(host)
        world.engine.at(300, lambda: world.freeze(host, 60_000))

    for patroni in world.patronis.values():
        patroni.promotions = promoted
    world.run(60_000)
    return "H4", nothing


def blinking_mode(world: World, rng: random.Random) -> tuple[str, Heal]:
    """H5: the synchronous mode is off for a moment; the primary's Patroni, which saw it, sleeps before its
    swap. Its PostgreSQL is awake. It wakes when another has the lock, its swap fails, and it empties its set.
    """
    old = holder(world)
    patroni = world.processes[f"patroni {old}"][0]

    def put(mode: str) -> None:
        world.etcd.apply([(CONFIG, {"mode": mode, "pause": False}, 0)])

    def laid(who: str) -> None:
        world.engine.pause(patroni, rng.randrange(24_000, 26_000))
        put("on")

    world.ambushes["write"] = laid
    put("off")
    world.run(40_000)
    return "H5", nothing
