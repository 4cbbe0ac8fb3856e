"""Two throw-away servers, a primary and its standby, with the application's tables; run as `postgres`."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from app.migrations.run import migrate
from replication.salvage.tail import Leader

BIN = Path("/usr/lib/postgresql/15/bin")
CONFIGURATION = """
fsync = off
shared_buffers = 32MB
listen_addresses = '127.0.0.1'
timezone = 'UTC'
wal_log_hints = on
wal_keep_size = 128MB
hot_standby = on
autovacuum = off
max_prepared_transactions = 2
"""
# One tender up to a claim, all of it on both servers.
BUSINESS = """
SET search_path TO procurement;
INSERT INTO party (kind, name, business_number, key_hash, request_key) VALUES
    ('institution', '대전시청', NULL, sha256('a'), 'r-1'), ('company', '한빛건설', '1', sha256('b'), 'r-2'),
    ('company', '샛별전기', '2', sha256('c'), 'r-3');
INSERT INTO tender (institution_id, number, title, kind, base_amount, range_percent, rate_percent, band,
    rehearsal, noticed_at, deadline, opening_at, chain_start, request_key)
SELECT id, 'T-1', '다리', 'construction', 1000, 2, 80, 'x', false, now(), now() + '1 day', now() + '1 day',
    'c', 'r-4' FROM party WHERE request_key = 'r-1';
INSERT INTO opening (tender_id, opened_by, bids_count, draw_counts, drawn_numbers, ranking, outcome,
    request_key)
SELECT t.id, t.institution_id, 1, array_fill(0, ARRAY[15]), '{}', '[]', 'first_ranked', 'r-5' FROM tender t;
ALTER TABLE bid DISABLE TRIGGER bid_in_time;
INSERT INTO bid (tender_id, company_id, sequence, amount, pick_a, pick_b, receipt_number, received_at, nonce,
    previous_hash, receipt_hash, request_key)
SELECT t.id, p.id, 1, 900, 1, 2, 'R-1', now(), 'n', 'c', 'h', 'r-6' FROM tender t, party p
WHERE p.request_key = 'r-2';
INSERT INTO award (tender_id, bid_id, company_id, amount, decided_by, request_key)
SELECT tender_id, id, company_id, amount, 'lowest_bid', 'r-7' FROM bid;
INSERT INTO contract (tender_id, institution_id, company_id, amount, request_key)
SELECT t.id, t.institution_id, a.company_id, a.amount, 'r-8' FROM award a JOIN tender t ON t.id = a.tender_id;
INSERT INTO contract_consent (contract_id, request_key) SELECT id, 'r-9' FROM contract;
INSERT INTO contract_confirmation (contract_id, request_key) SELECT id, 'r-10' FROM contract;
INSERT INTO subcontract (contract_id, subcontractor_id, amount, request_key)
SELECT c.id, p.id, 300, 'r-11' FROM contract c, party p WHERE p.request_key = 'r-3';
INSERT INTO claim (contract_id, amount, claimed_at, due_on, request_key)
SELECT id, 500, now(), now()::date + 5, 'r-12' FROM contract;
"""
PAYMENT = """
INSERT INTO procurement.payment (claim_id, amount, paid_at, due_on, late_days, request_key)
SELECT id, 500, now(), due_on, 0, 'pay-1' FROM procurement.claim;
INSERT INTO procurement.subcontract_payment (payment_id, subcontract_id, amount, paid_at, due_on, late_days,
    request_key)
SELECT p.id, s.id, 300, now(), p.due_on, 0, 'pay-1' FROM procurement.payment p, procurement.subcontract s;
"""


@contextlib.contextmanager
def as_postgres() -> Iterator[None]:
    """This process and its children are `postgres` inside: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        yield
        return
    who = pwd.getpwnam("postgres")
    group = os.getresgid()
    os.setresgid(who.pw_gid, who.pw_gid, 0)
    os.setresuid(who.pw_uid, who.pw_uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(*group)


def run(*words: str | Path, limit_s: float = 60) -> str:
    argv = [str(word) for word in words]
    done = subprocess.run(
        argv, timeout=limit_s, stdin=subprocess.DEVNULL, cwd="/", text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, f"{argv}: {done.stdout}"
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Node:
    folder: Path
    name: str
    port: int

    @property
    def data(self) -> Path:
        return self.folder / self.name

    def dsn(self, database: str = "procurement") -> str:
        return f"host={self.folder} port={self.port} dbname={database} user=postgres"

    def configure(self) -> None:
        text = f"{CONFIGURATION}port = {self.port}\nunix_socket_directories = '{self.folder}'\n"
        with (self.data / "postgresql.conf").open("a") as out:
            out.write(text)

    def control(self, *words: str) -> None:
        # -l only for a start: with a pipe for its log, pg_ctl's caller would wait for the server's end
        log = ("-l", str(self.folder / f"{self.name}.log")) if words[-1] == "start" else ()
        run(BIN / "pg_ctl", "-D", self.data, "-w", "-s", *log, *words)

    def connect(self, database: str = "procurement"):
        connection = psycopg2.connect(self.dsn(database))
        connection.autocommit = True
        return connection

    def sql(self, statement: str, database: str = "procurement") -> list[tuple]:
        with contextlib.closing(self.connect(database)) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    @property
    def wal(self) -> Path:
        """Where WAL is after `link_wal`."""
        return self.folder / f"{self.name}-wal"

    def link_wal(self) -> None:
        """Give the stopped server the shape that `initdb --waldir` makes."""
        (self.data / "pg_wal").rename(self.wal)
        (self.data / "pg_wal").symlink_to(self.wal)

    def crash_recovery(self) -> None:
        """What Patroni does to a crashed primary before it looks at timelines."""
        run(
            BIN / "postgres",
            "--single",
            "-D",
            self.data,
            "-carchive_mode=on",
            "-carchive_command=false",
            "template1",
        )

    def leader(self) -> Leader:
        timeline = self.sql("SELECT timeline_id FROM pg_control_checkpoint()")[0][0]
        history = self.data / "pg_wal" / f"{timeline:08X}.history"
        return Leader(self.name, timeline, history.read_text() if timeline > 1 else "")

    def rewind(self, source: Node) -> str:
        return run(BIN / "pg_rewind", "-D", self.data, "--source-server", source.dsn("postgres"))

    def follow(self, source: Node) -> None:
        """Also after a rewind, which has copied the other's configuration."""
        self.configure()
        with (self.data / "postgresql.auto.conf").open("a") as out:
            out.write(f"primary_conninfo = 'host={source.folder} port={source.port} user=postgres'\n")
        (self.data / "standby.signal").touch()
        self.control("start")


@dataclass
class Pair:
    """`old` was the primary; `new` is promoted, and has none of what `old` writes afterwards."""

    old: Node
    new: Node

    def wait_replayed(self) -> None:
        position = self.old.sql("SELECT pg_current_wal_flush_lsn()")[0][0]
        end = time.monotonic() + 20
        while not self.new.sql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'")[0][0]:
            assert time.monotonic() < end, "the standby does not follow"
            time.sleep(0.05)

    def take_over(self) -> None:
        self.new.control("promote")
        self.new.sql("CHECKPOINT")


def prepared() -> Path:
    """A stopped server with the application's tables, to be copied. Call it inside `as_postgres`."""
    folder = Path(tempfile.mkdtemp(prefix="hanbat-salvage-pg-"))
    node = Node(folder, "template", free_port())
    kinds = ("-U", "postgres", "-A", "trust", "-N", "-k", "-E", "UTF8", "--locale=C.UTF-8")
    run(BIN / "initdb", "-D", node.data, *kinds)
    node.configure()
    node.control("start")
    try:
        node.sql("CREATE DATABASE procurement", "postgres")
        node.sql("CREATE ROLE procurement_app", "postgres")
        key = "operator-key-for-tests-0123456789abcdef"
        migrate(node.dsn(), service_role="procurement_app", operator_key=key)
        node.sql(BUSINESS)
    finally:
        node.control("stop")
    return folder


@contextlib.contextmanager
def pair(template: Path) -> Iterator[Pair]:
    """Call it inside `as_postgres`."""
    folder = Path(tempfile.mkdtemp(prefix="hanbat-salvage-pg-"))
    old, new = Node(folder, "dj-db1", free_port()), Node(folder, "gg-db1", free_port())
    try:
        run("cp", "-a", template / "template", old.data)
        run("cp", "-a", template / "template", new.data)
        old.configure()
        old.control("start")
        new.follow(old)
        both = Pair(old, new)
        both.wait_replayed()
        yield both
    finally:
        for node in (old, new):
            if (node.data / "postmaster.pid").exists():
                with contextlib.suppress(AssertionError):
                    node.control("-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
