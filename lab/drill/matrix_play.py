"""Plays any scenario of the fault matrix: steady, break, watch, hold, heal, whole again, home, audit."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext

from lab.drill import matrix, rest, sight
from lab.drill.breaker import Breaker
from lab.drill.cast import cast_of
from lab.drill.drill import Drill
from lab.drill.driver import LoadProcess
from lab.drill.errors import NotSteady, ServiceFailed
from lab.drill.handover import hand_over, has_hanbat_switchover
from lab.drill.insiders import clients_inside
from lab.drill.matrix import Expect, MatrixScenario
from lab.drill.snapshot import accepts_writes
from lab.drill.stages import (
    SETTLE_S,
    canaries,
    db_hosts,
    homes,
    judge,
    require_whole,
    required,
    stay_whole,
    wanted,
)
from lab.drill.streams import canary_stream

LIFE_S = 30.0  # within this a life of a tender ends, once the service is whole
NOT_AT_HOME = "it was not at home before the drill"


def play(drill: Drill, load: LoadProcess) -> None:
    """All steps. What the service fails to do is written down, and the drill goes on to its audit."""
    scenario = scenario_of(drill)
    with drill.step("steady"):
        steady(drill, load)
    with _insiders(drill, scenario.expect):
        under_fault(drill, load, scenario.expect)
        with drill.step("rejoin"), drill.owed():
            rejoin(drill, load, scenario.expect)
    with drill.step("switchover"), drill.owed():
        go_home(drill, load)
    with drill.step("quiet"):
        with drill.owed():
            required(
                load,
                lambda seen: seen.status.get("lives_done", 0) >= 1,
                "a whole life of a tender, its payments among it",
                LIFE_S,
            )
        facts = load.do("quiet", limit_s=drill.scenario.bounds.quiet_s)
        drill.moments["stopped"] = facts["stopped_at"]
        drill.note("quiet", "", f"load stopped; {facts['lives_done']} whole lives of a tender")
    with drill.step("audit"):
        judge(drill, load)


def under_fault(drill: Drill, load: LoadProcess, expect: Expect) -> None:
    """Break, watch, hold; healed in any case."""
    breaker = Breaker(drill)
    try:
        with drill.step("fault"):
            breaker.strike()
        with drill.step("takeover"), drill.owed():
            watch(drill, load, expect)
        with drill.step("hold"), drill.owed():
            hold(drill, load, expect)
    finally:
        with drill.step("heal"):
            breaker.mend()


def _insiders(drill: Drill, expect: Expect) -> AbstractContextManager[None]:
    if expect.insiders is None:
        return nullcontext()
    (site,) = matrix.resolve(expect.insiders.site, drill.cast)
    return clients_inside(drill, site, expect.insiders)


def scenario_of(drill: Drill) -> MatrixScenario:
    """The drill's scenario. Raises TypeError for one that is not of the matrix."""
    if not isinstance(drill.scenario, MatrixScenario):
        raise TypeError(f"{drill.scenario.name} is no scenario of the matrix")
    return drill.scenario


def principal(drill: Drill) -> str:
    """Where the primary belongs: the first database host of the primary site."""
    return next(host.name for host in drill.lab.topology.hosts if host.name in homes(drill))


def served(drill: Drill, expect: Expect) -> frozenset[str]:
    """Client streams that have a way in while the fault lasts."""
    closed = matrix.resolve_all(expect.no_way_in, drill.cast)
    edges = frozenset(canary_stream(drill.run, edge) for edge in drill.plan.edges if edge not in closed)
    return edges | {f"{drill.run}:bidders"}


def steady(drill: Drill, load: LoadProcess) -> None:
    """The primary at home, the sync set whole, the block period over, every stream acknowledged."""
    bounds = drill.scenario.bounds
    load.wait(lambda seen: seen.ready, what="the load is ready", limit_s=bounds.steady_s)
    require_whole(drill, load)
    if sight.primary_of(load.watched) != principal(drill):
        drill.note("switchover", principal(drill), NOT_AT_HOME)
        hand_over(drill, principal(drill))
    load.do("prepare", limit_s=bounds.prepare_s)
    _rest(drill, load)
    drill.moments["load"] = drill.note("load_running", "", "canaries, bidders, lives of tenders")
    load.do("start", limit_s=bounds.prepare_s)
    since = drill.clock.now() + bounds.steady_hold_s
    time.sleep(bounds.steady_hold_s)
    streams = canaries(drill) | {f"{drill.run}:bidders"}
    load.wait(
        lambda seen: sight.acknowledging(seen, streams, since - 1.0),
        what="all streams are acknowledged",
        limit_s=bounds.steady_s,
    )
    has_hanbat_switchover(drill, principal(drill))
    require_whole(drill, load)
    drill.cast = cast_of(drill, load)
    if drill.cast["primary"] != (principal(drill),):
        raise NotSteady(f"the primary is {drill.cast['primary'][0]}, not {principal(drill)}")
    drill.note("steady", principal(drill), "every standby streams, the sync set is whole")


def _rest(drill: Drill, load: LoadProcess) -> None:
    """Waits for the end of the block period, in which the controllers would not act."""
    load.wait(
        lambda seen: rest.operation_revision(seen) is not None,
        what="etcd tells the controllers' last operation",
        limit_s=drill.scenario.bounds.steady_s,
    )
    revision = rest.operation_revision(load.watched) or 0
    now = time.monotonic()
    block_s = drill.lab.topology.failover.block_period.total_seconds()
    left = rest.rest_s(revision, rest.remember(drill.lab.state, revision, now), now, block_s)
    if left:
        drill.note("block_period", "", f"{left:.1f} s until the controllers may act again")
        time.sleep(left)


def watch(drill: Drill, load: LoadProcess, expect: Expect) -> None:
    """Waits for the service that is owed while the fault lasts."""
    if expect.outage_expected:
        return
    allowed, streams = matrix.resolve_all(expect.primary_at, drill.cast), served(drill, expect)
    limit, struck = drill.scenario.bounds.takeover_s, drill.moments["struck"]
    where = " or ".join(sorted(allowed))
    found = required(
        load, lambda seen: (sight.serving(seen) or "") in allowed, f"a primary at {where}", limit
    )
    primary = sight.serving(load.watched) or ""
    moved = (primary,) != drill.cast["primary"]
    if moved:
        drill.note("promoted", primary, "it says that it is the primary")
    since = found - 1.0 if moved else struck
    required(
        load,
        lambda seen: sight.acknowledging(seen, streams, since),
        "acknowledged writes at every edge with a way in",
        limit,
    )
    drill.moments["resumed"] = drill.note(
        "service_back" if moved else "service_goes_on", primary, f"{drill.clock.now() - struck:.1f} s after"
    )
    _remember_operation(drill, load)


def hold(drill: Drill, load: LoadProcess, expect: Expect) -> None:
    """The fault lasts a while, and the service goes on where it is (or does not, as expected)."""
    if drill.failures:  # it did not come: what is left to see is the heal
        drill.served_under = sight.serving(load.watched) or asked(drill)
        return
    time.sleep(expect.hold_s)
    drill.served_under = sight.serving(load.watched)  # of nobody where nobody is to serve
    if expect.outage_expected:
        drill.note("still_waiting", "", "nobody serves, as it must be" if not drill.served_under else "")
        return
    streams, since = served(drill, expect), drill.clock.now() - 0.5
    required(
        load,
        lambda seen: sight.acknowledging(seen, streams, since),
        "acknowledged writes at the end of the hold",
        drill.scenario.bounds.takeover_s,
    )
    drill.served_under = sight.serving(load.watched) or asked(drill)
    drill.note("held", drill.served_under or "", f"{expect.hold_s:g} s under the fault")


def asked(drill: Drill) -> str | None:
    """The one database host that is no standby by its own PostgreSQL's word; None when none or several are.

    For when neither etcd nor Patroni says anything: it is asked inside the machine.
    """
    told = accepts_writes(drill.lab, sorted(db_hosts(drill)))
    found = [host for host, yes in told.items() if yes]
    return found[0] if len(found) == 1 else None


def rejoin(drill: Drill, load: LoadProcess, expect: Expect) -> None:
    """All machines are whole again by themselves, and every client is served; looked at for a while."""
    want, limit = wanted(drill), drill.scenario.bounds.rejoin_s
    streams, since = canaries(drill) | {f"{drill.run}:bidders"}, drill.moments["heal"]
    if expect.outage_expected:
        required(
            load,
            lambda seen: sight.acknowledging(seen, streams, since),
            "acknowledged writes after the heal",
            limit,
        )
        drill.moments["resumed"] = drill.note("service_back", sight.serving(load.watched) or "", "")
    required(load, lambda seen: sight.whole(seen, want, db_hosts(drill)), "every host streams again", limit)
    drill.note(
        "rejoined", sight.primary_of(load.watched) or "", "every standby streams, the sync set is whole"
    )
    stay_whole(drill, load)
    since = drill.clock.now() - SETTLE_S
    required(
        load,
        lambda seen: sight.acknowledging(seen, streams, since),
        "acknowledged writes at every edge",
        limit,
    )
    _remember_operation(drill, load)
    drill.moments["rejoined"] = drill.clock.now()


def _remember_operation(drill: Drill, load: LoadProcess) -> None:
    revision = rest.operation_revision(load.watched)
    if revision is not None:
        rest.remember(drill.lab.state, revision, time.monotonic())


def go_home(drill: Drill, load: LoadProcess) -> None:
    """The primary back to its own host by a planned switchover, if it moved."""
    leader, home = sight.primary_of(load.watched), principal(drill)
    if leader is None:
        raise ServiceFailed("no primary, or two, before the switchover home")
    if leader == home:
        return
    drill.moments["switchover"] = drill.note("switchover", home, f"planned, from {leader}")
    hand_over(drill, home)
    want, streams, since = wanted(drill), canaries(drill), drill.clock.now()
    required(
        load,
        lambda seen: sight.whole(seen, want, frozenset({home})) and sight.acknowledging(seen, streams, since),
        "home again with every standby",
        drill.scenario.bounds.switchover_s,
    )
    _remember_operation(drill, load)
    drill.moments["home"] = drill.note("home", home, "the primary is at home, every standby streams")
