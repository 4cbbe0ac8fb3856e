"""What the steps of every scenario share: who is wanted where, waits that the service owes, the audit."""

from __future__ import annotations

import time
from collections.abc import Callable

from hanbat.topology import HostRole, ProtectionMode
from lab import health
from lab.drill import sight
from lab.drill.audit import CHECKS, audit
from lab.drill.case import CanaryPlan, Case, Check, Expectations
from lab.drill.drill import Drill
from lab.drill.driver import LoadProcess, Watched
from lab.drill.errors import NotSteady, ServiceFailed, WaitedTooLong
from lab.drill.matrix import MatrixScenario
from lab.drill.official import RATE_PERCENT, load_official
from lab.drill.operations import operations
from lab.drill.scenario import Scenario
from lab.drill.snapshot import read_hosts
from lab.drill.streams import canary_stream
from lab.errors import NotHealthy
from replication import sync_set

SETTLE_S = 1.0  # at least, after the cluster is whole
AFTER_BLOCK_S = 2.0  # and at least so long beyond the block period
NOT_OF_THE_MATRIX = frozenset({"official_as_published"})


def db_hosts(drill: Drill) -> frozenset[str]:
    return frozenset(host.name for host in drill.lab.topology.hosts_with(HostRole.DB))


def homes(drill: Drill) -> frozenset[str]:
    return frozenset(host.name for host in drill.home.hosts_with(HostRole.DB))


def wanted(drill: Drill) -> sight.Wanted:
    hosts, topology = db_hosts(drill), drill.lab.topology
    waits_for_nobody = topology.replication.mode is ProtectionMode.MAX_PERFORMANCE
    return sight.Wanted(hosts, 0 if waits_for_nobody else min(sync_set.node_count(topology), len(hosts) - 1))


def canaries(drill: Drill) -> frozenset[str]:
    return frozenset(canary_stream(drill.run, edge) for edge in drill.plan.edges)


def require_whole(drill: Drill, load: LoadProcess) -> None:
    want, at_home = wanted(drill), homes(drill)
    try:
        load.wait(
            lambda seen: sight.whole(seen, want, at_home),
            what="the cluster is whole at home",
            limit_s=drill.scenario.bounds.steady_s,
        )
    except WaitedTooLong as error:
        raise NotSteady(str(error)) from error


def required(load: LoadProcess, ok: Callable[[Watched], bool], what: str, limit_s: float) -> float:
    """A wait for something that the service owes: its absence is a failure, not a doubt."""
    try:
        return load.wait(ok, what=what, limit_s=limit_s)
    except WaitedTooLong as error:
        raise ServiceFailed(str(error)) from error


def stay_whole(drill: Drill, load: LoadProcess) -> None:
    """etcd, every application host and every edge are back, too, and it stays so until controllers may act.

    They do not act in the block period, which may have begun with the heal. Raises ServiceFailed.
    """
    topology, client, limit_s = drill.lab.topology, drill.lab.names.client, drill.scenario.bounds.rejoin_s
    try:
        health.wait(
            lambda: health.besides_database(topology, client),
            limit_s=limit_s,
            explain=lambda hosts: f"look at: {', '.join(hosts)}",
            progress=lambda text: None,
        )
    except NotHealthy as error:
        raise ServiceFailed(str(error)) from error
    until = drill.moments["heal"] + topology.failover.block_period.total_seconds() + AFTER_BLOCK_S
    time.sleep(max(SETTLE_S, until - drill.clock.now()))
    want = wanted(drill)
    required(load, lambda seen: sight.whole(seen, want, db_hosts(drill)), "every host still streams", limit_s)


def checks_of(scenario: Scenario) -> tuple[Callable[[Case], Check], ...]:
    """The checks of the audit that a scenario asks for."""
    if not isinstance(scenario, MatrixScenario):
        return CHECKS
    left_out = NOT_OF_THE_MATRIX | set(scenario.expect.not_asked)
    return tuple(check for check in CHECKS if check.__name__ not in left_out)


def judge(drill: Drill, load: LoadProcess) -> None:
    """The audit, with the primary that the probes name. Raises NotSteady when they name none, or two."""
    primary = sight.primary_of(load.watched)
    if primary is None:
        raise NotSteady("no primary, or two, when the audit wanted to begin")
    audit_now(drill, primary)


def audit_now(drill: Drill, primary: str | None) -> None:
    """Reads every database host that can be read, and audits every operation.

    Raises SnapshotFailed when none can be read.
    """
    hosts = tuple(sorted(db_hosts(drill)))
    drill.operations = operations(drill.attempts())
    reading = read_hosts(drill.lab, primary, hosts, drill.run)
    for host, why in reading.unread.items():
        drill.note("not_read", host, why)
    case = Case(drill.operations, reading.snapshots, expectations(drill, primary, hosts), reading.unread)
    drill.audit = audit(case, checks_of(drill.scenario))
    lost = "unknown" if drill.audit.lost is None else drill.audit.lost
    drill.note(
        "audited",
        "",
        f"{drill.audit.acknowledged} acknowledged, {lost} lost, {drill.audit.duplicated} duplicated "
        f"({drill.audit.retried_unknown} were tried again after an unknown outcome)",
    )


def expectations(drill: Drill, primary: str | None, hosts: tuple[str, ...]) -> Expectations:
    """What the audit holds the run against. Of a drill that was broken off: until then."""
    moments = drill.moments
    start, stop = moments["load"] + 1.0, moments.get("stopped", moments.get("broken_off"))
    assert stop is not None
    plans = tuple(
        CanaryPlan(stream, drill.plan.canary_rate_per_s, start, stop) for stream in sorted(canaries(drill))
    )
    return Expectations(
        run=drill.run,
        hosts=hosts,
        primary=primary,
        official=load_official(),
        official_tender=drill.official_tender,
        rate_percent=RATE_PERCENT,
        canaries=plans,
        outage_limit_s=drill.scenario.bounds.outage_s,
        drained="stopped" in moments,
    )
