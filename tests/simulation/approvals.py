"""Incidents around a person's yes, and around a start of everything; each at its worst moment."""

from __future__ import annotations

import random

from failover.transaction import APPROVAL, LEADER, SYNC

from .ambushes import lose
from .controller import PULSE
from .etcd import Event
from .incidents import Heal, holder, nothing
from .world import World


def _other_site(world: World) -> str:
    return next(name for name in sorted(world.etcd.data[SYNC].value.members) if name == "gg-db1")


def lock_returns(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The lock is free, a person approves, and the old primary has its lock back before the transaction."""
    old = holder(world)
    for host in ("dj-db1", "dj-db2"):
        lose(world, rng, host, 32_000)
    world.run(28_000)
    patroni = world.patronis[old]

    def laid(who: str) -> None:
        if world.etcd.get(LEADER) is None:
            patroni.lease = world.etcd.grant(20_000)
            world.etcd.apply([(LEADER, old, patroni.lease)])

    world.ambushes["takeover"] = laid
    world.approve(_other_site(world))
    world.run(6000)
    return "the lock is back before the transaction", nothing


def withdrawn(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The yes is taken back between the plan and the transaction."""
    for host in ("dj-db1", "dj-db2"):
        lose(world, rng, host, 32_000)
    world.run(rng.choice((4000, 26_000)))
    world.ambushes["takeover"] = lambda who: world.etcd.apply([(APPROVAL, None, 0)]) and None
    world.approve(_other_site(world))
    world.run(6000)
    return "the approval is withdrawn before the transaction", nothing


def for_another_lock(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A yes is written; the primary loses its lock, takes it back, and is lost again."""
    world.approve(_other_site(world))
    lock = world.etcd.get(LEADER)
    if lock is not None:
        world.etcd.revoke(lock.lease)
    world.run(3000)
    for host in ("dj-db1", "dj-db2"):
        lose(world, rng, host, 9000)
    world.run(12_000)
    return "an approval of the lock before", nothing


def approved_and_lost(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The site is lost, nothing moves, a person approves after the lease; the site comes back some time."""
    hosts = ["dj-db1", "dj-db2", "dj-app1", "dj-app2"]
    for host in hosts:
        world.power_off(host)
    world.run(rng.randrange(22_000, 40_000))
    world.approve(_other_site(world), rng.randrange(2000, 40_000))
    world.run(rng.randrange(500, 9000))
    return "approved after the lease", lambda: [world.power_on(host) for host in hosts] and None


def nobody_approves(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The site is lost, or cut off, for longer than its lease; the backup waits for a yes in vain."""
    hosts = ["dj-db1", "dj-db2"]
    cut_off = rng.random() < 0.5
    for host in hosts:
        if cut_off:
            lose(world, rng, host, 40_000)
        else:
            world.power_off(host)
    world.run(rng.randrange(24_000, 34_000))
    return "a site is lost, and nobody approves", lambda: [world.power_on(host) for host in hosts] and None


def unread_word(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The same, at once after an observer of the lost site has published: nobody has read that word before
    etcd's majority goes, and it is the first that is read when there is one again.
    """
    hosts = [host for host, site in world.network.site_of.items() if site in ("dj", "sj")]
    done: list[int] = []

    def told(events: tuple[Event, ...]) -> None:
        if not done and any(event.key.startswith(f"{PULSE}dj/") for event in events):
            done.append(world.engine.now)
            for host in hosts:
                world.engine.at(1, lambda host=host: world.power_off(host))

    world.etcd.on_change.append(told)
    world.run(rng.randrange(12_000, 60_000))
    world.etcd.on_change.remove(told)
    for host in rng.sample(hosts, len(hosts)):
        world.power_on(host)
    world.invariants.starting_until = world.engine.now + 15_000
    world.run(20_000)
    return "everything is started, and a word of before it is read", nothing


def everything_starts(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The active site and the witness are lost together, so nothing moves; then both come back."""
    hosts = [host for host, site in world.network.site_of.items() if site in ("dj", "sj")]
    if rng.random() < 0.5:
        hosts = list(world.network.site_of)
    for host in hosts:
        world.power_off(host)
    world.run(rng.randrange(12_000, 60_000))
    for host in rng.sample(hosts, len(hosts)):
        world.power_on(host)
    world.invariants.starting_until = world.engine.now + 15_000
    world.run(20_000)
    return "everything is started", nothing
