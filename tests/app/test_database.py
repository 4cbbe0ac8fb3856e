"""The three outcomes, against a real server whose sync standby is missing."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import psycopg2
import pytest

from app.database import Database
from app.errors import NotWritten, OutcomeUnknown, ReadUnconfirmed, Refusal
from app.models import NewInstitution
from app.parties import Party, add_institution

pytestmark = pytest.mark.postgres
MISSING = "ALTER SYSTEM SET synchronous_standby_names = 'nobody'"


@pytest.fixture
def database(settings):
    database = Database(replace(settings, commit_limit_s=1.0))
    yield database
    database.close()


@pytest.fixture
def isolated(server):
    """Every commit waits for a sync standby that is not there, as on an isolated primary."""
    server.sql(MISSING)
    server.sql("SELECT pg_reload_conf()")
    eventually(lambda: server.sql("SHOW synchronous_standby_names") == [("nobody",)])
    time.sleep(0.2)
    yield server
    server.sql("ALTER SYSTEM RESET synchronous_standby_names")
    server.sql("SELECT pg_reload_conf()")
    eventually(lambda: not waiting(server))


def eventually(true, limit_s: float = 5.0) -> None:
    end_s = time.monotonic() + limit_s
    while not true():
        assert time.monotonic() < end_s, f"still false after {limit_s} s"
        time.sleep(0.05)


def waiting(server) -> list[int]:
    rows = server.sql("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return [row[0] for row in rows]


def insert(stream: str):
    return lambda tx: tx.run(
        "INSERT INTO procurement.canary (stream, sequence, request_key) VALUES (%s, 1, 'k')", (stream,)
    )


def test_commit_without_the_sync_standby_is_unknown_and_bounded(database, isolated):
    started_s = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="lost"):
        database.write(insert("unknown-by-time"))
    assert 0.9 < time.monotonic() - started_s < 3


def test_cancelled_wait_is_never_success(database, isolated):
    """The server commits locally and answers success with a warning: unknown, not acknowledged."""
    outcome: list[BaseException | str] = []

    def run() -> None:
        try:
            Database(replace(database._settings, commit_limit_s=10)).write(insert("cancelled"))
            outcome.append("acknowledged")
        except OutcomeUnknown as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    eventually(lambda: waiting(isolated))
    isolated.sql("SELECT pg_cancel_backend(%s)", waiting(isolated)[0])
    thread.join(5)
    assert isinstance(outcome[0], OutcomeUnknown)
    assert "canceling wait for synchronous replication" in str(outcome[0])
    assert isolated.sql("SELECT 1 FROM procurement.canary WHERE stream = 'cancelled'") == [(1,)]


def test_a_read_is_not_answered_from_rows_nobody_else_has(database, isolated):
    with pytest.raises(ReadUnconfirmed):
        database.read(lambda tx: tx.all("SELECT * FROM procurement.canary"))


def test_a_replay_waits_for_replication(database, isolated):
    with pytest.raises(OutcomeUnknown):
        database.write(lambda tx: tx.one("SELECT 1 AS x"), barrier=lambda _: True)


def refuse(tx) -> None:
    tx.one("SELECT 1 AS x")
    raise Refusal(409, "already_paid", "seen in a row")


@pytest.mark.parametrize("way", ["write", "read"])
def test_a_refusal_is_not_given_out_for_rows_nobody_else_has(database, isolated, way):
    with pytest.raises((NotWritten, ReadUnconfirmed), match="could not be confirmed"):
        getattr(database, way)(refuse)


def test_a_constraint_is_no_refusal_before_its_row_is_replicated(database, isolated):
    """The row of a cancelled wait stands here, and nowhere else: "already bid" would be untrue elsewhere."""

    body = NewInstitution(name="nobody's", key="a-key-of-thirty-two-characters-or-more")

    def register(tx):
        return add_institution(tx, Party(0, "operator", "operator"), {}, body, "r")

    with pytest.raises(OutcomeUnknown):
        database.write(register)
    isolated.sql("SELECT pg_cancel_backend(%s)", waiting(isolated)[0])
    eventually(lambda: isolated.sql("SELECT 1 FROM procurement.party WHERE name = 'nobody''s'") == [(1,)])
    with pytest.raises(NotWritten, match="could not be confirmed"):
        database.write(register)


def test_a_refusal_leaves_nothing_of_its_work(database, server):
    def work(tx):
        insert("refused")(tx)
        refuse(tx)

    with pytest.raises(Refusal):
        database.write(work)
    assert server.sql("SELECT 1 FROM procurement.canary WHERE stream = 'refused'") == []


def test_a_request_and_its_rows_have_one_number(database, server):
    """By it the salvage finds what belongs together (`replication/salvage/compare.py`)."""
    body = NewInstitution(name="one number", key="another-key-of-thirty-two-characters")

    def work(tx):
        insert("one-number")(tx)
        return add_institution(tx, Party(0, "operator", "operator"), {}, body, "r2")

    database.write(work)
    found = server.sql(
        "SELECT c.xmin = p.xmin FROM procurement.canary c, procurement.party p"
        " WHERE c.stream = 'one-number' AND p.name = 'one number'"
    )
    assert found == [(True,)]


@pytest.mark.parametrize("way", ["write", "read"])
def test_a_refusal_is_confirmed_by_the_session_that_saw_its_reason(database, server, way):
    """Should it be lost in between, the next one decides anew: it may be on another primary."""
    looks: list[int] = []

    def work(tx):
        looks.append(tx.one("SELECT pg_backend_pid() AS pid")["pid"])
        if len(looks) > 1:
            return "there is no such row"
        server.sql("SELECT pg_terminate_backend(%s, 2000)", looks[0])
        raise Refusal(409, "already_paid", "seen by the first session only")

    assert getattr(database, way)(work) == "there is no such row"
    assert len(set(looks)) == 2


def test_an_xid_without_wal_does_not_wait(database, isolated):
    """Why the barrier emits a message: an xid alone passes an isolated primary."""
    row = database.write(lambda tx: tx.one("SELECT pg_current_xact_id()::text AS xid"))
    assert int(row["xid"]) > 0


def test_a_deadlock_is_run_again(database, server):
    tries = []

    def work(tx):
        tries.append(1)
        if len(tries) < 3:
            tx.run("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40P01'; END $$")
        return "done"

    assert database.write(work) == "done"
    assert len(tries) == 3


def test_a_read_only_server_wrote_nothing(database, server):
    server.sql("ALTER ROLE procurement_app SET default_transaction_read_only = on")
    try:
        with pytest.raises(NotWritten, match="read-only"):
            database.write(insert("read-only"))
    finally:
        server.sql("ALTER ROLE procurement_app RESET default_transaction_read_only")


def test_a_slow_statement_ends_without_a_cancel_of_commit(settings):
    database = Database(replace(settings, query_limit_s=0.5))
    with pytest.raises(NotWritten):
        database.write(lambda tx: tx.run("SELECT pg_sleep(5)"))
    database.close()


def test_a_frozen_server_is_left_in_time(settings):
    """The statement's limit lives at the server; the socket's limit holds even when the server does not."""
    database = Database(replace(settings, query_limit_s=0.7))

    def work(tx):
        tx.run("SET LOCAL statement_timeout = 0")
        tx.run("SELECT pg_sleep(6)")

    started_s = time.monotonic()
    with pytest.raises(NotWritten):
        database.write(work)
    assert time.monotonic() - started_s < 3
    database.close()


def test_dead_pooled_connections_are_replaced(database, server):
    database.write(insert("before-restart"))
    mine = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'procurement_app'"
    server.sql(mine)
    database.write(insert("after-restart"))


def test_connection_refused_wrote_nothing(settings):
    database = Database(replace(settings, dsn="host=127.0.0.1 port=1 dbname=x user=x"))
    with pytest.raises(NotWritten, match="cannot be reached"):
        database.write(insert("never"))


def test_a_full_pool_is_bounded(settings):
    database = Database(replace(settings, pool_size=1, pool_wait_s=0.2))
    with pytest.raises(NotWritten, match="in use"):
        database.write(lambda tx: database.write(lambda inner: 1))
    database.close()


def test_nothing_is_lowered(database):
    value = database.peek(lambda tx: tx.one("SHOW synchronous_commit"))
    assert value == {"synchronous_commit": "on"}


@pytest.mark.parametrize(
    "table", ["bid", "opening", "award", "payment", "subcontract_payment", "claim", "canary", "idempotency"]
)
def test_facts_are_append_only(database, server, table):
    with pytest.raises(psycopg2.Error, match="append-only"):
        server.sql(f"TRUNCATE procurement.{table} CASCADE")
    for statement in (
        f"DELETE FROM procurement.{table}",
        f"UPDATE procurement.{table} SET request_key = 'x'",
    ):
        with pytest.raises(NotWritten, match="permission denied"):
            database.write(lambda tx, statement=statement: tx.run(statement))


def test_even_the_owner_cannot_change_a_fact(database, server):
    database.write(insert("owner"))
    with pytest.raises(psycopg2.Error, match="append-only"):
        server.sql("UPDATE procurement.canary SET sequence = 9 WHERE stream = 'owner'")
    with pytest.raises(psycopg2.Error, match="append-only"):
        server.sql("DELETE FROM procurement.canary WHERE stream = 'owner'")
