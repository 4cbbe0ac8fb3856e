"""Runs one drill from first to last, and leaves evidence and a clean machine whatever happens."""

from __future__ import annotations

import math
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hanbat.errors import HanbatError
from hanbat.topology import HostRole, SiteRole
from lab import record
from lab.drill import (
    computer,
    matrix_checks,
    matrix_play,
    matrix_result,
    report,
    site_loss,
    site_loss_checks,
)
from lab.drill.case import CheckVerdict
from lab.drill.catalogue import scenario_named
from lab.drill.clock import Clock
from lab.drill.drill import Drill, Report
from lab.drill.driver import LoadProcess
from lab.drill.errors import Interrupted, ServiceFailed
from lab.drill.evidence import Evidence
from lab.drill.guard import Guard
from lab.drill.journal import records
from lab.drill.late_audit import audit_late
from lab.drill.matrix import MatrixScenario
from lab.drill.matrix_scenarios import MATRIX
from lab.drill.measure import measure
from lab.drill.plan import LoadPlan
from lab.drill.result import first_result, known_of, result
from lab.drill.scenario import Scenario
from lab.drill.soak import SOAK
from lab.drill.stages import db_hosts
from lab.laboratory import Lab
from replication import unprotected

PLAYS: dict[str, Callable[[Drill, LoadProcess], None]] = {
    "site-loss": site_loss.play,
    **dict.fromkeys((*MATRIX, SOAK.name), matrix_play.play),
}
# Few parties and quick lives: a drill of the matrix is short, and has no official tender.
MATRIX_LOAD: dict[str, Any] = {
    "official": False,
    "companies": 24,
    "bidder_tenders": 24,
    "bidder_rate_per_s": 4.0,
    "lives": 2,
    "life_pause_s": 0.3,
}
AROUND_S = 60.0  # a drill lasts so much longer than its hold, or less
INTERRUPTED = "interrupted"
LOG_LINES = 4000
LOG_LIMIT_S = 15.0
PORTS = {"patroni": 8008, "lsn_ring": 8010, "etcd": 2379}


@dataclass(slots=True)
class Ending:
    """Why a drill did not come to its end, if it did not."""

    service_failure: str | None = None
    broken_off: str | None = None

    def add(self, why: str) -> None:
        """One more reason; those before it stay."""
        self.broken_off = f"{self.broken_off}; {why}" if self.broken_off else why

    def take(self, error: Exception, drill: Drill) -> None:
        """What ended the play. An error that nobody expected leaves its trace in the logs."""
        if isinstance(error, ServiceFailed):
            self.service_failure = str(error)
            drill.failures.append(str(error))
        elif isinstance(error, HanbatError):
            self.add(f"[{error.code:03d}] {error}")
        else:
            self.add(f"{type(error).__name__}: {error}")
            drill.evidence.write_log("drill-error.log", "".join(traceback.format_exception(error)))


def run_drill(
    lab: Lab, name: str, seed: int, evidence_root: Path, show: Report, *, keep: bool = False
) -> tuple[Evidence, dict[str, Any]]:
    """Runs a scenario; answers its evidence and the content of its result.json.

    The lab is brought up if it is not, and then taken down again unless `keep`. Raises UnknownScenario.
    Everything else that goes wrong is in the result.
    """
    scenario = scenario_named(name)
    clock = Clock.anchored_now()
    started = datetime.fromtimestamp(clock.wall, UTC)
    run_id = f"{name}-{started:%Y%m%dT%H%M%SZ}-{seed}"
    evidence = Evidence.create(
        evidence_root.resolve(), run_id, first_result(scenario, run_id, seed, started.isoformat())
    )
    drill = Drill(
        lab,
        scenario,
        run_id,
        seed,
        clock,
        _plan(lab, scenario, run_id, seed, clock, evidence),
        evidence,
        show,
    )
    ending = Ending()
    ours = not lab.is_up()
    with _signals() as ears, Guard(lab, evidence, ours and not keep):
        try:
            try:
                _play_to_an_audit(drill, ours, ending)
            finally:
                ears.deaf = True  # from here on it cleans up, bounded in time, and is not interrupted
        except (Interrupted, KeyboardInterrupt) as error:
            ending.add(f"{INTERRUPTED}: {error}" if str(error) else INTERRUPTED)
        drill.note("ended", "", ending.service_failure or ending.broken_off or "all steps done")
        _clean_up(drill, ours and not keep, ending)
        final = _conclude(drill, ending, started.isoformat())
    return evidence, final


def _play_to_an_audit(drill: Drill, bring_up: bool, ending: Ending) -> None:
    """Plays the scenario. When it is broken off, what was acknowledged by then is audited all the same.

    Raises Interrupted or KeyboardInterrupt only: who stops a drill waits for no audit.
    """
    try:
        if bring_up:
            with drill.step("lab_up"):
                drill.lab.up(lambda text: drill.report(drill.clock.now() - drill.clock.wall, "lab", "", text))
        _play(drill)
    except Interrupted:
        raise
    except Exception as error:  # whatever it is, the machine is cleaned and the evidence says so
        ending.take(error, drill)
        audit_late(drill)


def _play(drill: Drill) -> None:
    known = record.read(drill.lab.names)
    drill.wan = known.wan if known else computer.UNKNOWN
    plan = drill.plan_with_key()
    plan.write(drill.evidence.plan)
    log = drill.evidence.folder / "logs" / "load.log"
    with LoadProcess(drill.lab.client_command, drill.evidence.plan, log, drill.clock) as load:
        try:
            PLAYS[drill.scenario.name](drill, load)
        except BaseException:
            drill.moments["broken_off"] = drill.clock.now()
            raise


def _plan(lab: Lab, scenario: Scenario, run_id: str, seed: int, clock: Clock, evidence: Evidence) -> LoadPlan:
    """The load's plan, without the operator's key: the lab may not have made it yet."""
    topology = lab.topology
    databases = topology.hosts_with(HostRole.DB)
    voters = sorted(
        topology.hosts_with(HostRole.ETCD),
        key=lambda host: topology.site_of(host.name).role is not SiteRole.WITNESS,
    )
    return LoadPlan(
        run="r" + sha256(run_id.encode()).hexdigest()[:8],
        seed=seed,
        wall=clock.wall,
        monotonic=clock.monotonic,
        operator_key="",
        edges={site.name: f"http://{site.edge}" for site in topology.sites if site.edge},
        patroni={host.name: f"http://{host.address}:{PORTS['patroni']}" for host in databases},
        lsn_ring={host.name: f"http://{host.address}:{PORTS['lsn_ring']}" for host in databases},
        etcd={host.name: f"http://{host.address}:{PORTS['etcd']}" for host in voters},
        leader_key=f"/service/{topology.cluster}/leader",
        sync_key=f"/service/{topology.cluster}/sync",
        operation_key=f"/hanbat/{topology.cluster}/operation",
        operations_path=str(evidence.operations),
        probes_path=str(evidence.probes),
        official_bidding_s=scenario.official_bidding_s,
        max_s=scenario.bounds.load_s,
        **(_matrix_load(scenario) if isinstance(scenario, MatrixScenario) else {}),
    )


def _matrix_load(scenario: MatrixScenario) -> dict[str, Any]:
    """A long hold needs more tenders: each company bids once in each, and the bids must not run out."""
    bids = MATRIX_LOAD["bidder_rate_per_s"] * (scenario.expect.hold_s + AROUND_S)
    tenders = max(MATRIX_LOAD["bidder_tenders"], math.ceil(bids / MATRIX_LOAD["companies"]))
    return MATRIX_LOAD | {"bidder_tenders": tenders}


def _clean_up(drill: Drill, take_down: bool, ending: Ending) -> None:
    """Faults healed, logs kept, the lab down if it is ours. What fails here is said, and the rest goes on."""
    jobs: list[tuple[str, Callable[[], None]]] = [
        ("logs", lambda: _keep_logs(drill)),
        ("keys", lambda: drill.evidence.plan.unlink(missing_ok=True)),
    ]
    if take_down:
        jobs.append(
            (
                "lab_down",
                lambda: drill.lab.down(
                    lambda text: drill.report(drill.clock.now() - drill.clock.wall, "lab", "", text)
                ),
            )
        )
    for name, job in jobs:
        try:
            with drill.step(name):
                job()
        except (HanbatError, OSError) as error:
            ending.add(f"{name}: {error}")


def _keep_logs(drill: Drill) -> None:
    if not drill.lab.is_up():
        return

    def keep(host: str) -> None:
        argv = ["journalctl", "--no-pager", "-o", "short-precise", "-u", "hanbat-*", "-n", str(LOG_LINES)]
        try:
            text = drill.lab.run(host, argv, timeout_s=LOG_LIMIT_S).stdout
        except HanbatError as error:
            text = f"no log of this machine: {error}\n"
        drill.evidence.write_log(f"{host}.log", text)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(keep, [host.name for host in drill.lab.topology.hosts]))
        list(pool.map(lambda host: _keep_record(drill, host), sorted(db_hosts(drill))))


def _keep_record(drill: Drill, host: str) -> None:
    """The host's record of unprotected intervals: empty when it never wrote one, no file when not read."""
    script = f"test ! -e {unprotected.PATH} || cat {unprotected.PATH}"
    try:
        read = drill.lab.run(host, ["sh", "-c", script], timeout_s=LOG_LIMIT_S)
    except HanbatError:
        return
    if read.returncode == 0:
        drill.evidence.unprotected(host).write_text(read.stdout, encoding="utf-8")


def _conclude(drill: Drill, ending: Ending, started: str) -> dict[str, Any]:
    """Measures, judges, and writes result.json, audit.json and the report."""
    evidence, topology = drill.evidence, drill.lab.topology
    if isinstance(drill.scenario, MatrixScenario):
        final = matrix_result.result_of(drill, ending.broken_off, started) | surroundings(drill)
        return _write(drill, final)
    candidates = frozenset(
        h.name
        for site in topology.sites
        if site.role is not SiteRole.PRIMARY
        for h in site.hosts_with(HostRole.DB)
    )
    attempts, probes = drill.attempts(), list(records(evidence.probes))
    measured = measure(
        attempts,
        probes,
        drill.moments,
        candidates,
        frozenset({drill.home.name}),
    )
    # A drill that was broken off did not see what it had to hold.
    held = () if ending.broken_off else site_loss_checks.judge(drill, attempts, probes)
    known = replace(
        known_of(drill, measured, ending.service_failure, ending.broken_off),
        broken=matrix_checks.reasons(held, CheckVerdict.FAILED),
        doubtful=matrix_checks.reasons(held, CheckVerdict.UNKNOWN),
    )
    final = result(drill, measured, known, started) | {
        "holds": {"ko": drill.scenario.summary_ko, "en": drill.scenario.summary_en},
        "expectations": matrix_checks.as_plain(held),
    }
    return _write(drill, final | surroundings(drill))


def _write(drill: Drill, final: dict[str, Any]) -> dict[str, Any]:
    evidence = drill.evidence
    evidence.write_json("audit.json", drill.audit.as_dict() if drill.audit else None)
    evidence.write_json("result.json", final)
    evidence.write_text("report.html", report.render(report.read(evidence)))
    return final


def surroundings(drill: Drill) -> dict[str, Any]:
    """What the drill ran on: settings, topology, computer, versions."""
    topology = drill.lab.topology
    settings = topology.model_dump(mode="json")
    return {
        "settings": {
            "scenario": drill.scenario.as_dict(),
            "load": _load_settings(drill.plan),
            "replication": settings["replication"],
        },
        "topology": settings["sites"],
        "computer": computer.computer() | {"wan": drill.wan, "wan_settings": settings["wan"]},
        "versions": {
            "hanbat": version("hanbat"),
            "commit": computer.commit_of(drill.lab.clone),
            "patroni": version("patroni"),
            "postgresql": topology.postgresql.version,
        },
        "seconds": round(drill.clock.now() - drill.clock.wall, 1),
    }


def _load_settings(plan: LoadPlan) -> dict[str, Any]:
    names = (
        "canary_rate_per_s",
        "bidder_rate_per_s",
        "lives",
        "official_first",
        "official_bidding_s",
        "request_timeout_s",
        "connect_timeout_s",
        "probe_interval_s",
    )
    return {name: getattr(plan, name) for name in names}


@dataclass(slots=True)
class Ears:
    """Whether signals are still listened to."""

    deaf: bool = False


@contextmanager
def _signals() -> Iterator[Ears]:
    """The first Ctrl-C, SIGTERM or SIGHUP becomes one Interrupted in the main thread."""
    ears = Ears()

    def stop(number: int, frame: object) -> None:
        if not ears.deaf:
            ears.deaf = True
            raise Interrupted(f"signal {signal.Signals(number).name}")

    if threading.current_thread() is not threading.main_thread():
        yield ears  # Python sets signal handlers in the main thread only
        return
    before = {
        number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield ears
    finally:
        for number, old in before.items():
            signal.signal(number, old)
