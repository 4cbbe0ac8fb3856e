"""Whether the new primary has the rows of a salvage: looked up on this host once it follows that primary.

No other host and no further right is needed: a standby that streams from the new primary and has replayed
what that had sent knows its rows. Rows are looked up by primary key, and by the request that wrote them: a
client that was not answered sends the same one again, and gets a new row under a new key. The request is
found in the table of answered requests that the settings name, by all the columns that make two requests the
same, whose it is among them; its rows are those that the same transaction wrote (`xmin`).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hanbat.errors import Exit, HanbatError
from replication.salvage.records import quoted
from replication.salvage.server import ProgramFailed, Programs
from replication.salvage.settings import Words
from replication.salvage.wal import parse_lsn

SOCKETS = Path("/run/postgresql")
QUERY_S = 30.0
REJOIN_NAP_S = 10.0
Row = Mapping[str, Any]
NOT_NAMED = Words("", "")
STATE = """
SELECT jsonb_build_object('recovering', pg_is_in_recovery(),
    'lsn', CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text,
    'sent', (SELECT latest_end_lsn::text FROM pg_stat_wal_receiver WHERE status = 'streaming'),
    'timeline', CASE WHEN pg_is_in_recovery()
        THEN (SELECT received_tli FROM pg_stat_wal_receiver WHERE status = 'streaming')
        ELSE (SELECT timeline_id FROM pg_control_checkpoint()) END)
"""


class NotComparable(HanbatError):
    """This host does not follow a new primary, so it cannot say what that has."""

    code = 187
    hint = "when hanbat status shows this host as a standby again: hanbat salvage compare ID"
    exit_status = Exit.UNKNOWN


@dataclass(frozen=True)
class Local:
    """The PostgreSQL of this host, over its socket."""

    programs: Programs
    sockets: Path = SOCKETS
    port: int = 5432

    def psql(self, sql: str, database: str = "postgres") -> list[str]:
        """Raises ProgramFailed."""
        return self.programs.psql(sql, host=self.sockets, port=self.port, database=database, limit_s=QUERY_S)


@dataclass(frozen=True, slots=True)
class State:
    """How far this host's PostgreSQL is, and on which timeline; `sent` is the primary's end as last heard."""

    recovering: bool
    lsn: int
    sent: int | None
    timeline: int | None


def state(server: Local) -> State:
    """Raises ProgramFailed."""
    row: dict[str, Any] = json.loads(server.psql(STATE)[0])
    sent: str | None = row["sent"]
    return State(
        row["recovering"], parse_lsn(row["lsn"] or "0/0"), parse_lsn(sent) if sent else None, row["timeline"]
    )


def apart(now: State, old_timeline: int) -> str:
    """Empty when this host has rejoined: it streams from a new primary, or is that itself; else why not."""
    if now.timeline is None:
        return "this host does not stream from a primary"
    if now.timeline <= old_timeline:
        return f"this host is on timeline {now.timeline}, no new one"
    return ""


def follows(now: State, old_timeline: int, heard: int | None) -> str:
    """Empty when this host knows the new primary's rows; else why not.

    `heard` is the primary's end when we first looked: what it had sent by then must have been replayed.
    """
    why = apart(now, old_timeline)
    if why:
        return why
    if now.recovering and (now.sent is None or now.lsn < (heard or now.sent)):
        return "this host has not replayed yet what the primary sent"
    return ""


def wait_for_rejoin(look: Callable[[], State], old_timeline: int, sleep: Callable[[float], None]) -> None:
    """Until this host streams from a new primary, however long its rewind or clone takes."""
    while True:
        with contextlib.suppress(ProgramFailed):
            if not apart(look(), old_timeline):
                return
        sleep(REJOIN_NAP_S)


def wait_to_follow(
    look: Callable[[], State],
    old_timeline: int,
    *,
    limit_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> State:
    """Until this host knows the new primary's rows. Raises NotComparable."""
    end, heard, why = clock() + limit_s, None, "its PostgreSQL does not answer"
    while True:
        try:
            now = look()
            why = follows(now, old_timeline, heard)
            if not why:
                return now
            heard = heard or now.sent
        except ProgramFailed as error:
            why = f"its PostgreSQL does not answer: {error}"
        if clock() >= end:
            raise NotComparable(why)
        sleep(1.0)


def requests_of(decoded: Row, table: str) -> list[Row | None]:
    """For each record the request that its transaction answered: empty when none; None when not known."""
    whole = bool(table) and not any(one.startswith(f"{table}: ") for one in decoded.get("unread", ()))
    answered: dict[int, list[Row]] = {}
    for record in decoded["records"]:
        if record["table"] == table:
            answered.setdefault(record["xid"], []).append(record["row"])

    def only(rows: Sequence[Row]) -> Row | None:
        if not rows:
            return {} if whole else None
        return rows[0] if len(rows) == 1 else None  # which of several wrote a row is not known

    return [only(answered.get(record["xid"], ())) for record in decoded["records"]]


def target(table: str) -> str:
    """`schema.table` as an SQL name."""
    schema, _, name = table.partition(".")
    return f"{quoted(schema)}.{quoted(name)}"


def asked(table: str, rows: Sequence[Row]) -> str:
    """Rows as a source `k` of a query, numbered; a column that a row does not have is NULL."""
    text = json.dumps(list(rows), ensure_ascii=False).replace("'", "''").replace("\\", "\\\\")
    return f"json_populate_recordset(NULL::{target(table)}, E'{text}'::json) WITH ORDINALITY k"


def equal(one: str, columns: Sequence[str]) -> str:
    return " AND ".join(f"{one}.{quoted(column)} = k.{quoted(column)}" for column in columns)


def lookup_sql(
    table: str, key: Sequence[str], rows: Sequence[Row], requests: Words, sent: Sequence[Row | None]
) -> str:
    """For rows of one table: `[number, how, row found]`, by primary key and by the request that wrote it."""
    ways: list[tuple[str, str]] = []
    if key:
        ways.append(("key", f"{asked(table, rows)} JOIN ONLY {target(table)} t ON {equal('t', key)}"))
    if any(sent):
        known = asked(requests.table, [one or {} for one in sent])
        again = f"{known} JOIN ONLY {target(requests.table)} q ON {equal('q', requests.request)}"
        ways.append(("request", f"{again} JOIN ONLY {target(table)} t ON t.xmin = q.xmin"))
    return " UNION ALL ".join(
        f"SELECT jsonb_build_array(k.ordinality - 1, '{how}', to_jsonb(t)) FROM {source}"
        for how, source in ways
    )


def judge(row: Row, found: Sequence[Any], *, request_known: bool) -> dict[str, Any]:
    """State of one row: same, again (the request was sent again), missing or unknown; and in what it differs.

    A row that is not there may be there under another key: that it is missing can be said only where it is
    known which request wrote it, or that none did.
    """
    by_key = [one for how, one in found if how == "key"]
    if any(one == row for one in by_key):
        return {"state": "same", "differs": {}, "key_taken": False}
    again = [one for how, one in found if how == "request"]
    taken = any(one not in again for one in by_key)
    if not again:
        return {"state": "missing" if request_known else "unknown", "differs": {}, "key_taken": taken}
    differences = [
        {name: [row[name], one.get(name)] for name in row if one.get(name) != row[name]} for one in again
    ]
    return {"state": "again", "differs": min(differences, key=len), "key_taken": taken}


def compare(server: Local, decoded: Row, requests: Words | None) -> list[dict[str, Any]]:
    """One answer for each record, in order; `unknown` where nothing could be looked up."""
    records: Sequence[Row] = decoded["records"]
    named = requests or NOT_NAMED
    sent = requests_of(decoded, named.table)
    groups: dict[tuple[str, str], list[int]] = {}
    for number, record in enumerate(records):
        groups.setdefault((record["database"], record["table"]), []).append(number)
    answers: dict[int, dict[str, Any]] = {}
    for (database, table), numbers in groups.items():
        rows: list[Row] = [records[number]["row"] for number in numbers]
        key = tuple(records[numbers[0]]["key"])
        sql = lookup_sql(table, key, rows, named, [sent[number] for number in numbers])
        try:
            lines = server.psql(sql, database) if sql else None
        except ProgramFailed:
            lines = None
        found: dict[int, list[Any]] = {}
        for position, how, row in map(json.loads, lines or ()):
            found.setdefault(position, []).append((how, row))
        for position, number in enumerate(numbers):
            answer: dict[str, Any] = {"state": "unknown", "differs": {}, "key_taken": False}
            if lines is not None:
                request_known = sent[number] is not None
                answer = judge(rows[position], found.get(position, []), request_known=request_known)
            answers[number] = {"n": number, **answer}
    return [answers[number] for number in range(len(records))]
