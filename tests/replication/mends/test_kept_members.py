"""A planned handover keeps its sync set; in Patroni's own functions where they are replaced."""

from __future__ import annotations

import inspect
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import patroni.postgresql as postgresql_module  # first: Patroni's modules import each other in a circle
import psycopg2
import pytest
from patroni.dcs import SyncState
from patroni.ha import Ha

from replication.mends import kept_members
from replication.mends.gate import GATE
from replication.mends.kept_members import (
    ATTACH_S,
    ATTACHED,
    IS_PRIMARY,
    PATIENCE_S,
    RECORD,
    SYNC,
    Memory,
    Taken,
    attached,
    settle,
)
from replication.mends.kept_offer import Offer, Offers
from replication.mends.wrapping import ReplacedFunctionChanged

from .handover_parts import Candidate, Session, known


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """The wrapped functions, with a memory of their own; put back afterwards."""
    for name in ("touch_member", "process_unhealthy_cluster", "process_sync_replication_prepromote"):
        monkeypatch.setattr(Ha, name, getattr(Ha, name))
    monkeypatch.setattr(
        postgresql_module.Postgresql, "_wait_promote", postgresql_module.Postgresql._wait_promote
    )
    made = Memory(Offers())
    kept_members.install(made)
    return made


def ready(memory: Memory, session: Session | None) -> None:
    """As the loop leaves it when the lock has been taken. `session`: has seen the gate in force."""
    memory.wanted = frozenset({"dj-db2"})
    memory.gate.look = known(session.new() if session else None)


def streams(*names: str) -> Session:
    """A session of the candidate, from which these stream."""
    return Session(**{ATTACHED: list(names)})


def test_what_is_wanted_is_what_the_offer_to_this_host_names(memory: Memory) -> None:
    candidate, seen = Candidate(), list[frozenset[str]]()
    memory.offers.last = Offer("7", frozenset({"dj-db2"}))
    step = kept_members.unhealthy(lambda ha: str(seen.append(memory.wanted)), memory)
    step(candidate)
    candidate.state_handler.name = "dj-db2"
    step(candidate)
    assert seen == [{"dj-db2"}, frozenset()]


def test_the_candidate_takes_the_set_for_itself_and_the_kept(memory: Memory) -> None:
    candidate, session = Candidate(), streams("dj-db2")
    ready(memory, session)
    assert candidate.process_sync_replication_prepromote() is True
    assert candidate.swaps == [("gg-db1", {"dj-db2"}, "20")]
    assert memory.taken == Taken(candidate, frozenset({"dj-db2"}), "21", session.new())
    assert memory.gate.in_use
    assert candidate.state_handler.waits_for is None  # the gate stands as it stood


def test_a_swap_that_fails_postpones_the_promotion(memory: Memory) -> None:
    candidate = Candidate(
        sync=SyncState.from_node("19", {"leader": "dj-db1", "sync_standby": "dj-db2,gg-db1"})
    )
    ready(memory, streams("dj-db2"))
    assert candidate.process_sync_replication_prepromote() is False
    assert (memory.taken, memory.gate.in_use) == (None, False)


def test_in_max_protection_nobody_is_promoted_before_the_gate_is_in_force(memory: Memory) -> None:
    """Planted: promoted with a busy checkpointer, it acknowledged with no standby at all."""
    candidate = Candidate()
    candidate.state_handler.config._server_parameters = {"synchronous_standby_names": GATE}
    memory.gate.always = True
    ready(memory, None)
    assert candidate.process_sync_replication_prepromote() is False
    assert (candidate.swaps, memory.taken) == ([], None)
    ready(memory, streams("dj-db2"))
    assert candidate.process_sync_replication_prepromote() is True


def only_itself(candidate: Candidate, memory: Memory, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether Patroni's own way was taken: `/sync` for itself alone, PostgreSQL waits for nobody."""
    monkeypatch.setattr(
        "patroni.ha.global_config",
        SimpleNamespace(is_quorum_commit_mode=False, min_synchronous_nodes=0, is_synchronous_mode=True),
    )
    monkeypatch.setattr(candidate, "quorum_commit_mode_is_active", lambda: False)
    candidate.state_handler.supports_multiple_sync = True
    assert candidate.process_sync_replication_prepromote() is True
    return candidate.swaps == [("gg-db1", set(), "20")] and candidate.state_handler.waits_for == set()


def test_a_gate_that_may_not_be_in_force_yet_is_none(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: PostgreSQL takes a new value in when it has time; a promotion does not wait for that."""
    candidate = Candidate()
    ready(memory, None)
    assert only_itself(candidate, memory, monkeypatch)


def test_a_gate_that_is_still_looked_at_is_none(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate()
    ready(memory, None)
    memory.gate.look = Future()
    assert only_itself(candidate, memory, monkeypatch)


@pytest.mark.parametrize("answer", [[], ["sj-db1"], psycopg2.OperationalError("gone"), TimeoutError()])
def test_who_does_not_stream_from_the_candidate_is_not_kept(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """Planted: who streams from the old primary may have more, and would have to be rewound."""
    candidate = Candidate()
    ready(memory, Session(**{ATTACHED: answer}))
    assert only_itself(candidate, memory, monkeypatch)


def test_a_member_that_is_on_its_way_is_waited_for() -> None:
    now = [0.0]

    def ask(sql: str) -> Any:
        assert sql == ATTACHED
        return ["dj-db2"] if now[0] >= ATTACH_S / 2 else []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    members = frozenset({"dj-db2"})
    assert attached(members, ask, sleep, lambda: now[0]) == members
    assert attached(frozenset({"x"}), ask, sleep, lambda: now[0]) == frozenset()
    assert now[0] < 2 * ATTACH_S


def test_only_members_of_the_set_are_kept(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a host that left the set since the offer was written does not have everything."""
    candidate = Candidate(sync=SyncState.from_node("20", {"leader": "dj-db1", "sync_standby": "gg-db1"}))
    ready(memory, streams("dj-db2"))
    assert only_itself(candidate, memory, monkeypatch)


def test_what_was_wanted_is_used_once(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Candidate()
    ready(memory, streams("dj-db2"))
    first.process_sync_replication_prepromote()
    assert only_itself(Candidate(), memory, monkeypatch)


class World:
    """PostgreSQL's answers, and a clock that the sleeping moves."""

    def __init__(self, promoted_at_s: float, joined: dict[float, list[str]]) -> None:
        self.now, self.promoted_at_s, self.joined = 0.0, promoted_at_s, joined
        self.asked: list[str] = []
        self.sync_at_s = 0.0

    def ask(self, sql: str) -> Any:
        self.asked.append(sql)
        if sql == IS_PRIMARY:
            return self.now >= self.promoted_at_s
        if sql == RECORD:
            return "0/4000100"
        if sql == SYNC:
            return ["dj-db2"] if self.now >= self.sync_at_s else []
        assert "sent_lsn >= '0/4000100' AND flush_lsn >= '0/4000100'" in sql
        return [name for at_s, names in self.joined.items() if self.now >= at_s for name in names]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def settle(self, candidate: Candidate, version: Any = "20") -> frozenset[str]:
        taken = Taken(candidate, frozenset({"dj-db2"}), version, cast(Any, self))
        return settle(taken, self.sleep, lambda: self.now, 10.0)


def test_who_has_flushed_the_new_history_stays_and_is_waited_for(memory: Memory) -> None:
    candidate, world = Candidate(), World(0.3, {0.5: ["dj-db2", "somebody-else"]})
    assert world.settle(candidate) == {"dj-db2"}
    assert candidate.swaps == []  # /sync names them already
    assert candidate.state_handler.waits_for == {"dj-db2"}
    assert 0.5 <= world.now < 0.6


def test_patronis_next_loop_waits_until_postgresql_shows_who_is_sync(memory: Memory) -> None:
    """Planted: a loop that looked sooner took the member out again (drill switchover-new-primary-dies)."""
    candidate, world = Candidate(), World(0.0, {0.0: ["dj-db2"]})
    world.sync_at_s = 0.5
    assert world.settle(candidate) == {"dj-db2"}
    assert world.now == pytest.approx(0.5, abs=0.05)
    late = World(0.0, {0.0: ["dj-db2"]})
    late.sync_at_s = 99.0
    assert late.settle(Candidate()) == {"dj-db2"}
    assert late.now == pytest.approx(kept_members.SEEN_S, abs=0.05)


def test_nobody_who_comes_in_time_and_the_service_goes_on_alone(memory: Memory) -> None:
    candidate, world = Candidate(), World(0.3, {})
    assert world.settle(candidate) == frozenset()
    assert candidate.swaps == [("gg-db1", set(), "20")]
    assert candidate.state_handler.waits_for == set()
    assert world.now == pytest.approx(0.3 + PATIENCE_S, abs=0.1)


def test_the_gate_stays_shut_when_sync_has_changed(memory: Memory) -> None:
    """Planted: another host may have taken over by then; who opens the gate acknowledges alone."""
    candidate, world = Candidate(), World(0.0, {})
    assert world.settle(candidate, version="19") == frozenset()
    assert candidate.state_handler.waits_for is None


def test_a_promotion_that_does_not_come_leaves_everything(memory: Memory) -> None:
    candidate, world = Candidate(), World(99.0, {})
    assert world.settle(candidate) == frozenset()
    assert candidate.swaps == []


def test_sync_is_swapped_before_postgresql_is_told(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate, order = Candidate(), list[str]()
    swap, told = candidate._swap, candidate.state_handler._told
    candidate.dcs.write_sync_state = lambda *words, **version: (
        order.append("swap"),
        swap(*words, **version),
    )[1]
    candidate.state_handler.sync_handler.set_synchronous_standby_names = lambda names: (
        order.append("told"),
        told(names),
    )
    World(0.0, {}).settle(candidate)
    assert order == ["swap", "told"]


def test_the_wrapped_functions_are_those_that_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = inspect.getsource(postgresql_module.Postgresql.promote)
    assert source.index("'promote', '-W'") < source.index("self._wait_promote(wait_seconds)")
    monkeypatch.setattr(Ha, "touch_member", lambda self, more: True)
    with pytest.raises(ReplacedFunctionChanged):
        kept_members.install(Memory(Offers()))
