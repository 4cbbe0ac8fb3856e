"""What a person is told besides: from the ring, the lease, the tenders; unknown stays unknown."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import psycopg2
import pytest

from app.migrations.run import migrate
from failover.figures import DATABASE, HOST_S, SQL_S, deadlines, informed, with_ring
from failover.view import NotSeen, Prospect
from replication import access

from .probed_server import own_folder, primary, sql
from .views import DCS, view

BEHIND = Prospect("gg-db1", "dj-db1", False, 4096, None, 200)
LEVEL = Prospect("gg-db1", "dj-db1", False, 0, 0, 200)
QUIET = {"primary": "dj-db1", "exposed_seconds": 0.0, "age_seconds": 7.5}


@pytest.mark.parametrize(
    ("report", "back_ms"),
    [
        ({"primary": "dj-db1", "exposed_seconds": 3.2, "age_seconds": 0.5}, 3200),
        ({"primary": "dj-db1", "exposed_seconds": 0.0, "age_seconds": 7.5}, 7500),  # silent since then
        ({"primary": "dj-db1", "exposed_seconds": None, "age_seconds": 7.5}, None),
        ({"primary": "dj-db2", "exposed_seconds": 3.2, "age_seconds": 0.5}, None),  # of another primary
        ({}, None),
        (None, None),
    ],
)
def test_the_time_that_would_be_lost(report: dict[str, Any] | None, back_ms: int | None) -> None:
    assert with_ring(BEHIND, report).back_ms == back_ms


def test_who_lacked_no_byte_may_lack_what_was_written_since() -> None:
    """Planted: a candidate that was level at the last look was given no time, as if it had been proved."""
    assert with_ring(LEVEL, QUIET).back_ms == 7500


def test_where_nothing_is_lost_no_time_is() -> None:
    proved = replace(LEVEL, proved=True)
    assert with_ring(proved, QUIET) == proved


class Leases:
    def time_left_ms(self, lease: int) -> int | None:
        return {7: 12_000}.get(lease)


class Addresses:
    """The configuration of the witness: it has no PostgreSQL of its own to ask."""

    me = "sj-wt1"

    def __init__(self) -> None:
        self.addresses = {"gg-db1": "10.0.0.9"}


def told(dcs: Any, prospect: Prospect = BEHIND) -> Any:
    asked: list[str] = []

    def ring(address: str) -> dict[str, Any]:
        asked.append(address)
        return {"primary": "dj-db1", "exposed_seconds": 3.2, "age_seconds": 0.1}

    seen = view(dcs=dcs, prospects=(prospect,))
    due = {("gg-db1",): 3}
    return informed(
        seen, cast(Any, Addresses()), cast(Any, Leases()), ring, lambda _, hosts: due[tuple(hosts)]
    )


def test_all_that_can_be_found_out() -> None:
    seen = told(DCS)
    assert (seen.waiting.lease_left_ms, seen.waiting.deadlines_crossed) == (12_000, 3)
    assert seen.prospects[0].back_ms == 3200
    assert told(DCS, LEVEL).prospects[0].back_ms == 3200
    assert told(DCS, replace(LEVEL, proved=True)).prospects[0].back_ms is None


def test_a_dcs_that_was_not_seen_tells_nothing() -> None:
    assert told(NotSeen("no majority")).waiting.lease_left_ms is None


def test_the_database_is_the_applications() -> None:
    assert DATABASE == access.DATABASE


@dataclass
class Servers:
    """A configuration in which each host has a port of this computer."""

    ports: dict[str, int]

    def dsn(self, host: str, database: str) -> str:
        return f"host=127.0.0.1 port={self.ports[host]} dbname={database} user=watcher"


@pytest.fixture(scope="module")
def served() -> Iterator[int]:
    """A server with the application's schema, migrated with an observer's role that has no other right."""
    with own_folder() as folder, primary(folder) as port:
        sql(port, "CREATE ROLE procurement_app LOGIN", "CREATE ROLE watcher LOGIN")
        sql(port, f"CREATE DATABASE {DATABASE}", f"REVOKE ALL ON DATABASE {DATABASE} FROM PUBLIC")
        owner = f"host=127.0.0.1 port={port} user=hanbat_observer dbname={DATABASE}"
        migrate(owner, service_role="procurement_app", operator_key=None, observer_role="watcher")
        yield port


@pytest.mark.postgres
def test_the_deadlines_are_told_to_the_observers_own_role(served: int) -> None:
    """Planted: psql was started as a role that nothing let in, and the deadlines were unknown for ever."""
    assert deadlines(cast(Any, Servers({"gg-db1": served})), ["gg-db1"]) == 0


@pytest.mark.postgres
def test_it_sees_no_more_than_that(served: int) -> None:
    connection = psycopg2.connect(Servers({"x": served}).dsn("x", DATABASE))
    with contextlib.closing(connection), connection.cursor() as cursor:
        for query in ("SELECT title FROM procurement.tender", "SELECT count(*) FROM procurement.party"):
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cursor.execute(query)
            connection.rollback()


@pytest.mark.postgres
def test_who_is_silent_or_refuses_is_passed_over(served: int) -> None:
    with socket.socket() as mute, socket.socket() as closed:
        mute.bind(("127.0.0.1", 0))
        mute.listen(4)
        closed.bind(("127.0.0.1", 0))
        ports = {"mute": mute.getsockname()[1], "closed": closed.getsockname()[1], "gg-db1": served}
        config = cast(Any, Servers(ports))
        began = time.monotonic()
        assert deadlines(config, ["closed", "mute", "gg-db1"]) == 0
        assert time.monotonic() - began < HOST_S + 1
        assert deadlines(config, ["mute", "mute", "mute", "mute", "gg-db1"]) is None
        assert time.monotonic() - began < HOST_S + SQL_S + 2
