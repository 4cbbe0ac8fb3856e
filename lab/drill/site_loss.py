"""The scenario `site-loss`, step by step: the primary site's power is cut in the middle of a tender."""

from __future__ import annotations

import time

from hanbat.topology import HostRole
from lab.drill import sight
from lab.drill.drill import Drill
from lab.drill.driver import LoadProcess
from lab.drill.errors import FaultWithoutEffect, ServiceFailed
from lab.drill.handover import hand_over
from lab.drill.stages import canaries, db_hosts, homes, judge, require_whole, required, stay_whole, wanted
from lab.drill.streams import canary_stream
from lab.faults import make_fault


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


def served(drill: Drill) -> frozenset[str]:
    """Client streams that have a way in while the home site is lost: the other edges', and the bidders'."""
    left = frozenset(canary_stream(drill.run, edge) for edge in drill.plan.edges if edge != drill.home.name)
    return left | {f"{drill.run}:bidders"}


def steady(drill: Drill, load: LoadProcess) -> None:
    """The cluster is whole at home and every stream is acknowledged, before anything is broken."""
    bounds = drill.scenario.bounds
    load.wait(lambda seen: seen.ready, what="the load is ready", limit_s=bounds.steady_s)
    require_whole(drill, load)
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
    require_whole(drill, load)
    drill.note("steady", sight.primary_of(load.watched) or "", "every standby streams, the sync set is whole")


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
    promoted = required(
        load, lambda seen: (sight.primary_of(seen) or "") in db_hosts(drill) - gone, "a new primary", limit
    )
    drill.note("promoted", sight.primary_of(load.watched) or "", "it says that it is the primary")
    # The edge that stood in the lost site is gone with it; its clients come in at the other ones.
    streams = served(drill)
    required(
        load,
        lambda seen: sight.acknowledging(seen, streams, promoted - 1.0),
        "acknowledged writes at every edge that is left",
        limit,
    )
    drill.moments["resumed"] = drill.note(
        "service_back", drill.backup.name, f"{drill.clock.now() - since:.1f} s after the cut"
    )


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
    required(
        load,
        lambda seen: sight.whole(seen, want, away),
        "every host streams again",
        drill.scenario.bounds.rejoin_s,
    )
    drill.note("rejoined", drill.home.name, "every standby streams, the sync set is whole")
    stay_whole(drill, load)
    drill.moments["rejoined"] = drill.clock.now()


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
    hand_over(drill, candidate)
    want, streams, since = wanted(drill), canaries(drill), drill.clock.now()
    required(
        load,
        lambda seen: (
            sight.whole(seen, want, frozenset({candidate})) and sight.acknowledging(seen, streams, since)
        ),
        "home again with every standby",
        drill.scenario.bounds.switchover_s,
    )
    drill.moments["home"] = drill.note("home", candidate, "the primary is at home, every standby streams")
