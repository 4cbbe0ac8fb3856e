"""Reads this run's rows from every database host that can be read, once it has replayed the primary's WAL."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from hanbat.errors import HanbatError
from lab.drill.case import TABLES, HostSnapshot
from lab.drill.errors import SnapshotFailed

DATABASE = "procurement"
SCHEMA = "procurement"
REPLAY_LIMIT_S = 20
READ_LIMIT_S = 40.0
ASK_LIMIT_S = 3.0

# Rows of a run are found by key, and besides by what they hang on: a second payment of our claim, a
# bid in our tender or a row of our canary is ours whoever sent it.
_OURS_BESIDES = {
    "canary": "stream like :'prefix'",
    "bid": "tender_id in (select id from tender where request_key like :'prefix')",
    "opening": "tender_id in (select id from tender where request_key like :'prefix')",
    "award": "tender_id in (select id from tender where request_key like :'prefix')",
    "preliminary_price": "tender_id in (select id from tender where request_key like :'prefix')",
    "payment": "claim_id in (select id from claim where request_key like :'prefix')",
    "subcontract_payment": (
        "payment_id in (select p.id from payment p join claim c on c.id = p.claim_id"
        " where c.request_key like :'prefix')"
    ),
}


class Runs(Protocol):
    """The part of `lab.laboratory.Lab` that is needed here."""

    def run(
        self,
        host: str | None,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        user: str = "root",
    ) -> subprocess.CompletedProcess[str]: ...


def query(run: str) -> str:
    """The psql script that prints this run's rows of all tables as one JSON object."""
    parts = []
    for table in TABLES:
        besides = _OURS_BESIDES.get(table)
        where = "request_key like :'prefix'" + (f" or {besides}" if besides else "")
        parts.append(
            f"'{table}', (select coalesce(jsonb_agg(to_jsonb(t)), '[]')"
            f" from (select * from {table} where {where}) t)"
        )
    columns = ",\n  ".join(parts)
    return (
        f"\\set prefix '{run}:%'\n"
        "set timezone = 'UTC';\n"
        f"set search_path = {SCHEMA};\n"
        "begin isolation level repeatable read read only;\n"
        f"select jsonb_build_object(\n  {columns}\n);\n"
        "commit;\n"
    )


def psql(lab: Runs, host: str, script: str, timeout_s: float) -> str:
    """Runs a script as postgres on a host. Raises SnapshotFailed with what psql said."""
    argv = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", DATABASE, "-f", "-"]
    done = lab.run(host, argv, timeout_s=timeout_s, stdin=script, user="postgres")
    if done.returncode != 0:
        raise SnapshotFailed(f"{host}: psql ended with {done.returncode}: {done.stderr.strip()[:500]}")
    return done.stdout.strip()


def wait_replayed(lab: Runs, host: str, lsn: str) -> None:
    """Waits until a standby has replayed up to an LSN. Raises SnapshotFailed when it does not in time."""
    script = f"""
    do $$ begin
      for i in 1..{REPLAY_LIMIT_S * 10} loop
        exit when not pg_is_in_recovery() or pg_last_wal_replay_lsn() >= '{lsn}'::pg_lsn;
        perform pg_sleep(0.1);
      end loop;
      if pg_is_in_recovery() and pg_last_wal_replay_lsn() < '{lsn}'::pg_lsn then
        raise exception 'replayed % only, the primary has {lsn}', pg_last_wal_replay_lsn();
      end if;
    end $$;
    """
    psql(lab, host, script, REPLAY_LIMIT_S + 10.0)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read: a snapshot of each host that could be read, and why of each other."""

    snapshots: tuple[HostSnapshot, ...]
    unread: dict[str, str]


def read_hosts(lab: Runs, primary: str | None, hosts: Sequence[str], run: str) -> Reading:
    """Reads every host that can be read; a standby that does not replay in time is not read.

    Without the primary's word how far to replay, the standbys are read as they are. Raises SnapshotFailed
    when no host at all can be read.
    """
    lsn, silent = None, ""
    if primary is not None:
        try:
            lsn = psql(lab, primary, "select pg_current_wal_lsn();\n", READ_LIMIT_S)
        except HanbatError as error:
            silent = str(error)

    def read(host: str) -> HostSnapshot | str:
        if host == primary and lsn is None:
            return silent
        try:
            if host != primary and lsn is not None:
                wait_replayed(lab, host, lsn)
            tables = json.loads(psql(lab, host, query(run), READ_LIMIT_S))
        except HanbatError as error:
            return str(error)
        return HostSnapshot(host, {name: tuple(rows) for name, rows in tables.items()})

    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        found = dict(zip(hosts, pool.map(read, hosts), strict=True))
    unread = {host: one for host, one in found.items() if isinstance(one, str)}
    if len(unread) == len(hosts):
        raise SnapshotFailed("; ".join(unread.values()))
    return Reading(tuple(one for one in found.values() if isinstance(one, HostSnapshot)), unread)


def accepts_writes(lab: Runs, hosts: Sequence[str]) -> dict[str, bool | None]:
    """Whether each host is no standby, by its own PostgreSQL's word; None of one that does not answer."""

    def ask(host: str) -> bool | None:
        try:
            return psql(lab, host, "select pg_is_in_recovery();\n", ASK_LIMIT_S) == "f"
        except HanbatError:
            return None

    with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
        return dict(zip(hosts, pool.map(ask, hosts), strict=True))
