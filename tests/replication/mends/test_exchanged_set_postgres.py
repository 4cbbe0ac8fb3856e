"""One standby takes another's place in the set while a third is behind; real PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest

from replication.mends.exchanged_set import exchanged, is_read
from replication.mends.in_force import RECORD

from ..salvage_servers import BIN, Node
from .sync_servers import FLUSHED, ROWS, process, session, stopped, streaming, tell, until, waited, walsender

pytestmark = [
    pytest.mark.skipif(not (BIN / "postgres").exists(), reason="needs PostgreSQL 15's programs"),
    pytest.mark.postgres,
]
OLD, NEW = '2 ("dj-db2","gg-db2")', '2 ("gg-db1","gg-db2")'
LOCAL = "SET synchronous_commit = local"


@pytest.fixture
def servers() -> Iterator[tuple[Node, ...]]:
    """The primary, who leaves the set, who joins it, who stays."""
    with streaming("dj-db1", "dj-db2", "gg-db1", "gg-db2") as nodes:
        tell(nodes[0], OLD)
        yield nodes


@contextlib.contextmanager
def commit_under_way(primary: Node) -> Iterator[Any]:
    connection: Any = psycopg2.connect(primary.dsn("postgres"), async_=1)
    with contextlib.closing(connection):
        waited(connection, 5)
        cursor = connection.cursor()  # kept: psycopg2 asks for it when the answer comes
        cursor.execute("INSERT INTO written VALUES (1)")
        yield connection


def flushed_all(primary: Node, standby: Node) -> bool:
    flushed = {name: lsn for _, name, _, lsn in primary.sql(ROWS, "postgres")}
    return flushed[standby.name] >= primary.sql(FLUSHED, "postgres")[0][0]


def traffic(primary: Node) -> None:
    """A record that waits for nobody: every standby has something to answer."""
    with contextlib.closing(primary.connect("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(LOCAL)
        cursor.execute(RECORD)


def config(primary: Node) -> Any:
    """What is used of Patroni's `ConfigHandler`; it tells a real server."""
    server = SimpleNamespace(state="running", is_primary=lambda: True)
    return SimpleNamespace(
        _server_parameters={"synchronous_standby_names": OLD}, _postgresql=server, node=primary
    )


def tells(self: Any, value: str) -> bool:
    self._server_parameters["synchronous_standby_names"] = value
    tell(self.node, value)
    return True


def test_patroni_alone_acknowledges_without_the_one_that_stays(servers: tuple[Node, ...]) -> None:
    """Planted: the hazard."""
    primary, leaves, _, stays = servers
    with stopped(process(stays, "walreceiver")), commit_under_way(primary) as commit:
        until(lambda: flushed_all(primary, leaves), "who leaves has it")
        with stopped(walsender(primary, leaves)):
            tell(primary, NEW)
            traffic(primary)
            assert waited(commit, 3)  # acknowledged, and gg-db2 has it not


def test_nothing_goes_before_every_walsender_has_read(servers: tuple[Node, ...]) -> None:
    primary, leaves, _, stays = servers
    told = exchanged(tells, lambda names: is_read(names, lambda: session(primary)))
    handler = config(primary)
    with stopped(process(stays, "walreceiver")), commit_under_way(primary) as commit:
        until(lambda: flushed_all(primary, leaves), "who leaves has it")
        with stopped(walsender(primary, leaves)):
            told(handler, NEW)
            traffic(primary)
            assert not waited(commit, 1)
            assert handler._server_parameters["synchronous_standby_names"] == '2 (hanbat_gate,"gg-db2")'
        told(handler, NEW)
        assert handler._server_parameters["synchronous_standby_names"] == NEW
        traffic(primary)
        assert not waited(commit, 1)
    with commit_under_way(primary) as commit:  # who stays goes on
        assert waited(commit, 5)
