"""Small parts of the matrix: who serves, when the controllers may act again, what a client inside knows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from lab.drill import insiders, rest, sight
from lab.drill.driver import Watched
from lab.drill.errors import NotSteady
from lab.drill.inside import InsidePlan, outcome_of
from lab.drill.journal import Journal
from lab.drill.matrix import Break, Mend, Step, Switchover
from lab.drill.matrix_scenarios import MATRIX
from lab.drill.operations import Outcome


def watched(patroni: dict[str, str], leader: dict[str, Any]) -> Watched:
    return Watched(
        status={
            "at": 100.0,
            "seen": {
                "patroni": {host: {"at": 100.0, "role": role} for host, role in patroni.items()},
                "leader": {host: {"at": 100.0, **view} for host, view in leader.items()},
            },
        }
    )


def test_an_old_primary_that_still_says_so_does_not_serve():
    seen = watched({"a": "primary", "b": "primary"}, {"w": {"holder": "b"}})
    assert sight.primary_of(seen) is None
    assert sight.serving(seen) == "b"


def test_the_holder_of_the_lock_serves_only_as_primary():
    assert sight.serving(watched({"a": "primary", "b": "standby"}, {"w": {"holder": "b"}})) is None


def test_a_free_lock_is_nobodys():
    assert sight.serving(watched({"a": "primary"}, {"w": {"holder": ""}})) is None


def test_without_a_word_of_the_dcs_one_primary_serves_and_two_do_not():
    silent = {"w": {"holder": None}}
    assert sight.serving(watched({"a": "primary", "b": "standby"}, silent)) == "a"
    assert sight.serving(watched({"a": "primary", "b": "primary"}, silent)) is None


def test_a_stale_word_of_the_dcs_is_none():
    seen = watched({"a": "primary", "b": "standby"}, {"w": {"holder": "b"}})
    seen.status["seen"]["leader"]["w"]["at"] = 90.0
    assert sight.serving(seen) == "a"


def test_the_last_operation_is_known_only_when_a_member_told_it():
    assert rest.operation_revision(watched({}, {"w": {"holder": None}})) is None
    told = {"w": {"holder": "a", "operation_revision": 7}, "g": {"holder": "a", "operation_revision": 5}}
    assert rest.operation_revision(watched({}, told)) == 7


def test_the_block_period_is_waited_for_once(tmp_path):
    assert rest.remember(tmp_path, 7, 100.0) == 100.0
    assert rest.remember(tmp_path, 7, 120.0) == 100.0
    assert rest.remember(tmp_path, 8, 130.0) == 130.0
    assert rest.rest_s(8, 130.0, 140.0, 30.0) == 30.0 + rest.MARGIN_S - 10.0
    assert rest.rest_s(8, 130.0, 200.0, 30.0) == 0.0
    assert rest.rest_s(0, 130.0, 130.0, 30.0) == 0.0, "no operation yet: nothing to wait for"


class Refused(psycopg2.OperationalError):
    """An error with a state of our choice."""

    pgcode = "25006"


@pytest.mark.parametrize(
    ("error", "notices", "commit_sent", "wanted"),
    [
        (None, [], True, Outcome.ACKNOWLEDGED),
        (None, ["WARNING: canceling wait for synchronous replication"], True, Outcome.UNKNOWN),
        (psycopg2.OperationalError("server closed the connection"), [], True, Outcome.UNKNOWN),
        (psycopg2.OperationalError("server closed the connection"), [], False, Outcome.REFUSED),
        (Refused("read-only"), [], True, Outcome.REFUSED),
    ],
)
def test_what_a_client_inside_knows(error, notices, commit_sent, wanted):
    assert outcome_of(error, notices, commit_sent) is wanted


def test_the_plan_of_clients_inside_reads_back_and_is_private(tmp_path):
    plan = InsidePlan("r1", 1.0, 2.0, "daejeon", "dj-db1", "host=x", "http://e", "key", "j", 4, 2, 2, 0.25)
    plan.write(tmp_path / "plan")
    assert InsidePlan.read(tmp_path / "plan") == plan
    assert (tmp_path / "plan").stat().st_mode & 0o077 == 0


def test_clients_inside_are_awaited_before_the_fault(tmp_path, monkeypatch):
    drill: Any = SimpleNamespace(evidence=SimpleNamespace(inside=tmp_path / "inside.jsonl"))
    monkeypatch.setattr(insiders, "FIRST_S", 0.2)
    sent = {"stream": "r:inside-daejeon-0", "kind": "canary", "edge": "inside:dj-db1", "body": {}}
    done = {"outcome": "acknowledged", "status": None, "response": None, "error": "{}"}
    with Journal(tmp_path / "inside.jsonl") as journal:
        for number, path in enumerate(("/api/v1/canary", "COMMIT")):
            with pytest.raises(NotSteady):
                insiders.await_first(drill)
            journal.write(record="sent", n=number, at=1.0, key=f"k{number}", path=path, **sent)
            journal.write(record="done", n=number, at=1.1, **done)
    insiders.await_first(drill)


@pytest.mark.parametrize(
    "name",
    """
    site-isolated wan-cut asymmetric-cut-out asymmetric-cut-in replication-cut wan-flapping patroni-frozen
    host-frozen postgres-frozen disk-hang
    """.split(),  # noqa: SIM905
)
def test_an_old_primary_that_lives_on_is_asked_whether_it_acknowledges(name):
    insiders = MATRIX[name].expect.insiders
    assert insiders is not None
    assert insiders.site == "{home}"
    assert insiders.cancelling > 0
    assert insiders.at_edge > 0


@pytest.mark.parametrize("scenario", MATRIX.values(), ids=list(MATRIX))
def test_wherever_a_takeover_may_happen_the_old_primary_is_asked_whether_it_acknowledges(scenario):
    may_move = scenario.expect.takeovers[1] > 0
    # Every application host is off as well; and one that measures held clients, whose six variants ask it.
    not_asked = scenario.name in ("everything-off", "switchover")
    assert may_move <= (scenario.expect.insiders is not None or not_asked)


@pytest.mark.parametrize("scenario", MATRIX.values(), ids=list(MATRIX))
def test_a_fault_in_the_middle_of_a_switchover_comes_after_its_start(scenario):
    kinds: list[type[Step]] = [type(step) for step in scenario.steps]
    if Switchover not in kinds or kinds == [Switchover]:
        return
    switchover, fault = scenario.steps
    assert isinstance(switchover, Switchover)
    assert not switchover.wait
    assert isinstance(fault, Break)
    assert not isinstance(fault, Mend)
    assert fault.once
    assert fault.after_s[1] > fault.after_s[0]
