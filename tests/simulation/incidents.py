"""What goes wrong: one seed expands to a list of incidents, each with its end."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from failover.transaction import CONFIG, FAILOVER, HOLD, LEADER, SYNC

from .network import SITES
from .offers import EMPTIED
from .world import CONTROLLERS, DATABASES, OBSERVERS, World

WORD_MS = 40_000  # a person's switchover is his word for its candidate for so long: longer than any pause
Heal = Callable[[], None]


def bump(world: World, counts: dict, key: object, by: int) -> None:
    counts[key] = counts.get(key, 0) + by
    world.network.changed()


def cut(world: World, pairs: list, table: dict) -> Heal:
    for pair in pairs:
        bump(world, table, pair, 1)
    return lambda: [bump(world, table, pair, -1) for pair in pairs] and None


def wan_cut(world: World, rng: random.Random) -> tuple[str, Heal]:
    one, other = rng.sample(SITES, 2)
    pairs = [(one, other)] if rng.random() < 0.4 else [(one, other), (other, one)]
    return f"cut {pairs}", cut(world, pairs, world.network.cuts)


def replication_cut(world: World, rng: random.Random) -> tuple[str, Heal]:
    one, other = rng.choice((("dj", "gg"), ("gg", "dj"), ("dj", "dj")))
    pairs = [(one, other)] if rng.random() < 0.4 else [(one, other), (other, one)]
    return f"replication cut {pairs}", cut(world, pairs, world.network.replication_cuts)


def isolate(world: World, rng: random.Random) -> tuple[str, Heal]:
    site = holder_site(world) if rng.random() < 0.6 else rng.choice(SITES)
    pairs = [pair for other in SITES if other != site for pair in ((site, other), (other, site))]
    return f"{site} isolated", cut(world, pairs, world.network.cuts)


def isolate_host(world: World, rng: random.Random) -> tuple[str, Heal]:
    host = holder(world) if rng.random() < 0.6 else rng.choice(DATABASES)
    bump(world, world.network.host_cuts, host, 1)
    return f"{host} isolated", lambda: bump(world, world.network.host_cuts, host, -1)


def outer_cut(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A host that its own site reaches and no other does."""
    host = holder(world) if rng.random() < 0.7 else rng.choice(DATABASES)
    bump(world, world.network.outer_cuts, host, 1)
    return f"{host} cut from other sites", lambda: bump(world, world.network.outer_cuts, host, -1)


def host_loss(world: World, rng: random.Random) -> tuple[str, Heal]:
    host = holder(world) if rng.random() < 0.5 else rng.choice((*DATABASES, "sj-wt1", "gg-app1", "dj-app1"))
    world.power_off(host)
    return f"{host} has lost power", lambda: world.power_on(host)


def site_loss(world: World, rng: random.Random) -> tuple[str, Heal]:
    site = holder_site(world) if rng.random() < 0.6 else rng.choice(SITES)
    hosts = [host for host, where in world.network.site_of.items() if where == site]
    for host in hosts:
        world.power_off(host)
    return f"{site} has lost power", lambda: [world.power_on(host) for host in hosts] and None


def postgres_crash(world: World, rng: random.Random) -> tuple[str, Heal]:
    host = holder(world) if rng.random() < 0.6 else rng.choice(DATABASES)
    world.servers.by_host[host].stop()
    return f"postgres on {host} killed", nothing


def patroni_kill(world: World, rng: random.Random) -> tuple[str, Heal]:
    name = f"patroni {rng.choice(DATABASES)}"
    world.kill(name)
    return f"{name} killed", lambda: world.restart(name)


def patroni_pause(world: World, rng: random.Random) -> tuple[str, Heal]:
    host = holder(world) if rng.random() < 0.6 else rng.choice(DATABASES)
    lasting, promotion = duration(rng), world.patronis[host].promotion
    world.engine.pause(world.processes[f"patroni {host}"][0], lasting)
    if promotion is not None:
        world.engine.pause(promotion, lasting)
    return f"patroni on {host} frozen", nothing


def host_freeze(world: World, rng: random.Random) -> tuple[str, Heal]:
    host = holder(world) if rng.random() < 0.5 else rng.choice(list(world.network.site_of))
    world.freeze(host, duration(rng))
    return f"{host} frozen", nothing


def controller_kill(world: World, rng: random.Random) -> tuple[str, Heal]:
    name = f"controller {rng.choice(list(CONTROLLERS))}"
    if name not in world.processes:
        return "no controller", nothing
    if rng.random() < 0.5:
        world.engine.pause(world.processes[name][0], duration(rng))
        return f"{name} frozen", nothing
    world.kill(name)
    return f"{name} killed", lambda: world.restart(name)


def observer_kill(world: World, rng: random.Random) -> tuple[str, Heal]:
    name = f"observer {rng.choice(OBSERVERS)[0]}"
    if rng.random() < 0.5:
        world.engine.pause(world.processes[name][0], duration(rng))
        return f"{name} frozen", nothing
    world.kill(name)
    return f"{name} killed", lambda: world.restart(name)


def blind(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The probes of most observers tell nothing for a while."""
    for observer in rng.sample(world.observers, 3):
        observer.blind_until = world.engine.now + rng.randrange(500, 6000)
    return "three observers are blind", nothing


def link_cut(world: World, rng: random.Random) -> tuple[str, Heal]:
    """Some observers, and only they, no longer reach the primary."""
    pairs = [frozenset((one.host, holder(world))) for one in rng.sample(world.observers, rng.randrange(1, 4))]
    return f"links cut {[sorted(pair) for pair in pairs]}", cut(world, pairs, world.network.link_cuts)


def postgres_freeze(world: World, rng: random.Random) -> tuple[str, Heal]:
    """PostgreSQL stands still, its Patroni does not."""
    host = holder(world)
    world.servers.by_host[host].frozen_until = world.engine.now + duration(rng)
    return f"postgres on {host} frozen", nothing


def loss(world: World, rng: random.Random) -> tuple[str, Heal]:
    world.network.loss = rng.choice((0.02, 0.1, 0.3))
    return f"packet loss {world.network.loss}", lambda: setattr(world.network, "loss", 0.0)


def slow(world: World, rng: random.Random) -> tuple[str, Heal]:
    world.network.slow_ms = rng.choice((20, 100, 400))
    return f"slow WAN {world.network.slow_ms} ms", lambda: setattr(world.network, "slow_ms", 0)


def etcd_member(world: World, rng: random.Random) -> tuple[str, Heal]:
    site = rng.choice(SITES)
    world.etcd.stop(site, True)
    return f"etcd at {site} stopped", lambda: world.etcd.stop(site, False)


def etcd_down(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A majority of etcd, or all of it: what goes on without it is told to every member (failsafe mode)."""
    sites = rng.sample(SITES, rng.choice((2, 3)))
    for site in sites:
        world.etcd.stop(site, True)
    what = f"etcd at {', '.join(sorted(sites))} stopped"
    return what, lambda: [world.etcd.stop(site, False) for site in sites] and None


def hold(world: World, rng: random.Random) -> tuple[str, Heal]:
    world.etcd.apply([(HOLD, "operator", 0)])
    return "hold set", lambda: world.etcd.apply([(HOLD, None, 0)]) and None


def patroni_paused(world: World, rng: random.Random) -> tuple[str, Heal]:
    mode = world.settings.mode
    world.etcd.apply([(CONFIG, {"mode": mode, "pause": True}, 0)])
    return "pause set", lambda: world.etcd.apply([(CONFIG, {"mode": mode, "pause": False}, 0)]) and None


def flapping(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The WAN between two sites comes and goes."""
    one, other = rng.sample(SITES, 2)
    pairs = [(one, other), (other, one)]
    delay = 0
    for _ in range(rng.randrange(3, 9)):
        delay += rng.randrange(100, 2000)
        length = rng.randrange(100, 2500)
        world.engine.at(
            delay, lambda length=length: world.engine.at(length, cut(world, pairs, world.network.cuts))
        )
    return f"{one}-{other} flapping", nothing


def handover(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A planned switchover, and often a loss in its middle or right behind it."""
    sync, lock, before = world.etcd.get(SYNC), world.etcd.get(LEADER), world.etcd.get(FAILOVER)
    offered = before is not None and before.value != EMPTIED
    if sync is None or lock is None or offered or sync.value.leader != lock.value or not sync.value.members:
        return "no switchover: not ready", nothing
    candidate = rng.choice(sorted(sync.value.members))
    what = offer(world, candidate)
    if rng.random() < 0.3:
        return what, nothing
    victim = rng.choice(
        (candidate, candidate, candidate, lock.value, *sorted(sync.value.members - {candidate}))
    )
    delay, lasting = rng.randrange(300, 5000), rng.choice((40_000, duration(rng)))
    harm = rng.randrange(3)
    if harm == 0:
        world.engine.at(delay, lambda: world.power_off(victim))
    elif harm == 1:
        world.engine.at(delay, lambda: bump(world, world.network.host_cuts, victim, 1))
    else:
        world.engine.at(delay, lambda: world.freeze(victim, lasting))
    ends = (world.power_on, lambda host: bump(world, world.network.host_cuts, host, -1), lambda host: None)
    world.engine.at(delay + lasting, lambda: ends[harm](victim))
    world.healed_at = max(world.healed_at, world.engine.now + delay + lasting)
    return f"{what}, {victim} lost after {delay} ms", nothing


def offer(world: World, candidate: str) -> str:
    """A person's switchover of a cluster that has a primary and a sync set."""
    sync, old = world.etcd.data[SYNC].value, world.etcd.data[LEADER].value
    kept = sorted(sync.members - {candidate})
    word = json.dumps({"leader": old, "member": candidate, "kept": kept})
    world.etcd.apply([(FAILOVER, word, 0)])
    world.invariants.asked_for = candidate, world.engine.now + WORD_MS
    return f"switchover to {candidate}"


def nothing() -> None:
    return None


def holder(world: World) -> str:
    lock = world.etcd.get(LEADER)
    return lock.value if lock else world.invariants.primary


def holder_site(world: World) -> str:
    return world.network.site_of[holder(world)]


def duration(rng: random.Random) -> int:
    return rng.randrange(50, rng.choice((400, 2500, 8000, 26_000)))


Kind = Callable[[World, random.Random], tuple[str, Heal]]
KINDS: tuple[tuple[Kind, int], ...] = (
    (wan_cut, 5),
    (replication_cut, 3),
    (isolate, 5),
    (isolate_host, 5),
    (outer_cut, 3),
    (host_loss, 6),
    (site_loss, 4),
    (postgres_crash, 3),
    (patroni_kill, 3),
    (patroni_pause, 6),
    (host_freeze, 5),
    (controller_kill, 4),
    (observer_kill, 3),
    (link_cut, 3),
    (postgres_freeze, 2),
    (blind, 1),
    (loss, 2),
    (slow, 2),
    (etcd_member, 3),
    (etcd_down, 2),
    (hold, 1),
    (patroni_paused, 1),
    (flapping, 2),
    (handover, 4),
)


@dataclass(frozen=True)
class Plan:
    """How many incidents a run has, of which kinds, and how dense. `alone`: see `alone.py`."""

    number: int = 24
    gap_ms: int = 4000
    kinds: tuple[tuple[Kind, int], ...] = KINDS
    alone: bool = False


def only(kind: Kind) -> Plan:
    """One incident a run, of one kind: a second one would fall into the block period."""
    return Plan(number=1, gap_ms=2000, kinds=((kind, 1),))


def play(world: World, plan: Plan) -> None:
    """Inject the incidents one after the other, overlapping; then heal all and demand a primary."""
    rng = world.engine.rng
    kinds, weights = zip(*plan.kinds, strict=True)
    world.run(3000)
    for _ in range(plan.number):
        kind = rng.choices(kinds, weights)[0]
        world.engine.incidents += 1
        what, heal = kind(world, rng)
        lasting = duration(rng)
        world.engine.log("INCIDENT", f"{what}, {lasting} ms")

        def healed(heal: Heal = heal, what: str = what) -> None:
            world.engine.log("HEALED", what)
            heal()

        world.engine.at(lasting, healed)
        world.healed_at = max(world.healed_at, world.engine.now + lasting)
        world.run(rng.randrange(100, plan.gap_ms))
    settle(world)


def settle(world: World) -> None:
    """All incidents over: the last heals, then a primary again within the bound, and no loss."""
    world.calm()
    world.run(max(0, world.quiet_at() - world.engine.now) + 100)
    world.until_acknowledged()
    current = world.servers.by_host[world.invariants.primary]
    if missing := world.invariants.missing_from(current):
        world.invariants.fail("no acknowledged commit is lost", f"{missing} are missing at the end")
