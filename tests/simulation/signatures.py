"""A person signs for a host that may lack anything: the real `manual.force`, and incidents around it.

Patroni and PostgreSQL of all other database hosts have ended, so what is lost is known at the transaction: it
is taken out of what the checker demands then, and nothing later is.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from failover import manual
from failover.policy import MoveKind
from failover.transaction import LEADER, SYNC
from failover.view import DcsState, Phase, SyncMode

from .controller import dcs_state
from .engine import Process
from .etcd import Event
from .incidents import Heal, cut, holder, nothing, offer
from .network import SITES
from .rules import Sync
from .world import DATABASES, World


def stop(world: World, host: str) -> None:
    """Patroni and PostgreSQL end; the machine, and its etcd, stay."""
    world.kill(f"patroni {host}")
    world.patronis[host].promoting = False
    world.servers.by_host[host].stop()
    world.servers.by_host[host].primary = False


def sign(world: World, candidate: str) -> bool:
    """What `hanbat failover --accept-loss` does, if it is not refused."""
    data, server = dict(world.etcd.data), world.servers.by_host[candidate]
    dcs, process = dcs_state(data), world.patronis[candidate].process
    old = dcs.lock.holder if dcs.lock else data[SYNC].value.leader
    # A host that still runs as a primary is refused (`candidate_ready`): it would go on without a promotion.
    ready = server.running and not server.primary and not server.torn
    ready = ready and process is not None and process.alive
    if not ready or old == candidate or not world.etcd.serves(candidate) or _refused(dcs):
        return False
    if any(world.servers.by_host[name].running for name in DATABASES if name != candidate):
        return False
    plan = manual.Plan("hanbat", old, candidate, MoveKind.CROSS_SITE, False, {})
    told = manual.Signature("kim", "now", "an unknown amount", None)
    named = dcs.sync and replace(dcs.sync, value=str(dcs.sync.value))
    read: Any = data
    wanted = manual.force(replace(dcs, sync=named), read, plan, told)
    alone = Sync(candidate, frozenset())
    changes = tuple(replace(one, value=alone) if one.key == SYNC else one for one in wanted.changes)
    return world.etcd.commit(replace(wanted, changes=changes), "kim")


def _refused(dcs: DcsState) -> bool:
    under_way = dcs.operation is not None and dcs.operation.phase not in (Phase.DONE, Phase.ABORTED)
    config = dcs.config
    able = config is not None and not config.paused and config.sync_mode is SyncMode.ON
    return under_way or not able or dcs.hold_revision != 0


def start(world: World, hosts: list[str]) -> Heal:
    return lambda: [world.restart(f"patroni {host}") for host in hosts] and None


def signed(world: World, rng: random.Random) -> tuple[str, Heal]:
    """All but one have ended, a person signs for that one, and the others come back some time. Often it has
    not received anything for a while, and /sync does not name it any more.
    """
    candidate = rng.choice([host for host in DATABASES if host != holder(world)])
    site_of = world.network.site_of
    if rng.random() < 0.5:
        pair = site_of[holder(world)], site_of[candidate]
        world.engine.at(9000, cut(world, [pair], world.network.replication_cuts))
        world.run(rng.randrange(3000, 9000))
    hosts = [host for host in DATABASES if host != candidate]
    for host in hosts:
        stop(world, host)
    for _ in range(12):
        world.run(rng.randrange(50, 1000))
        if sign(world, candidate):
            break
    return f"signed for {candidate}", start(world, hosts)


def unheard(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A new primary ends as soon as it is promoted, and nobody has heard of its timeline; a person signs for
    another. Before that, the new primary's first try to take /sync has failed: it had been written anew.
    """
    old = holder(world)
    candidate, other = rng.sample(sorted(world.etcd.data[SYNC].value.members), 2)
    noted, done = world.promoted, []

    def laid(who: str) -> None:
        if who == candidate:
            world.etcd.apply([(SYNC, world.etcd.data[SYNC].value, 0)])
        else:
            world.ambushes["write"] = laid

    def promoted(host: str) -> None:
        noted(host)
        if host == candidate and not done:
            done.append(host)
            for name in (candidate, old):
                world.engine.at(1, lambda name=name: stop(world, name))

    for patroni in world.patronis.values():
        patroni.promotions = promoted
    world.ambushes["write"] = laid
    what = offer(world, candidate)
    for _ in range(30):
        world.run(500)
        if done and sign(world, other):
            break
    world.ambushes.pop("write", None)
    world.run(3000)
    for patroni in world.patronis.values():
        patroni.promotions = noted
    return f"{what}, which is unheard of, and a signature for {other}", start(world, [candidate, old])


def kept_unheard(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A handover's new primary is lost as soon as it is promoted: the member that it kept has not heard of
    its timeline, and takes its place.
    """
    candidate = rng.choice(sorted(world.etcd.data[SYNC].value.members))
    noted = world.promoted

    def promoted(host: str) -> None:
        noted(host)
        if host == candidate and candidate not in world.network.down:
            world.engine.at(1, lambda: world.power_off(candidate))

    for patroni in world.patronis.values():
        patroni.promotions = promoted
    what = offer(world, candidate)
    world.run(12_000)
    for patroni in world.patronis.values():
        patroni.promotions = noted
    return f"{what}, which is lost when it is promoted", lambda: world.power_on(candidate)


def begun_anew(world: World, rng: random.Random) -> tuple[str, Heal]:
    """The same; and the Patroni of the kept member ends while its PostgreSQL is being promoted. The next one
    begins before that is over, and gets no answer from etcd just then.
    """
    done: list[str] = []

    def look() -> None:
        for host, server in world.servers.by_host.items():
            lost = world.invariants.primary in world.network.down
            if not done and lost and not server.primary and server.is_ordered():
                done.append(host)
                world.kill(f"patroni {host}")
                world.restart(f"patroni {host}")
                etcd_away()

    def etcd_away() -> None:
        for site in SITES:
            world.etcd.stop(site, True)
            world.engine.at(1500, lambda site=site: world.etcd.stop(site, False))

    for delay in range(0, 12_000, 20):
        world.engine.at(delay, look)
    what, heal = kept_unheard(world, rng)
    return f"{what}; Patroni at {', '.join(done) or 'nobody'} begins anew", heal


def half_told(world: World, rng: random.Random) -> tuple[str, Heal]:
    """A candidate sleeps before it takes /sync, loses its lock, and wakes when the member that it keeps has
    the lock. That one reads in the middle of the events: the new /sync, and not yet the claim.
    """
    candidate = rng.choice(sorted(world.etcd.data[SYNC].value.members))
    asleep: list[Process] = []

    def laid(who: str) -> None:
        process = world.patronis[who].process
        if who != candidate or process is None:
            world.ambushes["write"] = laid
            return
        world.engine.pause(process, 60_000)
        asleep.append(process)
        world.engine.at(300, lambda: _lock_runs_out(world, candidate))

    def watch(events: tuple[Event, ...]) -> None:
        for event in events:
            if asleep and event.key == LEADER and event.value not in (None, candidate):
                sleeper = asleep.pop()
                sleeper.paused_until = world.engine.now
                sleeper.token += 1
                world.engine._push(world.engine.now + 1, sleeper, None)
                process = world.patronis[event.value].process
                if process is not None:
                    world.engine.pause(process, 60)
                world.etcd.torn = 1.0

    world.ambushes["write"] = laid
    world.etcd.on_change.append(watch)
    what = offer(world, candidate)
    world.run(9000)
    world.etcd.on_change.remove(watch)
    world.etcd.torn = world.settings.torn
    world.ambushes.pop("write", None)
    for process in asleep:
        process.paused_until = world.engine.now
    return f"{what}, which sleeps before it takes /sync", nothing


def _lock_runs_out(world: World, host: str) -> None:
    lock = world.etcd.get(LEADER)
    if lock is not None and lock.value == host:
        world.etcd.revoke(lock.lease)
