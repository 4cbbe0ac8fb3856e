"""Migrations run at once and again; the service role can add facts and nothing more."""

from __future__ import annotations

import threading

import pytest

from app.migrations.run import MigrationError, migrate

pytestmark = pytest.mark.postgres


def test_again_and_at_once(server):
    failures = []

    def run() -> None:
        try:
            migrate(server.owner_dsn, service_role="procurement_app", operator_key="k" * 40)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    rows = server.sql("SELECT count(*) FROM procurement.party WHERE key_hash = sha256(%s)", b"k" * 40)
    assert rows == [(1,)]


def test_it_says_what_is_missing(server):
    with pytest.raises(MigrationError, match="does not exist"):
        migrate(server.owner_dsn, service_role="nobody", operator_key=None)
    with pytest.raises(MigrationError, match="32 characters"):
        migrate(server.owner_dsn, service_role="procurement_app", operator_key="short")


def test_an_observer_may_read_when_tenders_close_and_nothing_else(server):
    given = {"service_role": "procurement_app", "operator_key": None, "observer_role": "watcher"}
    migrate(server.owner_dsn, **given)  # it is not there yet
    server.sql("CREATE ROLE watcher LOGIN")
    try:
        for _ in range(2):
            migrate(server.owner_dsn, **given)
        rights = server.sql(
            "SELECT table_name, column_name, privilege_type FROM information_schema.column_privileges"
            " WHERE grantee = 'watcher' ORDER BY 2"
        )
        assert rights == [("tender", "deadline", "SELECT"), ("tender", "rehearsal", "SELECT")]
    finally:
        server.sql("DROP OWNED BY watcher")
        server.sql("DROP ROLE watcher")


def test_the_service_role_has_no_right_to_change(server):
    rows = server.sql(
        "SELECT DISTINCT privilege_type FROM information_schema.role_table_grants"
        " WHERE grantee = 'procurement_app' AND table_schema = 'procurement'"
    )
    assert {row[0] for row in rows} == {"SELECT", "INSERT"}
