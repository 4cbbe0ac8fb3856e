"""A planned handover keeps its sync set; in Patroni's own functions where they are replaced."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import patroni.postgresql as postgresql_module  # first: Patroni's modules import each other in a circle
import psycopg2
import pytest
from patroni.dcs import Cluster, Failover, Leader, Member, SyncState
from patroni.ha import Ha
from patroni.postgresql.misc import PostgresqlRole, PostgresqlState

from replication import kept_members
from replication.kept_members import (
    ALIVE,
    ATTACH_S,
    ATTACHED,
    GATE,
    IS_PRIMARY,
    NUDGE,
    PATIENCE_S,
    RECORD,
    SHOWN,
    STREAMS,
    Memory,
    Taken,
    attached,
    gate_in_force,
    settle,
)
from replication.wrapping import ReplacedFunctionChanged

OFFER = json.dumps({"leader": "dj-db1", "member": "gg-db1", "kept": ["DJ-DB2"]})
SYNC = SyncState.from_node("20", {"leader": "dj-db1", "sync_standby": "dj-db2,gg-db1"})


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    """The wrapped functions, with a memory of their own; put back afterwards."""
    monkeypatch.setattr(Failover, "from_node", Failover.from_node)
    for name in (
        "touch_member",
        "process_unhealthy_cluster",
        "process_sync_replication_prepromote",
        "_get_node_to_follow",
    ):
        monkeypatch.setattr(Ha, name, getattr(Ha, name))
    monkeypatch.setattr(kept_members, "Local", Local)
    monkeypatch.setattr(
        postgresql_module.Postgresql, "_wait_promote", postgresql_module.Postgresql._wait_promote
    )
    made = Memory()
    kept_members.install(made)
    return made


class Local:
    """PostgreSQL's answers on the candidate, before and after its promotion. One set for each test."""

    answers: ClassVar[dict[str, Any]] = {}
    commands: ClassVar[list[str]] = []
    closed = False

    def ask(self, sql: str) -> Any:
        answer = self.answers[sql]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, sql: str, limit_s: float) -> None:
        self.commands.append(sql)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A candidate whose gate is in force, and from which dj-db2 streams."""
    found: dict[str, Any] = {ALIVE: 1, SHOWN: GATE, ATTACHED: ["dj-db2"]}
    monkeypatch.setattr(Local, "answers", found)
    monkeypatch.setattr(Local, "commands", [])
    return found


make = cast(Any, Local)


def known(session: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(session)
    return future


class Server:
    """Stands for Patroni's handle of PostgreSQL; what it is told to wait for."""

    def __init__(self, role: PostgresqlRole = PostgresqlRole.REPLICA, name: str = "gg-db1") -> None:
        self.name, self.role, self.state = name, role, PostgresqlState.RUNNING
        self.waits_for: set[str] | None = None
        self.config = SimpleNamespace(
            _server_parameters={},
            set_synchronous_standby_names=lambda value: self._told({value} if value else ()),
        )
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


def ready(memory: Memory, candidate: Candidate, *, seen: bool = True) -> None:
    """As the loop leaves it when the lock has been taken. `seen`: the gate is known to be in force."""
    memory.wanted = memory.kept_by(candidate.cluster.failover)
    memory.gate = known(Local() if seen else None)


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
    assert memory.taken is not None
    assert (memory.taken.ha, memory.taken.members) == (candidate, {"dj-db2"})
    assert memory.taken.version == "21"
    kept_members.forget(memory)  # a loop beside the promotion must not take its session away
    assert memory.taken.local.closed is False
    memory.taken = None
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
    ready(memory, candidate, seen=False)
    assert only_itself(candidate, memory, monkeypatch)


def test_a_gate_that_is_still_looked_at_is_none(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = Candidate()
    ready(memory, candidate)
    memory.gate = Future()
    assert only_itself(candidate, memory, monkeypatch)


@pytest.mark.parametrize("answer", [[], ["sj-db1"], psycopg2.OperationalError("gone"), TimeoutError()])
def test_who_does_not_stream_from_the_candidate_is_not_kept(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any], answer: Any
) -> None:
    """Planted: who streams from the old primary may have more, and would have to be rewound."""
    answers[ATTACHED] = answer
    candidate = Candidate()
    ready(memory, candidate)
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


def test_the_gate_is_in_force_when_the_checkpointer_has_done_something_since() -> None:
    session = gate_in_force(make)
    assert isinstance(session, Local)
    assert (Local.commands, session.closed) == (["CHECKPOINT"], False)


def test_a_gate_that_is_not_shown_is_not_in_force(
    monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]
) -> None:
    monkeypatch.setattr(kept_members, "GATE_S", 0.05)
    answers[SHOWN] = ""
    assert gate_in_force(make) is None
    assert Local.commands == []


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


def looked() -> Future[Any]:
    return known(Local())


def test_a_sync_standby_shuts_the_gate_and_opens_it_when_it_leaves_the_set(memory: Memory) -> None:
    candidate = Candidate()
    kept_members.gated(candidate, memory, looked)
    assert candidate.state_handler.waits_for == {GATE}
    first = memory.gate
    assert first is not None
    kept_members.gated(candidate, memory, looked)
    assert memory.gate is first
    candidate.cluster.sync = SyncState.from_node("22", {"leader": "dj-db1", "sync_standby": "dj-db2"})
    kept_members.gated(candidate, memory, looked)
    assert (candidate.state_handler.waits_for, memory.gate) == (set(), None)
    assert first.result().closed


def test_a_session_that_has_ended_shows_nothing(memory: Memory, answers: dict[str, Any]) -> None:
    """Planted: PostgreSQL was started again, and the new checkpointer has not read its settings yet."""
    candidate = Candidate()
    kept_members.gated(candidate, memory, looked)
    first = memory.gate
    answers[ALIVE] = psycopg2.OperationalError("server closed the connection")
    kept_members.gated(candidate, memory, looked)
    assert memory.gate is not first


@pytest.mark.parametrize("failure", [TimeoutError("slow"), None])
def test_a_look_that_showed_nothing_is_taken_again(memory: Memory, failure: Exception | None) -> None:
    candidate = Candidate()
    failed: Future[Any] = Future()
    failed.set_exception(failure) if failure else failed.set_result(None)
    candidate.state_handler.config._server_parameters = {"synchronous_standby_names": GATE}
    memory.gate = failed
    kept_members.gated(candidate, memory, looked)
    assert memory.gate not in (failed, None)


@pytest.mark.parametrize("role", [PostgresqlRole.PRIMARY, PostgresqlRole.PROMOTED])
def test_a_primary_is_left_alone(memory: Memory, role: PostgresqlRole) -> None:
    candidate = Candidate()
    candidate.state_handler.role = role
    memory.gate = known(Local())
    kept_members.gated(candidate, memory, looked)
    assert (candidate.state_handler.waits_for, memory.gate) == (None, None)


def test_a_promotion_under_way_is_left_alone(memory: Memory) -> None:
    candidate = Candidate()
    candidate._async_executor.busy = True
    kept_members.gated(candidate, memory, looked)
    assert candidate.state_handler.waits_for is None


MEMBERS = [Member("1", name, None, {}) for name in ("dj-db1", "dj-db2", "gg-db1")]


def follows(
    memory: Memory,
    monkeypatch: pytest.MonkeyPatch,
    holder: str | None,
    name: str = "dj-db2",
    parted: str | None = "7",
) -> Any:
    """Whom Patroni of `name` follows while OFFER stands."""
    monkeypatch.setattr(Ha, "is_standby_cluster", lambda self: False)
    ha = Candidate()
    ha.state_handler.name = name
    ha.patroni = SimpleNamespace(nostream=False, replicatefrom=None)
    memory.parted = parted
    leader = Leader("5", "1", next(one for one in MEMBERS if one.name == holder)) if holder else None
    empty = Cluster.empty()._asdict()
    offer = Failover.from_node("7", OFFER)
    cluster = Cluster(**{**empty, "leader": leader, "members": MEMBERS, "failover": offer, "sync": SYNC})
    found = ha._get_node_to_follow(cluster)
    return found and found.name


@pytest.mark.parametrize(
    ("name", "holder", "followed"),
    [
        ("dj-db2", "dj-db1", "gg-db1"),
        ("dj-db2", None, "gg-db1"),
        ("dj-db2", "gg-db1", "gg-db1"),
        ("gg-db1", "dj-db1", "dj-db1"),
        ("dj-db1", None, None),
    ],
)
def test_a_kept_member_streams_from_the_candidate_while_the_offer_stands(
    memory: Memory, monkeypatch: pytest.MonkeyPatch, name: str, holder: str | None, followed: str | None
) -> None:
    assert follows(memory, monkeypatch, holder, name) == followed


def test_while_the_old_primary_streams_it_is_followed(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: commits that are under way wait for who has gone."""
    assert follows(memory, monkeypatch, "dj-db1", parted=None) == "dj-db1"
    assert follows(memory, monkeypatch, "dj-db1", parted="6") == "dj-db1"


def test_the_end_of_the_stream_is_seen_once_and_wakes_patroni(
    memory: Memory, answers: dict[str, Any]
) -> None:
    ha, looks, woken = Candidate(), list[Any](), list[str]()
    ha.state_handler.name = "dj-db2"
    kept_members.parting(ha, memory, looks.append)
    kept_members.parting(ha, memory, looks.append)
    assert (len(looks), memory.parted) == (1, None)
    streams = iter([True, True, False, False, False, True])
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        answers[STREAMS] = next(streams)

    answers[STREAMS], answers[NUDGE] = next(streams), True
    kept_members.parted(lambda: woken.append("woken"), memory, "7", sleep, lambda: now[0])
    assert (woken, memory.parted) == (["woken"], "7")
    assert next(streams, None) is None  # looked on until the candidate's stream was there


def test_who_is_not_led_to_the_candidate_is_nudged_so_often_and_no_more(answers: dict[str, Any]) -> None:
    slept: list[float] = []
    answers[STREAMS], answers[NUDGE] = False, True
    kept_members.nudged(make(), slept.append)
    assert len(slept) == kept_members.NUDGES


@pytest.mark.parametrize("name", ["dj-db1", "gg-db1", "sj-db1"])
def test_who_is_not_kept_looks_for_no_end(memory: Memory, name: str) -> None:
    ha, looks = Candidate(), list[Any]()
    ha.state_handler.name = name
    kept_members.parting(ha, memory, looks.append)
    assert looks == []


@pytest.mark.parametrize("version", ["6", "7"])
def test_the_look_ends_with_the_offer_and_in_any_case(
    memory: Memory, answers: dict[str, Any], version: str
) -> None:
    Failover.from_node("7", OFFER)
    now, woken = [0.0], list[str]()
    answers[STREAMS] = True

    def sleep(seconds: float) -> None:
        now[0] += seconds

    kept_members.parted(lambda: woken.append("woken"), memory, version, sleep, lambda: now[0])
    assert (woken, memory.parted) == ([], None)
    assert now[0] == pytest.approx(0.0 if version == "6" else kept_members.PARTING_S, abs=0.1)


def test_another_lock_holder_than_the_offers_is_followed(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: an offer of yesterday must not lead a standby away from the primary."""
    monkeypatch.setattr(
        sys.modules[__name__], "OFFER", '{"leader": "dj-db1", "member": "gg-db1", "kept": ["sj-db1"]}'
    )
    MEMBERS.append(Member("1", "sj-db1", None, {}))
    try:
        assert follows(memory, monkeypatch, "dj-db2", "sj-db1") == "dj-db2"
    finally:
        MEMBERS.pop()


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
        taken = Taken(candidate, frozenset({"dj-db2"}), version, cast(Any, self))
        return settle(taken, self.sleep, lambda: self.now, 10.0)


def test_who_has_flushed_the_new_history_stays_and_is_waited_for(memory: Memory) -> None:
    candidate, world = Candidate(), World(0.3, {0.5: ["dj-db2", "somebody-else"]})
    assert world.settle(candidate) == {"dj-db2"}
    assert candidate.swaps == []  # /sync names them already
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
    monkeypatch.setattr(Failover, "from_node", Failover.from_node)
    with pytest.raises(ReplacedFunctionChanged):
        kept_members.install(Memory())


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    assert kept_members.MEMORY.taken is None
