"""Our transactions as the gateway's JSON, and its answers as rows, by value."""

from __future__ import annotations

import pytest

from failover.etcd_json import (
    Entry,
    EtcdAnswerWrong,
    Prefixes,
    b64,
    entries,
    range_end,
    snapshot_body,
    succeeded,
    transaction_body,
)
from failover.transaction import Compare, Delete, Put, Target, Transaction, absent, unchanged

PREFIXES = Prefixes("hanbat")


def test_keys_have_two_prefixes_and_come_back() -> None:
    for key in ("patroni/leader", "hanbat/verdict/dj-db1"):
        assert PREFIXES.short(PREFIXES.real(key)) == key
    assert PREFIXES.real("patroni/leader") == "/service/hanbat/leader"
    assert PREFIXES.real("hanbat/hold") == "/hanbat/hanbat/hold"
    with pytest.raises(ValueError, match="no prefix"):
        PREFIXES.real("leader")
    with pytest.raises(ValueError, match="neither"):
        PREFIXES.short("/service/other/leader")


def test_a_transaction_keeps_the_order_of_its_changes() -> None:
    transaction = Transaction(
        (
            Compare("patroni/leader", Target.VALUE, "dj-db1"),
            unchanged("patroni/sync", 7),
            absent("hanbat/hold"),
        ),
        (Delete("patroni/leader"), Put("patroni/sync", "{}"), Put("hanbat/pulse/x", "1", lease=5)),
    )
    body = transaction_body(transaction, PREFIXES)
    leader = b64("/service/hanbat/leader")
    assert body["compare"] == [
        {"key": leader, "target": "VALUE", "result": "EQUAL", "value": b64("dj-db1")},
        {"key": b64("/service/hanbat/sync"), "target": "MOD", "result": "EQUAL", "mod_revision": "7"},
        {"key": b64("/hanbat/hanbat/hold"), "target": "MOD", "result": "EQUAL", "mod_revision": "0"},
    ]
    assert [next(iter(change)) for change in body["success"]] == [
        "request_delete_range",
        "request_put",
        "request_put",
    ]
    assert body["success"][0] == {"request_delete_range": {"key": leader}}
    assert body["success"][2]["request_put"]["lease"] == "5"


def test_a_snapshot_asks_for_both_prefixes_at_once() -> None:
    assert len(snapshot_body(PREFIXES)["success"]) == 2
    assert range_end("/service/hanbat/") == "/service/hanbat0"


def test_a_snapshot_becomes_rows() -> None:
    row = {"key": b64("/service/hanbat/leader"), "value": b64("dj-db1"), "mod_revision": "12", "lease": "99"}
    bare = {"key": b64("/hanbat/hanbat/operation"), "mod_revision": "3"}
    answer = {
        "header": {"revision": "20"},
        "responses": [{"response_range": {"kvs": [row]}}, {"response_range": {"kvs": [bare]}}],
    }
    assert entries(answer, PREFIXES) == {
        "patroni/leader": Entry("dj-db1", 12, 99),
        "hanbat/operation": Entry("", 3, 0),
    }


@pytest.mark.parametrize("answer", [{}, {"header": {}, "responses": [{}]}, {"error": "no leader"}])
def test_what_is_no_snapshot_is_an_error_and_not_an_empty_cluster(answer: dict[str, object]) -> None:
    with pytest.raises(EtcdAnswerWrong):
        entries(answer, PREFIXES)


def test_an_empty_cluster_is_one() -> None:
    assert (
        entries({"header": {}, "responses": [{"response_range": {}}, {"response_range": {}}]}, PREFIXES) == {}
    )


def test_a_refused_transaction_has_no_succeeded_at_all() -> None:
    assert succeeded({"header": {}, "succeeded": True})
    assert not succeeded({"header": {}})
    with pytest.raises(EtcdAnswerWrong):
        succeeded({"message": "timed out"})
