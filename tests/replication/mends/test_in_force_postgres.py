"""PostgreSQL shows a standby as sync before commits wait for it; `/sync` names it only afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from threading import Thread
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni import global_config
from patroni.dcs import Cluster, ClusterConfig, Leader, Member, Status, SyncState
from patroni.postgresql.misc import PostgresqlState
from patroni.postgresql.sync import SyncHandler

from replication.mends.announced import SESSION
from replication.mends.gate import GATE, Gate, in_force
from replication.mends.grown_set import Growth, InForce, current_state, look
from replication.mends.in_force import read_by_walsenders, shown

from ..salvage_servers import BIN, Node
from .sync_servers import (
    FLUSHED,
    ROWS,
    acknowledged,
    process,
    session,
    stopped,
    streaming,
    tell,
    until,
    walsender,
)

pytestmark = [
    pytest.mark.skipif(not (BIN / "postgres").exists(), reason="needs PostgreSQL 15's programs"),
    pytest.mark.postgres,
]


@pytest.fixture
def servers() -> Iterator[tuple[Node, ...]]:
    """A primary and two standbys."""
    with streaming("dj-db1", "gg-db1", "dj-db2") as nodes:
        yield nodes


class Handle:
    """What Patroni's sync handler uses of its handle of the primary; the server is a real one."""

    name, supports_multiple_sync, supports_quorum_commit = "dj-db1", True, True
    state = PostgresqlState.RUNNING

    def __init__(self, node: Node) -> None:
        self.node = node
        self.config = SimpleNamespace(
            _server_parameters={}, set_synchronous_standby_names=self._set_synchronous_standby_names
        )

    def _set_synchronous_standby_names(self, value: str) -> bool:
        self.config._server_parameters["synchronous_standby_names"] = value
        tell(self.node, value)
        return True

    def synchronous_commit(self) -> str:
        return "on"

    def synchronous_standby_names(self) -> str:
        return self.node.sql("SHOW synchronous_standby_names", "postgres")[0][0]

    def pg_stat_replication(self) -> list[dict[str, Any]]:
        names = ("pid", "application_name", "sync_state", "flush_lsn")
        return [dict(zip(names, row, strict=True)) for row in self.node.sql(ROWS, "postgres")]

    def last_operation(self) -> int:
        return self.node.sql(FLUSHED, "postgres")[0][0]

    def get_primary_timeline(self) -> int:
        return 1

    def query(self, sql: str) -> None:
        self.node.sql(sql, "postgres")

    def reset_cluster_info_state(self, cluster: object) -> None: ...

    def is_primary(self) -> bool:
        return True


def cluster(members: str, *names: str) -> Cluster:
    data = {"state": "running", "conn_url": "postgres://127.0.0.1/"}
    settings = {"synchronous_mode": True, "synchronous_node_count": len(names)}
    value = {"leader": "dj-db1", "sync_standby": members}
    made = Cluster(
        "1", ClusterConfig(1, settings, 1), Leader(1, "0", Member(1, "dj-db1", "0", data)), Status.empty(),
        [Member(1, name, str(place), data) for place, name in enumerate(names)], None,
        SyncState.from_node("7", value), None, None, None,
    )  # fmt: skip
    global_config.update(made)  # pyright: ignore[reportAttributeAccessIssue]
    return made


def test_a_standby_is_named_only_when_commits_wait_for_it(servers: tuple[Node, ...]) -> None:
    """Planted: Patroni alone confirms it while the primary goes on acknowledging without it."""
    primary, standby, _ = servers
    handler: Any = SyncHandler(Handle(primary))  # pyright: ignore[reportArgumentType]
    growth = Growth(lambda value, bare, ended: _done(lambda: look(value, bare, lambda: session(primary))))
    mended, now = current_state(SyncHandler.current_state, growth), cluster("", "gg-db1")
    checkpointer = process(primary, "checkpointer")
    with stopped(checkpointer):
        handler.set_synchronous_standby_names({"gg-db1"})
        until(lambda: handler.current_state(now).sync_confirmed == {"gg-db1"}, "Patroni confirms it")
        until(lambda: mended(handler, now).sync_confirmed == set(), "the mend does not")
        with stopped(process(standby, "walreceiver")):
            assert acknowledged(primary, 1)  # and gg-db1 has it not
            assert handler.current_state(now).sync_confirmed == {"gg-db1"}
            assert mended(handler, now).sync_confirmed == set()
        time.sleep(0.5)
        assert mended(handler, now).sync_confirmed == set()
    until(lambda: mended(handler, now).sync_confirmed == {"gg-db1"}, "the mend confirms it")
    with stopped(process(standby, "walreceiver")):
        assert not acknowledged(primary, 2)


def _done(work: Callable[[], InForce | None]) -> Future[InForce | None]:
    """In a thread: a stopped checkpointer is waited for."""
    future: Future[InForce | None] = Future()

    def run_it() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # the server may be gone by then
            future.set_exception(error)

    Thread(target=run_it, daemon=True).start()
    return future


def test_a_walsender_that_may_not_have_read_is_waited_for(servers: tuple[Node, ...]) -> None:
    """Planted: a stopped walsender lets commits go by the old names when it goes on."""
    primary, standby, slow = servers
    tell(primary, '"gg-db1"')
    with stopped(process(slow, "walreceiver")):  # a standby that answers nothing costs no time
        pid = walsender(primary, standby)
        with stopped(pid):
            tell(primary, '2 ("dj-db2","gg-db1")')
            local = shown('2 ("dj-db2","gg-db1")', lambda: session(primary))
            assert local is not None
            now = iter(range(100))
            with pytest.raises(TimeoutError, match=str(pid)):
                read_by_walsenders(local, clock=lambda: float(next(now)))
        began_s = time.monotonic()
        read_by_walsenders(local)
        assert time.monotonic() - began_s < 1
        local.close()


def test_a_gate_that_is_opened_at_the_promotion_holds_commits_up(servers: tuple[Node, ...]) -> None:
    """Why it is shut for an announced handover only. A session shows that it is in force."""
    _, candidate, other = servers
    tell(candidate, GATE)
    gate = Gate()
    gate.look = Future()
    gate.look.set_result(in_force(lambda: session(candidate)))
    gate.tell("a1")
    named = f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{SESSION}a1'"
    assert candidate.sql(named, "postgres") == [(1,)]
    gate.forget()
    until(lambda: candidate.sql(named, "postgres") == [(0,)], "the word is gone with the session")
    with stopped(process(candidate, "checkpointer")):
        tell(candidate, "")
        candidate.control("promote")
        assert not acknowledged(candidate, 1)
    assert acknowledged(candidate, 2)
    with stopped(process(other, "checkpointer")):
        other.control("promote")
        assert acknowledged(other, 1)  # without a gate nobody waits
