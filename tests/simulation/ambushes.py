"""Incidents that wait for the worst moment: just before a transaction is sent, or in a loop's middle.

Random pauses would find these moments too, in a hundred times as many incidents.
"""

from __future__ import annotations

import random
from dataclasses import replace

from failover.transaction import CONFIG, HOLD, LEADER, SYNC

from .etcd import MEMBER
from .incidents import Heal, bump, cut, holder, nothing, offer
from .world import World


def lose(world: World, rng: random.Random, host: str, lasting: int) -> None:
    """The host's network is gone for a while."""
    bump(world, world.network.host_cuts, host, 1)
    world.engine.at(lasting, lambda: bump(world, world.network.host_cuts, host, -1))


def lock_moves(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The old primary's lease runs out, and another takes the lock, between plan and transaction."""

    def laid(who: str) -> None:
        lock = world.etcd.get(LEADER)
        if lock is None:
            return
        world.etcd.revoke(lock.lease)
        other = max(world.etcd.data[SYNC].value.members - {lock.value}, default=None)
        if other is not None:
            lease = world.patronis[other].lease or world.etcd.grant(20_000)
            world.etcd.apply([(LEADER, other, lease)])

    world.ambushes["takeover"] = laid
    lose(world, rng, holder(world), 4000)
    return "the lock moves before the transaction", nothing


def set_shrinks(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The old primary's last write of /sync, long under way, arrives between plan and transaction."""

    def laid(who: str) -> None:
        sync = world.etcd.get(SYNC)
        if sync is not None and sync.value.leader == holder(world):
            world.etcd.apply([(SYNC, replace(sync.value, members=frozenset()), 0)])

    world.ambushes["takeover"] = laid
    lose(world, rng, holder(world), 4000)
    return "/sync shrinks before the transaction", nothing


def lost_when_named(world: World, rng: random.Random) -> tuple[str, Heal]:
    """Who has just taken over is cut off in the moment in which it first names a standby in /sync."""
    first = holder(world)
    world.power_off(first)
    for _ in range(400):
        world.run(50)
        sync = world.etcd.data[SYNC].value
        if sync.leader not in ("", first) and sync.members:
            lose(world, rng, sync.leader, 25_000)
            break
    return "a new primary is lost when it first names a standby", lambda: world.power_on(first)


def config_changes(world: World, rng: random.Random) -> tuple[str, Heal]:
    """Somebody pauses Patroni between the plan and the transaction."""

    def put(pause: bool) -> None:
        world.etcd.apply([(CONFIG, {"mode": world.settings.mode, "pause": pause}, 0)])

    def laid(who: str) -> None:
        put(True)
        world.engine.at(3000, lambda: put(False))

    world.ambushes["takeover"] = laid
    lose(world, rng, holder(world), 4000)
    return "/config changes before the transaction", nothing


def sleeper(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The only controller falls asleep with the transaction in its hand; meanwhile the primary is back."""
    others = rng.sample(["controller dj", "controller gg", "controller sj"], 2)
    for name in others:
        world.kill(name)

    def laid(who: str) -> None:
        world.engine.pause(world.processes[f"controller {who}"][0], rng.randrange(9000, 15_000))

    world.ambushes["takeover"] = laid
    lose(world, rng, holder(world), 3000)
    world.run(20_000)
    return (
        "a controller sleeps before the transaction",
        lambda: [world.restart(name) for name in others] and None,
    )


def late_phase(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A controller sleeps before it writes a phase; the others bring the operation to its end."""

    def laid(who: str) -> None:
        world.engine.pause(world.processes[f"controller {who}"][0], rng.randrange(5000, 9000))

    world.ambushes["taken"] = laid
    lose(world, rng, holder(world), 6000)
    world.run(12_000)
    return "a controller sleeps before it writes a phase", nothing


def last_words(world: World, rng: random.Random) -> tuple[str, Heal]:
    """Observers die while the primary is away and a hold is set; it returns, and the hold is lifted."""
    world.etcd.apply([(HOLD, "operator", 0)])
    lose(world, rng, holder(world), 4000)
    world.run(3000)
    names = [f"observer {one.name}" for one in world.observers]
    for name in names:
        world.kill(name)
    world.run(12_000)
    world.etcd.apply([(HOLD, None, 0)])
    world.run(2000)
    return "the last words of dead observers", lambda: [world.restart(name) for name in names] and None


def stale_loop(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The primary's host freezes just before Patroni drops the other sync standbys from /sync.

    It wakes about when the lock has been taken from it, and goes on with what it had read before.
    """
    pairs = [(one, other) for one in ("dj", "gg") for other in ("dj", "gg")]
    heal = cut(world, pairs, world.network.replication_cuts)
    old = holder(world)

    def laid(who: str) -> None:
        if who == old:
            world.freeze(old, rng.randrange(1600, 2600))

    world.ambushes["write"] = laid
    world.engine.at(9000, heal)
    world.run(9000)
    return "a loop goes on with an old snapshot", nothing


def torn_read(world: World, rng: random.Random) -> tuple[str, Heal]:
    """PostgreSQL stands still without standbys; Patroni reads while the takeover is told to it."""
    pairs = [(one, other) for one in ("dj", "gg") for other in ("dj", "gg")]
    heal = cut(world, pairs, world.network.replication_cuts)
    world.run(2000)
    old = holder(world)
    world.servers.by_host[old].frozen_until = world.engine.now + rng.randrange(1500, 2500)

    def laid(who: str) -> None:
        if who == old:
            world.ambushes["write"] = laid
        else:  # the candidate is slow between taking the lock and writing /sync
            world.engine.pause(world.processes[f"patroni {who}"][0], 800)

    world.ambushes["write"] = laid
    world.engine.at(7000, heal)
    world.run(7000)
    return "Patroni reads in the middle of the takeover's events", nothing


def half_taken(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A hold is set; the lease runs out; the new lock holder freezes before it writes /sync."""
    world.etcd.apply([(HOLD, "operator", 0)])
    old = holder(world)
    lose(world, rng, old, 40_000)
    frozen: list[str] = []

    def watch(events: tuple) -> None:
        for event in events:
            if event.key == LEADER and event.value not in (None, old) and not frozen:
                frozen.append(event.value)
                world.freeze(event.value, 12_000)

    world.etcd.on_change.append(watch)
    world.run(24_000)
    world.etcd.on_change.remove(watch)
    world.etcd.apply([(HOLD, None, 0)])
    world.run(8000)
    return "the lock is taken and /sync is not yet written", nothing


def lost_before_swap(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The primary loses its power; who takes the lock is lost, too, before its swap of /sync. For
    `alone.py`: returns as soon as it is lost. Some only freeze, and go on with that swap when they wake. Of
    two hosts with a member of etcd the second keeps that one, or nothing could move.
    """
    old, lost, delay = holder(world), list[str](), rng.choice((0, 5, 20, 1000))
    frozen_ms = rng.choice((0, 0, rng.randrange(5000, 40_000)))

    def lose_it(who: str) -> None:
        if lost or who == old:
            return
        lost.append(who)
        if frozen_ms:
            world.freeze(who, frozen_ms)
        elif {old, who} <= set(MEMBER.values()):
            world.kill(f"patroni {who}")
            world.servers.by_host[who].stop()
        else:
            world.power_off(who)

    def watch(events: tuple) -> None:
        for event in events:
            if event.key == LEADER and event.value not in (None, old) and not lost:
                world.ambushes["write"] = lose_it  # at the latest then
                world.engine.at(delay, lambda who=event.value: lose_it(who))

    def heal() -> None:
        world.power_on(old)
        for who in lost:
            world.power_on(who)
            world.restart(f"patroni {who}")

    world.etcd.on_change.append(watch)
    world.power_off(old)
    for _ in range(600):
        world.run(20)
        if lost:
            break
    world.etcd.on_change.remove(watch)
    return f"{old} has lost power; {', '.join(lost)} took the lock, and is lost before /sync", heal


def kept_ahead(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A planned handover whose candidate has not received the old primary's last records, and who is to be
    kept beside it has. (Nobody acknowledged them; the primary ends before they are sent again.)
    """
    old = holder(world)
    candidate = rng.choice(sorted(world.etcd.data[SYNC].value.members))
    site_of = world.network.site_of
    heal = cut(world, [(site_of[old], site_of[candidate])], world.network.replication_cuts)
    world.run(rng.randrange(200, 1000))
    what = offer(world, candidate)
    world.run(5000)
    heal()
    return f"{what}, which lacks the last records", nothing


def late_promotion(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The candidate of a handover freezes when its swap has kept the other member in /sync. That one takes
    over, acknowledges, and the candidate wakes, and is promoted. It was the primary before: of who never was
    the observers know no position, and nobody takes over from it.
    """
    candidate, done = holder(world), list[str]()
    offer(world, rng.choice(sorted(world.etcd.data[SYNC].value.members)))
    world.run(12_000)
    if candidate not in world.etcd.data[SYNC].value.members:
        return "no second handover: not ready", nothing

    def watch(events: tuple) -> None:
        for event in events:
            if not done and event.key == SYNC and event.value.leader == candidate and event.value.members:
                done.append(candidate)
                world.freeze(candidate, rng.randrange(4000, 9000))

    world.etcd.on_change.append(watch)
    what = offer(world, candidate)
    world.run(16_000)
    world.etcd.on_change.remove(watch)
    return f"{what}, which freezes after its swap", nothing


def stale_offer(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A handover is offered just before the primary takes its candidate out of /sync; the primary is lost,
    and a hold keeps the controllers still until its lock is free.
    """
    world.etcd.apply([(HOLD, "operator", 0)])
    old, candidate = holder(world), "gg-db1"
    heal = cut(world, [("dj", "gg"), ("gg", "dj")], world.network.replication_cuts)

    def laid(who: str) -> None:
        if who != old or offered:
            return
        offered.append(offer(world, candidate))
        world.engine.at(30, lambda: world.power_off(old))

    offered: list[str] = []
    world.ambushes["write"] = laid
    world.run(30_000)
    heal()
    world.etcd.apply([(HOLD, None, 0)])
    world.power_on(old)
    return "an offer to a candidate that /sync does not name any more", nothing


def restored(world: World, rng: random.Random) -> tuple[str, Heal]:
    """Not in the normal mix: it breaks what Patroni's own race rests on, too.

    The standbys' data directories come back from an old copy, and the primary loses power at once.
    """
    pairs = [(one, other) for one in ("dj", "gg") for other in ("dj", "gg")]
    heal_network = cut(world, pairs, world.network.replication_cuts)
    old = holder(world)
    for server in world.servers.by_host.values():
        if server.host != old:
            server.connection += 1
            del server.wal[len(server.wal) // 2 :]
    world.power_off(old)

    def heal() -> None:
        heal_network()
        world.power_on(old)

    world.engine.at(9000, heal)
    world.run(12_000)
    return f"standbys restored from an old copy, {old} lost", nothing
