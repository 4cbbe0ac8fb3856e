"""The verdict is never better than what is known, and payments stand first in words an operator knows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from replication.salvage.compare import (
    NOT_NAMED,
    NotComparable,
    State,
    apart,
    follows,
    judge,
    lookup_sql,
    requests_of,
    wait_for_rejoin,
    wait_to_follow,
)
from replication.salvage.records import Table, changed, rows_sql
from replication.salvage.report import Verdict, headline, report, verdict
from replication.salvage.server import ProgramFailed
from replication.salvage.settings import Words
from replication.salvage.wal import Commit, Tail

from .test_store import PLAIN

RECORD: dict[str, Any] = {
    "database": "procurement", "table": "procurement.payment", "title": "payment", "key": {"id": 7},
    "committed_at": "2026-01-01 00:00:00", "xid": 800, "of": {"tender": "T-1", "amount": 500},
    "row": {"id": 7, "amount": 500, "request_key": "k"},
}  # fmt: skip


def compared(*states: str) -> dict[str, Any]:
    rows = [{"n": n, "state": state, "differs": {}, "key_taken": False} for n, state in enumerate(states)]
    return {"at": "now", "host": "dj-db1", "lsn": "0/5", "timeline": 2, "rows": rows}


READ = dataclasses.replace(PLAIN, decoded="yes", records=2)


@pytest.mark.parametrize(
    ("manifest", "comparison", "expected"),
    [
        (dataclasses.replace(PLAIN, committed=0, decoded="no need"), None, Verdict.NOTHING),
        (dataclasses.replace(READ, records=0), None, Verdict.NOTHING),
        (READ, compared("same", "again"), Verdict.PRESENT),
        (READ, compared("same", "missing"), Verdict.MISSING),
        (dataclasses.replace(READ, decoded="partly"), compared("same", "missing"), Verdict.MISSING),
        # Unknown is neither nothing nor present.
        (dataclasses.replace(PLAIN, committed=None, decoded="no"), None, Verdict.UNKNOWN),
        (dataclasses.replace(PLAIN, committed=0, decoded="no"), None, Verdict.UNKNOWN),
        (dataclasses.replace(PLAIN, decoded="under way"), None, Verdict.UNKNOWN),
        (dataclasses.replace(PLAIN, decoded="no"), None, Verdict.UNKNOWN),
        (dataclasses.replace(READ, decoded="partly", records=0), None, Verdict.UNKNOWN),
        (dataclasses.replace(READ, decoded="partly"), compared("same", "same"), Verdict.UNKNOWN),
        (READ, None, Verdict.UNKNOWN),
        (READ, compared("same", "unknown"), Verdict.UNKNOWN),
        (READ, compared("same"), Verdict.UNKNOWN),  # one row was not compared
        (READ, compared(), Verdict.UNKNOWN),
    ],
)
def test_the_verdict(manifest, comparison, expected: Verdict) -> None:
    assert verdict(manifest, comparison) is expected


def test_unknown_is_not_zero_in_words() -> None:
    manifest = dataclasses.replace(PLAIN, committed=None, tail_bytes=None, parted_lsn=None, decoded="no")
    assert "UNKNOWN" in headline(manifest, ())
    assert "unknown of WAL" in headline(manifest, ())
    assert "UNKNOWN" in report(manifest, None, None)
    assert "nothing was left behind" not in report(manifest, None, None)


def test_the_report_names_the_row_and_what_became_of_it() -> None:
    comparison = compared("missing")
    comparison["rows"][0]["key_taken"] = True
    decoded = {
        "records": [RECORD],
        "changed": ["procurement.x: 1 row deleted"],
        "unread": ["y: the time was up"],
    }
    text = report(dataclasses.replace(READ, records=1), decoded, comparison)
    assert "payment: id=7 tender=T-1 amount=500" in text
    assert "MISSING on the new primary" in text
    assert "its key belongs to another row now" in text
    assert "Changed: procurement.x: 1 row deleted." in text
    assert "NOT READ: y: the time was up." in text
    assert "1 payment" in headline(READ, [RECORD])


ROW = {"id": 7, "amount": 500, "request_key": "k"}


@pytest.mark.parametrize(
    ("found", "state", "taken"),
    [
        ([("key", ROW)], "same", False),
        ([("key", {**ROW, "request_key": "other"})], "missing", True),
        ([("request", {**ROW, "id": 9})], "again", False),
        ([("key", {**ROW, "request_key": "other"}), ("request", {**ROW, "id": 9})], "again", True),
        ([("key", {**ROW, "amount": 501}), ("request", {**ROW, "amount": 501})], "again", False),
        # The words of its key alone tell nothing: another party may have chosen the same ones.
        ([("key", {**ROW, "amount": 501})], "missing", True),
        ([], "missing", False),
    ],
)
def test_what_became_of_a_row(found: list[Any], state: str, taken: bool) -> None:
    answer = judge(ROW, found, request_known=True)
    assert (answer["state"], answer["key_taken"]) == (state, taken)


@pytest.mark.parametrize(("found", "state"), [([("key", ROW)], "same"), ([], "unknown")])
def test_a_row_whose_request_is_not_known_is_not_told_as_missing(found: list[Any], state: str) -> None:
    assert judge(ROW, found, request_known=False)["state"] == state


REQUEST: dict[str, Any] = {
    **RECORD, "table": "a.request", "row": {"party_id": 4, "request_key": "k"}, "key": {},
}  # fmt: skip
OTHER = {**RECORD, "xid": 801}


@pytest.mark.parametrize(
    ("records", "unread", "expected"),
    [
        ([RECORD, REQUEST], [], [REQUEST["row"], REQUEST["row"]]),
        ([OTHER, REQUEST], [], [{}, REQUEST["row"]]),  # nobody asked for what another transaction wrote
        ([OTHER, REQUEST], ["a.request: the time was up"], [None, REQUEST["row"]]),
        ([OTHER], ["a.request_log: the time was up"], [{}]),
        ([RECORD, REQUEST, REQUEST], [], [None, None, None]),  # which of the two wrote the row?
    ],
)
def test_the_request_of_a_row_is_that_of_its_transaction(records, unread, expected) -> None:
    assert requests_of({"records": records, "unread": unread}, "a.request") == expected


def test_where_nobody_named_the_table_of_requests_none_is_known() -> None:
    assert requests_of({"records": [RECORD, REQUEST], "unread": []}, "") == [None, None]


def test_a_repeated_request_tells_in_what_it_differs() -> None:
    answer = judge(ROW, [("request", {**ROW, "id": 9, "amount": 400})], request_known=True)
    assert answer["differs"] == {"id": [7, 9], "amount": [500, 400]}


def test_values_do_not_leave_the_text_of_a_lookup() -> None:
    odd = {"id": 1, "note": "it's \\ a 'quote'"}
    sql = lookup_sql("procurement.payment", ("id",), [odd], NOT_NAMED, [{}])
    assert "it''s" in sql
    assert "\\\\\\\\" in sql  # JSON doubles a backslash, E'' doubles it again
    assert lookup_sql("procurement.x", (), [{"a": 1}], NOT_NAMED, [None]) == ""
    by_request = lookup_sql("procurement.x", (), [{"a": 1}], Words("a.request", "", "", ("party_id",)), [odd])
    assert "it''s" in by_request
    assert '"party_id" = k."party_id"' in by_request


@pytest.mark.parametrize(
    ("now", "heard", "ready"),
    [
        (State(True, 90, 90, 2), None, True),
        (State(True, 95, 99, 2), 90, True),  # what it had sent when we first looked is here
        (State(True, 80, 90, 2), None, False),
        (State(True, 90, 90, 1), None, False),  # still on the old timeline
        (State(True, 90, None, None), None, False),  # streams from nobody
        (State(False, 90, None, 3), None, True),  # it is the primary by now
        (State(False, 90, None, 1), None, False),
    ],
)
def test_when_a_host_knows_the_new_primarys_rows(now: State, heard: int | None, ready: bool) -> None:
    assert (follows(now, 1, heard) == "") is ready


def test_a_host_that_has_rejoined_streams_from_a_new_primary() -> None:
    assert apart(State(True, 80, 90, 2), 1) == "", "what was sent need not be replayed yet"
    assert apart(State(False, 90, None, 2), 1) == "", "it is the new primary itself"
    assert "no new one" in apart(State(True, 90, 90, 1), 1)
    assert "does not stream" in apart(State(True, 90, None, None), 1)


def test_the_rejoin_is_waited_for_without_a_limit_and_seldom_looked_at() -> None:
    now = 0.0

    def look() -> State:
        if now < 7200:
            raise ProgramFailed("no server: the clone takes two hours")
        return State(True, 10, 20, 2)

    def sleep(nap_s: float) -> None:
        nonlocal now
        assert nap_s >= 10
        now += nap_s

    wait_for_rejoin(look, 1, sleep)
    assert 7200 <= now < 7200 + 60


def test_waiting_to_follow_is_bounded_and_says_why() -> None:
    time = iter(range(100))

    def look() -> State:
        raise ProgramFailed("no socket")

    with pytest.raises(NotComparable, match="no socket"):
        wait_to_follow(look, 1, limit_s=5, clock=lambda: next(time), sleep=lambda _: None)
    states = iter([State(True, 10, 50, 2), State(True, 50, 70, 2)])
    found = wait_to_follow(lambda: next(states), 1, limit_s=9, clock=lambda: 0.0, sleep=lambda _: None)
    assert found.lsn == 50


TABLE = Table("procurement", "procurement", "payment", ("id",), "1663/5/16384")


def test_only_changes_by_committed_transactions_are_told() -> None:
    file = TABLE.file
    changes = {(800, file, "deleted"): 2, (801, file, "deleted"): 5, (800, "1663/5/1259", "updated"): 1}
    tail = Tail(commits=[Commit(800, (), "t", 1)], changes=changes)
    assert changed(tail, [TABLE]) == (
        "procurement.payment: 2 rows deleted; the old contents cannot be read here",
    )


def test_names_are_quoted() -> None:
    odd = Table("d", 'a"b', "Order", ("id",), "")
    assert 'FROM ONLY "a""b"."Order" t' in rows_sql(odd, (5, 6), "", 3)
    assert "'{5,6}'::xid[]" in rows_sql(odd, (5, 6), "", 3)
