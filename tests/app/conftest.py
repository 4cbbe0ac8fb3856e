"""A throw-away PostgreSQL 15 server for the application's tests, and a client that speaks the JSON API."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import pytest

from app.factory import create_app
from app.migrations.run import migrate
from app.settings import Settings

BIN = Path("/usr/lib/postgresql/15/bin")
OPERATOR_KEY = "operator-key-for-tests-0123456789abcdef"
SERVICE_ROLE = "procurement_app"
CONFIGURATION = """
fsync = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 60
listen_addresses = '127.0.0.1'
timezone = 'UTC'
"""


def as_postgres(*command: str | Path) -> list[str]:
    """PostgreSQL refuses to run as root."""
    words = [str(word) for word in command]
    return words if os.geteuid() != 0 else ["runuser", "-u", "postgres", "--", *words]


@dataclass
class Server:
    """One throw-away server; ``stop`` and ``start`` take it away and bring it back."""

    folder: Path
    port: int
    dsn: str = field(init=False)
    owner_dsn: str = field(init=False)

    def __post_init__(self) -> None:
        self.dsn = f"host=127.0.0.1 port={self.port} dbname=procurement user={SERVICE_ROLE}"
        self.owner_dsn = f"host={self.folder} port={self.port} dbname=procurement user=postgres"

    def control(self, *words: str) -> None:
        command = as_postgres(BIN / "pg_ctl", "-D", self.folder / "data", "-w", "-s", *words)
        subprocess.run(command, check=True, timeout=60, stdin=subprocess.DEVNULL, cwd="/")

    def start(self) -> None:
        self.control("-l", str(self.folder / "log"), "start")

    def stop(self) -> None:
        self.control("-m", "immediate", "stop")

    def sql(self, statement: str, *parameters: object) -> list[tuple]:
        """Run one statement as the owner, outside any transaction."""
        connection = psycopg2.connect(self.owner_dsn)
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="hanbat-app-pg-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        initdb = as_postgres(
            BIN / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-N",
            "-E", "UTF8", "--locale=C.UTF-8",
        )  # fmt: skip
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, timeout=60, cwd="/")
        running = Server(folder, free_port())
        with (folder / "data" / "postgresql.conf").open("a") as configuration:
            configuration.write(f"{CONFIGURATION}port = {running.port}\n")
            configuration.write(f"unix_socket_directories = '{folder}'\n")
        running.start()
        try:
            admin = running.owner_dsn.replace("dbname=procurement", "dbname=postgres")
            connection = psycopg2.connect(admin)
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("CREATE DATABASE procurement")
                cursor.execute(f"CREATE ROLE {SERVICE_ROLE} LOGIN")
            connection.close()
            migrate(running.owner_dsn, service_role=SERVICE_ROLE, operator_key=OPERATOR_KEY)
            yield running
        finally:
            running.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def settings(server: Server) -> Settings:
    return Settings(
        dsn=server.dsn, secret_key="test", pool_size=12, commit_limit_s=2.0, lock_limit_s=1.0,
        query_limit_s=3.0,
    )  # fmt: skip


@pytest.fixture(scope="session")
def app(settings: Settings):
    application = create_app(settings)
    yield application
    application.extensions["database"].close()
    application.extensions["readiness"].close()
    application.extensions["commits"].close()


COUNT = itertools.count(1)


@dataclass
class Caller:
    """A party that speaks the JSON API."""

    app: object
    key: str
    id: int = 0

    def post(self, path: str, body: object = None, *, key: str | None = None):
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Idempotency-Key": key or f"test-{next(COUNT)}",
        }
        return self.app.test_client().post(  # type: ignore[attr-defined]
            f"/api/v1{path}", json={} if body is None else body, headers=headers
        )

    def get(self, path: str):
        headers = {"Authorization": f"Bearer {self.key}"}
        return self.app.test_client().get(f"/api/v1{path}", headers=headers)  # type: ignore[attr-defined]

    def wait_past(self, tender: dict) -> None:
        """Until the tender's deadline is past, by the database's clock."""
        limit_s = time.monotonic() + 60
        while self.get("/time").json["now"] < tender["deadline"]:
            assert time.monotonic() < limit_s, "the deadline never came"
            time.sleep(0.1)

    def made(self, path: str, body: object = None, *, key: str | None = None) -> dict:
        """POST something that must work; its answer."""
        answer = self.post(path, body, key=key)
        assert answer.status_code == 201, answer.text
        return answer.json


@pytest.fixture(scope="session")
def operator(app) -> Caller:
    return Caller(app, OPERATOR_KEY)


@pytest.fixture(scope="session")
def new_institution(app, operator: Caller):
    def make() -> Caller:
        number = next(COUNT)
        key = f"institution-key-{number:020d}"
        answer = operator.made("/institutions", {"name": f"기관 {number}", "key": key})
        return Caller(app, key, answer["id"])

    return make


@pytest.fixture(scope="session")
def new_company(app, operator: Caller):
    def make() -> Caller:
        number = next(COUNT)
        key = f"company-key-{number:024d}"
        body = {"name": f"회사 {number}", "business_number": f"{number:010d}", "key": key}
        return Caller(app, key, operator.made("/companies", body)["id"])

    return make
