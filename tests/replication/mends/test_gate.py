"""The gate is shut on sync standbys, and known to be in force before a promotion rests on it."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import psycopg2
import pytest
from patroni.dcs import SyncState
from patroni.postgresql.misc import PostgresqlRole

from replication.local_sql import Local
from replication.mends import in_force as module
from replication.mends.gate import ALIVE, GATE, Gate, in_force, tend
from replication.mends.in_force import SHOWN

from .handover_parts import Candidate, Session, known


def test_the_gate_is_in_force_when_the_checkpointer_has_done_something_since() -> None:
    session = Session(**{SHOWN: GATE})
    assert in_force(session.new) is session
    assert (session.commands, session.closed) == (["CHECKPOINT", "CHECKPOINT"], False)


def test_a_gate_that_is_not_shown_is_not_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHOW_S", 0.05)
    session = Session(**{SHOWN: ""})
    assert in_force(session.new) is None
    assert (session.commands, session.closed) == ([], True)


def test_a_session_that_fails_is_closed() -> None:
    session = Session(**{SHOWN: TimeoutError("slow")})
    with pytest.raises(TimeoutError):
        in_force(session.new)
    assert session.closed


def looked() -> Future[Local | None]:
    return known(Session(**{ALIVE: 1}).new())


NAMED = "SET application_name = 'hanbat_gate_a1'"


def test_without_an_announcement_the_gate_is_open() -> None:
    """Planted: after an unplanned promotion the first commit waited for the checkpointer, up to 9 s."""
    candidate, gate = Candidate(), Gate()
    tend(candidate, gate, looked, "")
    assert (candidate.state_handler.waits_for, gate.look) == (None, None)
    tend(candidate, gate, looked, "a1")
    first = gate.session()
    assert isinstance(first, Session)
    tend(candidate, gate, looked, "")
    assert (candidate.state_handler.waits_for, gate.look, first.closed) == (set(), None, True)


def test_in_max_protection_it_stands_always_and_is_always_looked_at() -> None:
    """Planted: from nobody to the other site's hosts, commits wait only once the checkpointer has read."""
    candidate, gate = Candidate(), Gate()
    gate.always = True
    tend(candidate, gate, looked, "")
    first = gate.session()
    assert isinstance(first, Session)
    assert candidate.state_handler.waits_for == {GATE}
    tend(candidate, gate, looked, "a1")
    tend(candidate, gate, looked, "")
    assert gate.session() is first
    candidate.cluster.sync = SyncState.from_node("22", {"leader": "dj-db1", "sync_standby": "dj-db2"})
    tend(candidate, gate, looked, "")
    assert (candidate.state_handler.waits_for, gate.look) == (set(), None)


@pytest.mark.parametrize(
    ("always", "told", "look", "awaited"),
    [
        (True, GATE, None, True),
        (True, GATE, Future[Local | None](), True),
        (True, GATE, looked(), False),
        (True, "", None, False),  # not in the sync set: whoever promotes it has signed for that
        (False, GATE, None, False),
    ],
)
def test_whose_promotion_waits_for_the_gate(always: bool, told: str, look: Any, awaited: bool) -> None:
    candidate, gate = Candidate(), Gate()
    gate.always, gate.look = always, look
    candidate.state_handler.config._server_parameters = {"synchronous_standby_names": told}
    assert gate.awaited(candidate.state_handler) is awaited


def test_the_gate_of_a_version_before_is_opened() -> None:
    candidate, gate = Candidate(), Gate()
    candidate.state_handler.config._server_parameters = {"synchronous_standby_names": GATE}
    tend(candidate, gate, looked, "")
    assert candidate.state_handler.waits_for == set()


def test_an_offer_keeps_a_gate_shut_and_shuts_none() -> None:
    """Planted: the command was killed after its offer, and its announcement ended before the promotion.

    One that is shut at that time would not be known to be in force, and commits would wait for nothing.
    """
    candidate, gate = Candidate(), Gate()
    tend(candidate, gate, looked, "", offered=True)
    assert candidate.state_handler.waits_for is None
    tend(candidate, gate, looked, "a1", offered=True)
    first = gate.session()
    tend(candidate, gate, looked, "", offered=True)
    assert gate.session() is first
    assert candidate.state_handler.waits_for == {GATE}


def test_the_session_is_named_once_the_gate_is_in_force_and_for_each_handover() -> None:
    candidate, gate = Candidate(), Gate()
    tend(candidate, gate, looked, "a1")
    session = gate.session()
    assert isinstance(session, Session)
    assert session.commands == []
    tend(candidate, gate, looked, "a1")
    tend(candidate, gate, looked, "a1")
    assert session.commands == [NAMED]
    tend(candidate, gate, looked, "b2")
    assert session.commands == [NAMED, "SET application_name = 'hanbat_gate_b2'"]


def test_a_gate_that_is_not_known_to_be_in_force_is_not_told() -> None:
    gate = Gate()
    gate.look = Future()
    gate.tell("a1")
    assert gate.told == ""


def test_an_announced_candidate_shuts_the_gate_and_opens_it_when_it_leaves_the_set() -> None:
    candidate, gate = Candidate(), Gate()
    tend(candidate, gate, looked, "a1")
    assert candidate.state_handler.waits_for == {GATE}
    first = gate.session()
    assert isinstance(first, Session)
    tend(candidate, gate, looked, "a1")
    assert gate.session() is first
    candidate.cluster.sync = SyncState.from_node("22", {"leader": "dj-db1", "sync_standby": "dj-db2"})
    tend(candidate, gate, looked, "a1")
    assert (candidate.state_handler.waits_for, gate.look) == (set(), None)
    assert first.closed


def test_a_session_that_has_ended_shows_nothing() -> None:
    """Planted: PostgreSQL was started again, and the new checkpointer has not read its settings yet."""
    candidate, gate = Candidate(), Gate()
    tend(candidate, gate, looked, "a1")
    first = gate.session()
    assert isinstance(first, Session)
    first.answers[ALIVE] = psycopg2.OperationalError("server closed the connection")
    tend(candidate, gate, looked, "a1")
    assert gate.session() is not first


@pytest.mark.parametrize("failure", [TimeoutError("slow"), None])
def test_a_look_that_showed_nothing_is_taken_again(failure: Exception | None) -> None:
    candidate, gate = Candidate(), Gate()
    failed: Future[Local | None] = Future()
    failed.set_exception(failure) if failure else failed.set_result(None)
    candidate.state_handler.config._server_parameters = {"synchronous_standby_names": GATE}
    gate.look = failed
    tend(candidate, gate, looked, "a1")
    assert gate.look not in (failed, None)


def test_a_look_under_way_is_left_to_its_end() -> None:
    candidate, gate = Candidate(), Gate()
    candidate.state_handler.config._server_parameters = {"synchronous_standby_names": GATE}
    gate.look = under_way = Future()
    tend(candidate, gate, looked, "a1")
    assert gate.look is under_way
    assert gate.session() is None


@pytest.mark.parametrize("role", [PostgresqlRole.PRIMARY, PostgresqlRole.PROMOTED])
def test_a_primary_is_left_alone(role: PostgresqlRole) -> None:
    candidate, gate = Candidate(), Gate()
    candidate.state_handler.role = role
    gate.look = looked()
    tend(candidate, gate, looked, "a1")
    assert (candidate.state_handler.waits_for, gate.look) == (None, None)


def test_a_promotion_under_way_is_left_alone() -> None:
    candidate, gate = Candidate(), Gate()
    candidate._async_executor.busy = True
    tend(candidate, gate, looked, "a1")
    assert candidate.state_handler.waits_for is None


def test_a_promotion_keeps_its_session_until_it_has_ended() -> None:
    """Planted: the loop beside the promotion, in which this host is no replica any more, closed it."""
    candidate, gate = Candidate(), Gate()
    gate.look, gate.in_use = looked(), True
    session = gate.session()
    assert isinstance(session, Session)
    candidate.state_handler.role = PostgresqlRole.PROMOTED
    tend(candidate, gate, looked, "a1")
    assert not session.closed
    gate.spent()
    assert (session.closed, gate.look, gate.in_use) == (True, None, False)
