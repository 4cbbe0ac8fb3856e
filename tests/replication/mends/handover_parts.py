"""Patroni's handles and PostgreSQL's answers, for the tests of a planned handover that keeps its sync set."""

from __future__ import annotations

import json
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
from patroni.dcs import Failover, SyncState
from patroni.ha import Ha
from patroni.postgresql.misc import PostgresqlRole, PostgresqlState

from replication.local_sql import Local

OFFER = json.dumps({"leader": "dj-db1", "member": "gg-db1", "kept": ["DJ-DB2"]})
SYNC = SyncState.from_node("20", {"leader": "dj-db1", "sync_standby": "dj-db2,gg-db1"})


class Session:
    """A session with the answers that it gives; an exception is raised."""

    def __init__(self, **answers: Any) -> None:
        self.answers: dict[str, Any] = answers
        self.commands: list[str] = []
        self.closed = False

    def answer(self, sql: str) -> Any:
        answer = self.answers[sql]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def ask(self, sql: str) -> Any:
        return self.answer(sql)

    def run(self, sql: str, limit_s: float) -> Any:
        """Answers when the rows are fetched."""
        self.commands.append(sql)
        return SimpleNamespace(fetchone=lambda: (self.answer(sql),))

    def close(self) -> None:
        self.closed = True

    def new(self) -> Local:
        """This session, as the functions want it."""
        return cast(Local, self)


def known(session: Local | None) -> Future[Local | None]:
    """A look at the gate that has ended."""
    future: Future[Local | None] = Future()
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
