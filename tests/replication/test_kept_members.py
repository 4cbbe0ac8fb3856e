"""A planned handover keeps its sync set; in Patroni's own functions where they are replaced."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import patroni.postgresql as postgresql_module  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs import Failover, SyncState
from patroni.ha import Ha
from patroni.postgresql.misc import PostgresqlRole, PostgresqlState

from replication import kept_members
from replication.kept_members import GATE, GATE_AGE_S, IS_PRIMARY, PATIENCE_S, RECORD, Memory, Taken, settle
from replication.wrapping import ReplacedFunctionChanged

OFFER = json.dumps({"leader": "dj-db1", "member": "gg-db1", "kept": ["DJ-DB2"]})
SYNC = SyncState.from_node("20", {"leader": "dj-db1", "sync_standby": "dj-db2,gg-db1"})


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """The wrapped functions, with a memory of their own; put back afterwards."""
    monkeypatch.setattr(Failover, "from_node", Failover.from_node)
    for name in ("touch_member", "process_unhealthy_cluster", "process_sync_replication_prepromote"):
        monkeypatch.setattr(Ha, name, getattr(Ha, name))
    monkeypatch.setattr(
        postgresql_module.Postgresql, "_wait_promote", postgresql_module.Postgresql._wait_promote
    )
    made = Memory()
    kept_members.install(made)
    return made


class Server:
    """Stands for Patroni's handle of PostgreSQL; what it is told to wait for."""

    def __init__(self, role: PostgresqlRole = PostgresqlRole.REPLICA, name: str = "gg-db1") -> None:
        self.name, self.role, self.state = name, role, PostgresqlState.RUNNING
        self.waits_for: set[str] | None = None
        self.config = SimpleNamespace(_server_parameters={})
        self.sync_handler = SimpleNamespace(set_synchronous_standby_names=self._told)

    def _told(self, names: Any, num: Any = None) -> None:
        self.waits_for = set(names)
        self.config._server_parameters = (
            {"synchronous_standby_names": ",".join(sorted(names))} if names else {}
        )


class Candidate(Ha):
    """A sync standby with an offer; `/sync` can be swapped at version 20."""

    def __init__(self, offer: str = OFFER, sync: SyncState = SYNC) -> None:
        self.cluster: Any = SimpleNamespace(failover=Failover.from_node("7", offer), sync=sync)
        self.state_handler: Any = Server()
        self.swaps: list[tuple[str, set[str], Any]] = []
        self.dcs: Any = SimpleNamespace(write_sync_state=self._swap)
        self._async_executor: Any = SimpleNamespace(busy=False)

    def _swap(self, leader: str, members: Any, quorum: int, version: Any) -> SyncState | None:
        self.swaps.append((leader, set(members or ()), version))
        return SyncState.from_node("21", {"leader": leader}) if version == "20" else None

    def is_synchronous_mode(self) -> bool:
        return True


def ready(memory: Memory, candidate: Candidate, *, gate_age_s: float = GATE_AGE_S + 1) -> None:
    """As the loop leaves it when the lock has been taken."""
    memory.wanted = memory.kept_by(candidate.cluster.failover)
    memory.gate_since_s = kept_members.time.monotonic() - gate_age_s


def test_the_offer_tells_whom_to_keep_and_patroni_reads_the_rest(memory: Memory) -> None:
    offer = Failover.from_node("7", OFFER)
    assert (offer.leader, offer.candidate) == ("dj-db1", "gg-db1")
    assert memory.kept_by(offer) == {"dj-db2"}
    assert memory.kept_by(Failover("8", "dj-db1", "gg-db1", None)) == frozenset()
    assert memory.kept_by(None) == frozenset()


@pytest.mark.parametrize("value", ["{}", "null", "dj-db1:gg-db1", '{"kept": "dj-db2"}', {}])
def test_an_offer_that_names_nobody_keeps_nobody(memory: Memory, value: Any) -> None:
    Failover.from_node("7", OFFER)
    assert memory.kept_by(Failover.from_node("8", value)) == frozenset()


def test_the_candidate_takes_the_set_for_itself_and_the_kept(memory: Memory) -> None:
    candidate = Candidate()
    ready(memory, candidate)
    assert candidate.process_sync_replication_prepromote() is True
    assert candidate.swaps == [("gg-db1", {"dj-db2"}, "20")]
    assert memory.taken == Taken(candidate, frozenset({"dj-db2"}), "21")
    assert candidate.state_handler.waits_for is None  # the gate stands as it stood


def test_a_swap_that_fails_postpones_the_promotion(memory: Memory) -> None:
    candidate = Candidate(
        sync=SyncState.from_node("19", {"leader": "dj-db1", "sync_standby": "dj-db2,gg-db1"})
    )
    ready(memory, candidate)
    assert candidate.process_sync_replication_prepromote() is False
    assert memory.taken is None


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
    ready(memory, candidate, gate_age_s=GATE_AGE_S - 0.5)
    assert only_itself(candidate, memory, monkeypatch)


def test_only_members_of_the_set_are_kept(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a host that left the set since the offer was written does not have everything."""
    candidate = Candidate(sync=SyncState.from_node("20", {"leader": "dj-db1", "sync_standby": "gg-db1"}))
    ready(memory, candidate)
    assert only_itself(candidate, memory, monkeypatch)


def test_what_was_wanted_is_used_once(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Candidate()
    ready(memory, first)
    first.process_sync_replication_prepromote()
    assert only_itself(Candidate(), memory, monkeypatch)


def test_a_sync_standby_shuts_the_gate_and_opens_it_when_it_leaves_the_set(memory: Memory) -> None:
    candidate = Candidate()
    kept_members.gated(candidate, memory, 100.0)
    assert (candidate.state_handler.waits_for, memory.gate_since_s) == ({GATE}, 100.0)
    kept_members.gated(candidate, memory, 105.0)
    assert memory.gate_since_s == 100.0
    candidate.cluster.sync = SyncState.from_node("22", {"leader": "dj-db1", "sync_standby": "dj-db2"})
    kept_members.gated(candidate, memory, 106.0)
    assert (candidate.state_handler.waits_for, memory.gate_since_s) == (set(), None)


@pytest.mark.parametrize("role", [PostgresqlRole.PRIMARY, PostgresqlRole.PROMOTED])
def test_a_primary_is_left_alone(memory: Memory, role: PostgresqlRole) -> None:
    candidate = Candidate()
    candidate.state_handler.role = role
    memory.gate_since_s = 50.0
    kept_members.gated(candidate, memory, 100.0)
    assert (candidate.state_handler.waits_for, memory.gate_since_s) == (None, None)


def test_a_promotion_under_way_is_left_alone(memory: Memory) -> None:
    candidate = Candidate()
    candidate._async_executor.busy = True
    kept_members.gated(candidate, memory, 100.0)
    assert candidate.state_handler.waits_for is None


class World:
    """PostgreSQL's answers, and a clock that the sleeping moves."""

    def __init__(self, promoted_at_s: float, joined: dict[float, list[str]]) -> None:
        self.now, self.promoted_at_s, self.joined = 0.0, promoted_at_s, joined
        self.asked: list[str] = []

    def ask(self, sql: str) -> Any:
        self.asked.append(sql)
        if sql == IS_PRIMARY:
            return self.now >= self.promoted_at_s
        if sql == RECORD:
            return "0/4000100"
        assert "sent_lsn >= '0/4000100' AND flush_lsn >= '0/4000100'" in sql
        return [name for at_s, names in self.joined.items() if self.now >= at_s for name in names]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def settle(self, candidate: Candidate, version: Any = "20") -> frozenset[str]:
        taken = Taken(candidate, frozenset({"dj-db2"}), version)
        return settle(taken, self.ask, self.sleep, lambda: self.now, 10.0)


def test_who_has_flushed_the_new_history_stays_and_is_waited_for(memory: Memory) -> None:
    candidate, world = Candidate(), World(0.3, {0.5: ["dj-db2", "somebody-else"]})
    assert world.settle(candidate) == {"dj-db2"}
    assert candidate.swaps == [("gg-db1", {"dj-db2"}, "20")]
    assert candidate.state_handler.waits_for == {"dj-db2"}
    assert 0.5 <= world.now < 0.6


def test_nobody_who_comes_in_time_and_the_service_goes_on_alone(memory: Memory) -> None:
    candidate, world = Candidate(), World(0.3, {})
    assert world.settle(candidate) == frozenset()
    assert candidate.swaps == [("gg-db1", set(), "20")]
    assert candidate.state_handler.waits_for == set()
    assert world.now == pytest.approx(0.3 + PATIENCE_S, abs=0.1)


def test_the_gate_stays_shut_when_sync_has_changed(memory: Memory) -> None:
    """Planted: another host may have taken over by then; who opens the gate acknowledges alone."""
    candidate, world = Candidate(), World(0.0, {0.0: ["dj-db2"]})
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
    World(0.0, {0.0: ["dj-db2"]}).settle(candidate)
    assert order == ["swap", "told"]


def test_the_wrapped_functions_are_those_that_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    source = inspect.getsource(postgresql_module.Postgresql.promote)
    assert source.index("'promote', '-W'") < source.index("self._wait_promote(wait_seconds)")
    monkeypatch.setattr(Ha, "touch_member", lambda self, more: True)
    monkeypatch.setattr(Failover, "from_node", Failover.from_node)
    with pytest.raises(ReplacedFunctionChanged):
        kept_members.install(Memory())


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert kept_members.MEMORY.taken is None
