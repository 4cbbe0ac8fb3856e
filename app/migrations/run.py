"""Bring the schema up to date, grant the service role its rights, install the operator's key.

One transaction under an advisory lock: any number of hosts may run it at once, and again.
"""

from __future__ import annotations

import hashlib
from typing import Any

import psycopg2
import psycopg2.sql
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

LOCK = "procurement.migrate"
LEAST_KEY_LENGTH = 32
LOCK_LIMIT_S = 60


class MigrationError(RuntimeError):
    """The migration cannot be run as asked; the text says why."""


def migrate(
    owner_dsn: str, *, service_role: str, operator_key: str | None, observer_role: str | None = None
) -> None:
    """Run every pending migration as the owner; safe to run concurrently and twice.

    `observer_role`: may read when tenders close, and nothing else. One that does not exist is left out: the
    application does without it.
    """
    if operator_key is not None and len(operator_key) < LEAST_KEY_LENGTH:
        raise MigrationError(f"the operator's key must have at least {LEAST_KEY_LENGTH} characters")
    engine = create_engine(
        "postgresql+psycopg2://",
        creator=lambda: psycopg2.connect(owner_dsn, connect_timeout=5),
        poolclass=NullPool,
    )
    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_LIMIT_S}s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:lock, 0))"), {"lock": LOCK})
        connection.execute(text("CREATE SCHEMA IF NOT EXISTS procurement"))
        config = Config()
        config.set_main_option("script_location", "app:migrations")
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        driver = connection.connection.dbapi_connection
        if driver is None:
            raise MigrationError("the connection was lost")
        cursor = driver.cursor()
        _grant(cursor, service_role)
        if observer_role is not None and _exists(cursor, observer_role):
            _grant_deadlines(cursor, observer_role)
        if operator_key is not None:
            _install_operator(cursor, operator_key)
        cursor.close()
    engine.dispose()


def _exists(cursor: Any, role: str) -> bool:
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
    return cursor.fetchone() is not None


def _grant_deadlines(cursor: Any, role: str) -> None:
    cursor.execute("SELECT current_database()")
    (database,) = cursor.fetchone()
    names = {"role": psycopg2.sql.Identifier(role), "database": psycopg2.sql.Identifier(database)}
    for statement in (
        "GRANT CONNECT ON DATABASE {database} TO {role}",
        "GRANT USAGE ON SCHEMA procurement TO {role}",
        "GRANT SELECT (deadline, rehearsal) ON procurement.tender TO {role}",
    ):
        cursor.execute(psycopg2.sql.SQL(statement).format(**names))


def _grant(cursor: Any, service_role: str) -> None:
    if not _exists(cursor, service_role):
        raise MigrationError(f"the service role {service_role!r} does not exist: create it first")
    role = psycopg2.sql.Identifier(service_role)
    for statement in (
        "GRANT USAGE ON SCHEMA procurement TO {role}",
        "GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA procurement TO {role}",
        "REVOKE UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA procurement FROM {role}",
        "REVOKE INSERT ON procurement.schema_version FROM {role}",
    ):
        cursor.execute(psycopg2.sql.SQL(statement).format(role=role))


def _install_operator(cursor: Any, key: str) -> None:
    cursor.execute(
        "INSERT INTO procurement.party (kind, name, key_hash, request_key)"
        " VALUES ('operator', '운영자 Operator', %s, 'migrate') ON CONFLICT DO NOTHING",
        (hashlib.sha256(key.encode()).digest(),),
    )
