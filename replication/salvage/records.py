"""Which rows the tail's transactions left, read from an isolated server, in an operator's words.

A row counts when its `xmin` is one of the transactions: so also one that was written before the parting,
by a transaction that committed after it. A row that the tail deleted or replaced is no longer visible;
such changes are counted from the WAL.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from replication.salvage.server import ProgramFailed
from replication.salvage.settings import Settings
from replication.salvage.wal import Tail

DATABASES = "SELECT to_jsonb(datname) FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY 1"
TABLES = """
SELECT jsonb_build_object('schema', n.nspname, 'name', c.relname,
    'file', concat_ws('/', coalesce(nullif(c.reltablespace, 0), d.dattablespace), d.oid,
        pg_relation_filenode(c.oid)),
    'key', coalesce((SELECT jsonb_agg(a.attname ORDER BY array_position(i.indkey::int2[], a.attnum))
        FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
        WHERE i.indrelid = c.oid AND i.indisprimary), '[]'))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_database d ON d.datname = current_database()
WHERE c.relkind = 'r' AND c.relpersistence = 'p'
    AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
"""


class Server(Protocol):
    """What answers SQL: one database, lines of text. Raises ProgramFailed."""

    def psql(self, sql: str, database: str = "postgres") -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its name, the columns of its primary key, and its file as `pg_waldump` names it."""

    database: str
    schema: str
    name: str
    key: tuple[str, ...]
    file: str

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        return f"{quoted(self.schema)}.{quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class Record:
    """One row that the tail left: which, whose, when its transaction committed (UTC)."""

    database: str
    table: str
    title: str
    key: dict[str, Any]
    committed_at: str
    xid: int
    of: dict[str, Any]
    row: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Decoded:
    """The rows, payments first; what was changed otherwise; and what could not be read."""

    records: tuple[Record, ...]
    changed: tuple[str, ...]
    unread: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "records": [one.as_dict() for one in self.records],
            "changed": list(self.changed),
            "unread": list(self.unread),
        }


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def rows_sql(table: Table, xids: Sequence[int], detail: str, limit: int) -> str:
    """The query for one table's rows of these transactions."""
    told = f"({detail})" if detail else "'{}'::json"
    listed = ",".join(map(str, xids))
    return (
        f"SELECT json_build_object('xid', t.xmin::text, 'row', to_jsonb(t), 'of', {told}) "
        f"FROM ONLY {table.quoted} t WHERE t.xmin = ANY ('{{{listed}}}'::xid[]) LIMIT {limit}"
    )


def tables(server: Server) -> list[Table]:
    """All tables of all databases that an application may have. Raises ProgramFailed."""
    found: list[Table] = []
    for line in server.psql(DATABASES):
        database: str = json.loads(line)
        for row in map(json.loads, server.psql(TABLES, database)):
            found.append(Table(database, row["schema"], row["name"], tuple(row["key"]), row["file"]))
    return found


def decode(server: Server, tail: Tail, settings: Settings) -> Decoded:
    """Reads the rows, in the order of the settings' tables, up to their number. Raises ProgramFailed."""
    when = {xid: commit.at for commit in tail.commits for xid in commit.xids}
    xids = sorted(when)
    known = sorted(
        tables(server), key=lambda one: (settings.rank(one.full_name), one.database, one.full_name)
    )
    records: list[Record] = []
    unread: list[str] = []
    for table in known:
        room = settings.records_count - len(records)
        if room <= 0:
            unread.append(f"{table.full_name}: {settings.records_count} rows are listed already")
            continue
        try:
            rows = _rows(server, table, xids, settings, room + 1)
        except ProgramFailed as error:
            unread.append(f"{table.full_name}: {error}")
            continue
        if len(rows) > room:
            unread.append(f"{table.full_name}: more than {room} rows, the others are not listed")
        records += [_record(table, row, when, settings) for row in rows[:room]]
    records.sort(key=lambda one: (settings.rank(one.table), one.database, one.table, one.committed_at))
    return Decoded(tuple(records), changed(tail, known), tuple(unread))


def _rows(
    server: Server, table: Table, xids: Sequence[int], settings: Settings, limit: int
) -> list[dict[str, Any]]:
    detail = settings.words(table.full_name).detail
    try:
        lines = server.psql(rows_sql(table, xids, detail, limit), table.database)
    except ProgramFailed:
        if not detail:
            raise
        lines = server.psql(rows_sql(table, xids, "", limit), table.database)  # an older or newer schema
    return [json.loads(line) for line in lines]


def _record(table: Table, found: dict[str, Any], when: Mapping[int, str], settings: Settings) -> Record:
    xid = int(found["xid"])
    row: dict[str, Any] = found["row"]
    key = {name: row.get(name) for name in table.key}
    title = settings.words(table.full_name).title
    return Record(table.database, table.full_name, title, key, when[xid], xid, found["of"] or {}, row)


def changed(tail: Tail, known: Sequence[Table]) -> tuple[str, ...]:
    """Rows that committed transactions updated or deleted, counted from the tail's WAL."""
    names = {table.file: table for table in known}
    committed = {xid for commit in tail.commits for xid in commit.xids}
    counts: dict[tuple[str, str], int] = {}
    for (xid, file, kind), count in tail.changes.items():
        if xid in committed and file in names:
            key = (names[file].full_name, kind)
            counts[key] = counts.get(key, 0) + count
    return tuple(
        f"{table}: {count} row{'s' if count != 1 else ''} {kind}"
        + (
            "; the old contents cannot be read here"
            if kind == "deleted"
            else "; listed as the tail left them"
        )
        for (table, kind), count in sorted(counts.items())
    )
