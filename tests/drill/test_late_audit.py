"""An audit in any ending: hosts that cannot be read, drills that are broken off, and what still is told."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hanbat import topology_file
from lab.drill import late_audit, runner, stages
from lab.drill.audit import CHECKS
from lab.drill.case import CheckVerdict
from lab.drill.clock import Clock
from lab.drill.drill import Drill
from lab.drill.errors import Interrupted, LoadDied, ServiceFailed, SnapshotFailed
from lab.drill.evidence import Evidence
from lab.drill.matrix_scenarios import MATRIX
from lab.drill.runner import Ending
from lab.drill.scenario import SITE_LOSS, Scenario
from lab.drill.snapshot import accepts_writes, read_hosts
from lab.errors import CommandTimedOut

from .sample import HOSTS, LOAD_AT, RUN, STOP_AT, sample_case, sample_run, write_journals

Silent = CommandTimedOut
SITES = Path(__file__).parents[2] / "sites.yml"
Answer = Callable[[str, str], str]


class FakeLab:
    """Answers psql as told: a text, an error of psql, or silence."""

    topology = topology_file.load(SITES)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self.up = True

    def is_up(self) -> bool:
        return self.up

    def run(
        self,
        host: str | None,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        user: str = "root",
    ) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.CompletedProcess(argv, 0, self._answer(host or "", stdin or ""), "")
        except ValueError as error:
            return subprocess.CompletedProcess(argv, 3, "", str(error))


def held(tables: Mapping[str, Any]) -> Answer:
    """Hosts that all hold these tables; dj-db1 is the primary."""

    def answer(host: str, script: str) -> str:
        if "jsonb_build_object" in script:
            return json.dumps(tables)
        if "pg_current_wal_lsn" in script:
            return "0/3000000"
        return {"dj-db1": "f"}.get(host, "t") if "pg_is_in_recovery();" in script else ""

    return answer


def but(answer: Answer, host: str, what: Exception, when: str = "") -> Answer:
    """The same, but one host fails at scripts with these words."""

    def spoiled(asked: str, script: str) -> str:
        if asked == host and when in script:
            raise what
        return answer(asked, script)

    return spoiled


WHOLE = held({"canary": []})


def test_every_host_is_read():
    read = read_hosts(FakeLab(WHOLE), "dj-db1", HOSTS, RUN)
    assert ([each.host for each in read.snapshots], read.unread) == (list(HOSTS), {})


@pytest.mark.parametrize("what", [Silent("no answer"), ValueError("the database system is starting up")])
@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_cannot_be_read_is_left_out_and_its_reason_kept(host, what):
    read = read_hosts(FakeLab(but(WHOLE, host, what)), "dj-db1", HOSTS, RUN)
    assert {each.host for each in read.snapshots} == set(HOSTS) - {host}
    assert list(read.unread) == [host]
    assert str(what) in read.unread[host]


def test_a_standby_that_does_not_replay_in_time_is_not_read():
    late = but(
        WHOLE, "gg-db1", ValueError("replayed 0/2 only, the primary has 0/3"), "pg_last_wal_replay_lsn"
    )
    assert "replayed 0/2 only" in read_hosts(FakeLab(late), "dj-db1", HOSTS, RUN).unread["gg-db1"]


def test_when_no_host_can_be_read_there_is_no_audit():
    def silent(host: str, script: str) -> str:
        raise Silent(f"{host} is silent")

    with pytest.raises(SnapshotFailed, match="dj-db1 is silent; dj-db2"):
        read_hosts(FakeLab(silent), "dj-db1", HOSTS, RUN)


def test_who_accepts_writes_by_its_own_word():
    lab = FakeLab(but(WHOLE, "gg-db1", Silent("")))
    assert accepts_writes(lab, HOSTS) == {"dj-db1": True, "dj-db2": False, "gg-db1": None}


@pytest.fixture
def drill(tmp_path, monkeypatch) -> Drill:
    """A drill whose load has run, with the sample's journals and hosts that hold what it wrote."""
    run, tender = sample_run()
    evidence = Evidence.create(tmp_path, "late", {})
    write_journals(run, evidence.folder)
    monkeypatch.setattr(late_audit, "SETTLE_S", 0.0)
    monkeypatch.setattr(late_audit, "WAIT_S", 0.05)
    monkeypatch.setattr(late_audit, "PAUSE_S", 0.01)
    clock = Clock.anchored_now()
    plan: Any = SimpleNamespace(
        run=RUN, canary_rate_per_s=20.0, edges={"daejeon": "", "gyeonggi": ""}, life_pause_s=1.0
    )
    tables = dict(sample_case(run, tender).snapshots[0].tables)
    made = Drill(FakeLab(held(tables)), SITE_LOSS, "late", 1, clock, plan, evidence, lambda *line: None)
    made.official_tender = str(tender)
    made.moments |= {"load": LOAD_AT, "broken_off": STOP_AT}
    return made


def events(drill: Drill) -> set[str]:
    return {event.event for event in drill.events}


def test_a_drill_that_was_broken_off_is_audited(drill):
    late_audit.audit_late(drill)
    assert drill.audit is not None
    assert (drill.audit.lost, drill.audit.duplicated) == (0, 0)
    assert drill.audit.check("acknowledged_everywhere").verdict is CheckVerdict.PASSED
    assert "audited" in events(drill)
    assert "audit" in drill.steps


def test_a_missing_host_leaves_doubt_and_the_others_are_judged(drill):
    drill.lab = FakeLab(but(drill.lab._answer, "gg-db1", Silent("gg-db1 is silent")))
    late_audit.audit_late(drill)
    (finding,) = drill.audit.check("every_host_read").findings
    assert (finding.host, finding.detail) == ("gg-db1", "gg-db1 is silent")
    assert drill.audit.lost == 0
    assert drill.audit.check("acknowledged_everywhere").verdict is CheckVerdict.PASSED
    assert drill.audit.check("hosts_agree").verdict is CheckVerdict.PASSED
    assert drill.audit.verdict is CheckVerdict.UNKNOWN
    assert "not_read" in events(drill)


def test_without_a_primary_nothing_is_called_lost(drill):
    drill.lab = FakeLab(but(drill.lab._answer, "dj-db1", Silent("dj-db1 is silent")))
    late_audit.audit_late(drill)
    assert drill.audit.lost is None
    assert drill.audit.verdict is CheckVerdict.UNKNOWN
    failed = [check.name for check in drill.audit.checks if check.verdict is CheckVerdict.FAILED]
    assert failed == []


@pytest.mark.parametrize("spoil", ["no load", "audited before", "no lab"])
def test_no_late_audit_where_there_is_nothing_to_audit(drill, spoil):
    if spoil == "no load":
        del drill.moments["load"]
    elif spoil == "audited before":
        drill.audit = SimpleNamespace()
    else:
        drill.lab.up = False
    late_audit.audit_late(drill)
    assert events(drill) == set()


def test_two_primaries_are_none(drill):
    def two(host: str, script: str) -> str:
        return "f"

    drill.lab = FakeLab(two)
    assert late_audit.writable_in_time(drill) is None


@pytest.mark.parametrize(
    ("error", "told", "failures"),
    [
        (LoadDied("the load is gone"), "[102] the load is gone", []),
        (ServiceFailed("no new primary"), None, ["no new primary"]),
        (ZeroDivisionError("oh"), "ZeroDivisionError: oh", []),
    ],
)
def test_the_first_reason_outlives_a_late_audit_that_fails(drill, monkeypatch, error, told, failures):
    def play(drill: Drill) -> None:
        raise error

    def broken(lab: object, hosts: object) -> dict[str, bool | None]:
        raise KeyError("a bug of the audit")

    monkeypatch.setattr(runner, "_play", play)
    monkeypatch.setattr(late_audit, "accepts_writes", broken)
    ending = Ending()
    runner._play_to_an_audit(drill, False, ending)
    assert (ending.broken_off, drill.failures) == (told, failures)
    assert ending.service_failure == (failures[0] if failures else None)
    assert drill.audit is None
    assert "audit_failed" in events(drill)


def test_who_interrupts_a_late_audit_ends_it_and_the_first_reason_stays(drill, monkeypatch):
    def play(drill: Drill) -> None:
        raise LoadDied("gone")

    def interrupted(drill: Drill, primary: object) -> None:
        raise Interrupted("signal SIGINT")

    monkeypatch.setattr(runner, "_play", play)
    monkeypatch.setattr(late_audit, "audit_now", interrupted)
    ending = Ending()
    with pytest.raises(Interrupted):
        runner._play_to_an_audit(drill, False, ending)
    ending.add("interrupted")
    assert ending.broken_off == "[102] gone; interrupted"


def test_who_interrupts_a_drill_waits_for_no_audit(drill, monkeypatch):
    def play(drill: Drill) -> None:
        raise Interrupted("signal SIGINT")

    monkeypatch.setattr(runner, "_play", play)
    with pytest.raises(Interrupted):
        runner._play_to_an_audit(drill, False, Ending())
    assert drill.audit is None


@pytest.mark.parametrize("scenario", [SITE_LOSS, *MATRIX.values()], ids=lambda each: each.name)
def test_the_checks_of_a_scenario(scenario: Scenario):
    asked = {check.__name__ for check in stages.checks_of(scenario)}
    every = {check.__name__ for check in CHECKS}
    assert ("official_as_published" in asked) == (scenario is SITE_LOSS)
    assert {"every_host_read", "acknowledged_everywhere", "no_duplicate"} <= asked <= every
