"""The scenario `site-loss`, step by step: the primary site's power is cut in the middle of a tender."""

from __future__ import annotations

import time

from hanbat.topology import HostRole, ProtectionMode
from lab.drill import sight
from lab.drill.audit import audit
from lab.drill.case import CanaryPlan, Case, Expectations
from lab.drill.drill import Drill
from lab.drill.driver import LoadProcess
from lab.drill.errors import FaultWithoutEffect, NotSteady, ServiceFailed, WaitedTooLong
from lab.drill.journal import attempts
from lab.drill.official import RATE_PERCENT, load_official
from lab.drill.operations import operations
from lab.drill.snapshot import snapshots
from lab.drill.streams import canary_stream
from lab.faults import make_fault
from replication import sync_set

PATRONICTL = "/opt/hanbat/bin/patronictl"
PATRONI_CONFIG = "/etc/hanbat/patronictl.yml"  # of root


def play(drill: Drill, load: LoadProcess) -> None:
    """All steps in order. Raises what the first failing step raises; the fault is healed in any case."""
    fault = make_fault(drill.lab, drill.scenario.fault, drill.home.name)
    with drill.step("steady"):
        steady(drill, load)
    try:
        with drill.step("fault"):
            cut(drill, load, fault)
        with drill.step("takeover"):
            takeover(drill, load)
        with drill.step("last_third"):
            facts = load.do("last_third", limit_s=drill.scenario.bounds.bids_s)
            drill.note("last_third", drill.backup.name, f"{facts['bids']} bids received after the loss")
        with drill.step("opening"):
            open_official(drill, load)
    finally:
        heal(drill, fault)
    with drill.step("rejoin"):
        rejoin(drill, load)
    with drill.step("switchover"):
        go_home(drill, load)
    with drill.step("quiet"):
        facts = load.do("quiet", limit_s=drill.scenario.bounds.quiet_s)
        drill.moments["stopped"] = facts["stopped_at"]
        drill.note("quiet", "", f"load stopped; {facts['lives_done']} whole lives of a tender")
    with drill.step("audit"):
        judge(drill, load)


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


def served(drill: Drill) -> frozenset[str]:
    """Client streams that have a way in while the home site is lost: the other edges', and the bidders'."""
    left = frozenset(canary_stream(drill.run, edge) for edge in drill.plan.edges if edge != drill.home.name)
    return left | {f"{drill.run}:bidders"}


def steady(drill: Drill, load: LoadProcess) -> None:
    """The cluster is whole at home and every stream is acknowledged, before anything is broken."""
    bounds = drill.scenario.bounds
    load.wait(lambda seen: seen.ready, what="the load is ready", limit_s=bounds.steady_s)
    _require_whole(drill, load)
    load.do("prepare", limit_s=bounds.prepare_s)
    drill.moments["load"] = drill.note(
        "load_running", "", "canaries, bidders, lives of tenders, official tender"
    )
    facts = load.do("start", limit_s=bounds.prepare_s)
    drill.official_tender = str(facts["tender"])
    drill.moments["deadline"] = facts["deadline_at"]
    drill.note("first_bids", "", f"{drill.plan.official_first} of the official bidders' bids received")
    since = drill.clock.now()
    time.sleep(bounds.steady_hold_s)
    streams = canaries(drill) | {f"{drill.run}:bidders"}
    load.wait(
        lambda seen: sight.acknowledging(seen, streams, since + bounds.steady_hold_s - 1.0),
        what="all streams are acknowledged",
        limit_s=bounds.steady_s,
    )
    _require_whole(drill, load)
    drill.note("steady", sight.primary_of(load.watched) or "", "every standby streams, the sync set is whole")


def _require_whole(drill: Drill, load: LoadProcess) -> None:
    want, at_home = wanted(drill), homes(drill)
    try:
        load.wait(
            lambda seen: sight.whole(seen, want, at_home),
            what="the cluster is whole at home",
            limit_s=drill.scenario.bounds.steady_s,
        )
    except WaitedTooLong as error:
        raise NotSteady(str(error)) from error


def cut(drill: Drill, load: LoadProcess, fault) -> None:
    """Cuts the power and proves it twice: by the fault's own word, and by probes that get no answer."""
    drill.moments["fault"] = drill.clock.now()
    fault.inject()
    drill.note("fault_active", drill.home.name, fault.describe())
    if not fault.active():
        raise FaultWithoutEffect(f"{fault.name} {drill.home.name}: the machines still run")
    since, gone = drill.clock.now(), homes(drill)
    load.wait(
        lambda seen: sight.unreachable(seen, gone, since),
        what="the site is gone",
        limit_s=drill.scenario.bounds.fault_proof_s,
    )
    drill.note("fault_proved", drill.home.name, "no database host of the site answers")


def takeover(drill: Drill, load: LoadProcess) -> None:
    """Waits for a primary elsewhere, and for every stream to be acknowledged again."""
    since, gone, limit = drill.moments["fault"], homes(drill), drill.scenario.bounds.takeover_s
    promoted = _required(
        load, lambda seen: (sight.primary_of(seen) or "") in db_hosts(drill) - gone, "a new primary", limit
    )
    drill.note("promoted", sight.primary_of(load.watched) or "", "it says that it is the primary")
    # The edge that stood in the lost site is gone with it; its clients come in at the other ones.
    streams = served(drill)
    _required(
        load,
        lambda seen: sight.acknowledging(seen, streams, promoted - 1.0),
        "acknowledged writes at every edge that is left",
        limit,
    )
    drill.moments["resumed"] = drill.note(
        "service_back", drill.backup.name, f"{drill.clock.now() - since:.1f} s after the cut"
    )


def _required(load: LoadProcess, ok, what: str, limit_s: float) -> float:
    """A wait for something that the service owes: its absence is a failure, not a doubt."""
    try:
        return load.wait(ok, what=what, limit_s=limit_s)
    except WaitedTooLong as error:
        raise ServiceFailed(str(error)) from error


def open_official(drill: Drill, load: LoadProcess) -> None:
    """Waits for the deadline, then opening, award, contract and payments at the backup."""
    left = drill.moments["deadline"] - drill.clock.now()
    if left > 0:
        drill.note("waiting_for_deadline", "", f"{left:.1f} s")
    facts = load.do("open", limit_s=max(0.0, left) + drill.scenario.bounds.opening_s)
    drill.opening = facts["opening"]
    price = facts["opening"]["scheduled_price"]
    drill.moments["opened"] = drill.note(
        "opened",
        sight.primary_of(load.watched) or "",
        f"scheduled price {price:,} won; awarded, contracted, paid",
    )


def heal(drill: Drill, fault) -> None:
    """Power on, in any case: also when a step before failed."""
    with drill.step("heal"):
        drill.moments["heal"] = drill.clock.now()
        fault.heal()
        drill.note("healed", drill.home.name, "power is on")


def rejoin(drill: Drill, load: LoadProcess) -> None:
    """The machines that lost power come back by themselves as healthy standbys."""
    want, away = wanted(drill), db_hosts(drill) - homes(drill)
    _required(
        load,
        lambda seen: sight.whole(seen, want, away),
        "every host streams again",
        drill.scenario.bounds.rejoin_s,
    )
    drill.moments["rejoined"] = drill.note(
        "rejoined", drill.home.name, "every standby streams, the sync set is whole"
    )


def go_home(drill: Drill, load: LoadProcess) -> None:
    """A planned switchover to the home site, to a standby of the sync set."""
    leader = sight.primary_of(load.watched)
    if leader is None:
        raise ServiceFailed("no primary, or two, before the switchover home")
    sync = sight.sync_set_of(load.watched)
    candidates = [host.name for host in drill.home.hosts_with(HostRole.DB) if host.name in sync]
    if not candidates and wanted(drill).sync_count:
        raise ServiceFailed(f"no host of {drill.home.name} is in the sync set {sorted(sync)}")
    candidate = candidates[0] if candidates else min(homes(drill))
    drill.moments["switchover"] = drill.note("switchover", candidate, f"planned, from {leader}")
    hand_over(drill, leader, candidate)
    want, streams, since = wanted(drill), canaries(drill), drill.clock.now()
    _required(
        load,
        lambda seen: (
            sight.whole(seen, want, frozenset({candidate})) and sight.acknowledging(seen, streams, since)
        ),
        "home again with every standby",
        drill.scenario.bounds.switchover_s,
    )
    drill.moments["home"] = drill.note("home", candidate, "the primary is at home, every standby streams")


def hand_over(drill: Drill, leader: str, candidate: str) -> None:
    """Patroni's own switchover. A refusal changes nothing, so it is asked again for a while."""
    argv = [
        PATRONICTL,
        "-c",
        PATRONI_CONFIG,
        "switchover",
        "--leader",
        leader,
        "--candidate",
        candidate,
        "--force",
    ]
    end = drill.clock.now() + drill.scenario.bounds.switchover_s
    while True:
        done = drill.lab.run(leader, argv, timeout_s=drill.scenario.bounds.switchover_s)
        said = (done.stdout + done.stderr).strip()
        if done.returncode == 0 and "Successfully switched over" in said:
            return
        words = " ".join(line for line in said.splitlines() if not line.startswith(("+", "|")))[-300:]
        if drill.clock.now() > end:
            raise ServiceFailed(f"patronictl switchover to {candidate}: {words}")
        drill.note("switchover_refused", candidate, words)
        time.sleep(1.0)


def judge(drill: Drill, load: LoadProcess) -> None:
    """Reads every database host and audits every operation."""
    primary = sight.primary_of(load.watched)
    if primary is None:
        raise NotSteady("no primary, or two, when the audit wanted to begin")
    hosts = tuple(sorted(db_hosts(drill)))
    drill.operations = operations(attempts(drill.evidence.operations))
    case = Case(
        operations=drill.operations,
        snapshots=snapshots(drill.lab, primary, hosts, drill.run),
        expect=expectations(drill, primary, hosts),
    )
    drill.audit = audit(case)
    drill.note(
        "audited",
        "",
        f"{drill.audit.acknowledged} acknowledged, {drill.audit.lost} lost, "
        f"{drill.audit.duplicated} duplicated",
    )


def expectations(drill: Drill, primary: str, hosts: tuple[str, ...]) -> Expectations:
    """What the audit holds the run against."""
    plans = tuple(
        CanaryPlan(
            stream, drill.plan.canary_rate_per_s, drill.moments["load"] + 1.0, drill.moments["stopped"]
        )
        for stream in sorted(canaries(drill))
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
    )
