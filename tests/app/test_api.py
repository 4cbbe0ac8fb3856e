"""The JSON API: bodies, bids and their chain, openings, OpenAPI, health, metrics."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from openapi_spec_validator import validate

from app import bids, openings, operations
from app.factory import create_app

pytestmark = pytest.mark.postgres


def rehearsal(**changes) -> dict:
    return {
        "number": "A-1", "title": "모의", "base_amount": 10**9, "range_percent": 3, "rate_percent": "88",
        "band": "10-50", "rehearsal": True, "bidding_seconds": 600, "opening_delay_seconds": 0,
    } | changes  # fmt: skip


def test_the_openapi_description_is_valid_and_complete(app):
    document = app.test_client().get("/api/v1/openapi.json").json
    validate(document)
    assert document["openapi"].startswith("3.1")
    told = set(document["paths"])
    served = {
        rule.rule.replace("<int:", "{").replace(">", "}")
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
    }
    assert told == served
    assert len(operations.WRITES) == 16


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_amount": 1.5}, "base_amount"),
        ({"base_amount": True}, "base_amount"),
        ({"base_amount": "5"}, "base_amount"),
        ({"base_amount": 0}, "base_amount"),
        ({"rate_percent": "x"}, "rate_percent"),
        ({"rate_percent": True}, "rate_percent"),
        ({"band": "100-300"}, "band"),
        ({"a_value": 10**9}, "a_value"),
        ({"title": "a\nb"}, "title"),
        ({"title": "\u0000"}, "title"),
        ({"unknown": 1}, "unknown"),
        ({"bidding_seconds": None}, "bidding_seconds"),
        ({"deadline": "2026-11-20T10:00:00+09:00"}, "no dates"),
        ({"rehearsal": False}, "deadline and opening_at"),
        ({"preliminary_prices": [1] * 14}, "preliminary_prices"),
    ],
)
def test_a_wrong_field_is_named(new_institution, changes, words):
    answer = new_institution().post("/tenders", rehearsal(**changes))
    assert (answer.status_code, answer.json["error"]["code"]) == (422, "invalid_body")
    assert words in answer.json["error"]["message"]


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', '{"title": NaN}', '{"title": "\\ud800"}', "\xff"])
def test_what_is_no_json_object_is_refused(app, operator, text):
    headers = {"Authorization": f"Bearer {operator.key}", "Idempotency-Key": "no-json"}
    answer = app.test_client().post("/api/v1/canary", data=text, headers=headers)
    assert answer.status_code in (400, 422)


def test_a_real_tender_keeps_the_legal_windows(new_institution):
    institution = new_institution()
    real = {name: value for name, value in rehearsal().items() if not name.endswith("_seconds")}
    real |= {"rehearsal": False, "rate_percent": "88.745"}
    soon = {"deadline": "2026-01-02T10:00:00+09:00", "opening_at": "2026-01-02T11:00:00+09:00"}
    answer = institution.post("/tenders", real | soon)
    assert answer.json["error"]["code"] == "window_not_legal"
    far = {"deadline": "2031-01-02T10:00:00+09:00", "opening_at": "2031-01-02T11:00:00+09:00"}
    assert institution.post("/tenders", real | far).json["error"]["code"] == "unknown_year"


def test_preliminary_prices_are_drawn_within_their_range(new_institution, server):
    tender = new_institution().made("/tenders", rehearsal())
    rows = server.sql("SELECT price FROM procurement.preliminary_price WHERE tender_id = %s", tender["id"])
    assert len(rows) == 15
    assert all(970_000_000 <= price <= 1_030_000_000 and price % 100 == 0 for (price,) in rows)


def test_receipts_are_chained_also_under_load(new_institution, new_company, server):
    institution = new_institution()
    tender = institution.made("/tenders", rehearsal())
    companies = [new_company() for _ in range(10)]
    path = f"/tenders/{tender['id']}/bids"
    answers = []

    def send(company, amount: int) -> None:
        answers.append(company.post(path, {"amount": amount, "picks": [1, 2]}))

    threads = [threading.Thread(target=send, args=(c, 10**8 + n)) for n, c in enumerate(companies)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {answer.status_code for answer in answers} == {201}
    assert institution.get(path).json["bids_count"] == 10
    rows = server.sql(
        "SELECT sequence, previous_hash, receipt_hash, received_at FROM procurement.bid WHERE tender_id = %s"
        " ORDER BY sequence", tender["id"],
    )  # fmt: skip
    assert [row[0] for row in rows] == list(range(1, 11))
    assert all(later[1] == earlier[2] for earlier, later in pairwise(rows))
    assert [row[3] for row in rows] == sorted(row[3] for row in rows)
    second = companies[0].post(path, {"amount": 1, "picks": [3, 4]})
    assert (second.status_code, second.json["error"]["code"]) == (409, "already_bid")


def test_a_changed_bid_is_seen_before_the_opening(new_institution, new_company, server):
    """A planted fault: the owner takes the trigger away and changes an amount; the chain shows it."""
    institution, company = new_institution(), new_company()
    tender = institution.made("/tenders", rehearsal(bidding_seconds=3))
    company.made(f"/tenders/{tender['id']}/bids", {"amount": 10**9, "picks": [1, 2]})
    server.sql("ALTER TABLE procurement.bid DISABLE TRIGGER append_only")
    try:
        server.sql("UPDATE procurement.bid SET amount = amount - 1 WHERE tender_id = %s", tender["id"])
    finally:
        server.sql("ALTER TABLE procurement.bid ENABLE TRIGGER append_only")
    institution.wait_past(tender)
    answer = institution.post(f"/tenders/{tender['id']}/opening")
    assert answer.json["error"]["code"] == "chain_broken"


def test_the_database_itself_refuses_a_late_bid(new_institution, new_company, server):
    institution, company = new_institution(), new_company()
    tender = institution.made("/tenders", rehearsal(bidding_seconds=1))
    institution.wait_past(tender)
    with pytest.raises(Exception, match="deadline has passed"):
        server.sql(
            "INSERT INTO procurement.bid (tender_id, company_id, sequence, amount, pick_a, pick_b,"
            " receipt_number, received_at, nonce, previous_hash, receipt_hash, request_key)"
            " VALUES (%s, %s, 1, 5, 1, 2, 'late', clock_timestamp(), 'n', 'p', 'r', 'k')",
            tender["id"], company.id,
        )  # fmt: skip


def test_a_receipt_hash_covers_every_field():
    bid = {
        "previous_hash": "p", "tender_id": 1, "sequence": 1, "company_id": 2, "amount": 3, "pick_a": 4,
        "pick_b": 5, "received_at": datetime(2026, 1, 1, tzinfo=UTC), "nonce": "n", "receipt_number": "r",
    }  # fmt: skip
    hashes = {bids.receipt_hash(bid)}
    for name, value in bid.items():
        other = value.replace(year=2027) if name == "received_at" else f"{value}x"
        hashes.add(bids.receipt_hash(bid | {name: other}))
    assert len(hashes) == len(bid) + 1


@pytest.mark.parametrize("amounts", [[], [950_000_000], [500_000_000, 1_100_000_000]])
def test_a_tender_fails(new_institution, new_company, amounts):
    institution = new_institution()
    tender = institution.made("/tenders", rehearsal(bidding_seconds=3))
    path = f"/tenders/{tender['id']}"
    for amount in amounts:
        new_company().made(f"{path}/bids", {"amount": amount, "picks": [1, 2]})
    institution.wait_past(tender)
    opening = institution.made(f"{path}/opening")
    assert (opening["outcome"], opening["bids_count"]) == ("failed", len(amounts))
    assert institution.get(path).json["state"] == "failed"
    assert institution.post(f"{path}/award").json["error"]["code"] == "tender_failed"


def test_a_tie_is_decided_by_a_recorded_lot(new_institution, new_company):
    institution = new_institution()
    tender = institution.made("/tenders", rehearsal(bidding_seconds=3))
    path = f"/tenders/{tender['id']}"
    made = [
        new_company().made(f"{path}/bids", {"amount": 930_000_000 + extra, "picks": [1, 2]})["bid_id"]
        for extra in (0, 0, 5)
    ]
    institution.wait_past(tender)
    opening = institution.made(f"{path}/opening")
    assert [row["rank"] for row in opening["ranking"]] == [1, 1, 3]
    award = institution.made(f"{path}/award")
    assert award["decided_by"] == "lot"
    assert award["lot"]["candidates"] == sorted(made[:2])
    assert award["bid_id"] == award["lot"]["drawn"]
    assert institution.post(f"{path}/award").json["error"]["code"] == "already_awarded"


def test_one_opening_only_when_two_come_at_once(new_institution, new_company, operator):
    institution = new_institution()
    tender = institution.made("/tenders", rehearsal(bidding_seconds=3))
    institution.wait_past(tender)
    answers = []
    path = f"/tenders/{tender['id']}/opening"
    threads = [
        threading.Thread(target=lambda who=who: answers.append(who.post(path).status_code))
        for who in (institution, operator, institution, operator)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(answers) == [201, 409, 409, 409]


def test_net_cost_drops_a_bid():
    result = {"scheduled_price": 100, "floor_price": 80, "net_cost_minimum": 90}
    reasons = [openings.why_not(amount, result) for amount in (101, 100, 90, 89, 79)]
    assert reasons == [
        "over_scheduled_price", None, None, "under_net_cost_minimum", "under_floor_price",
    ]  # fmt: skip


def test_a_failed_inspection_can_be_followed_by_another(new_institution, new_company):
    institution, company, rival = new_institution(), new_company(), new_company()
    tender = institution.made("/tenders", rehearsal(bidding_seconds=3))
    path = f"/tenders/{tender['id']}"
    company.made(f"{path}/bids", {"amount": 930_000_000, "picks": [1, 2]})
    rival.made(f"{path}/bids", {"amount": 931_000_000, "picks": [1, 2]})
    institution.wait_past(tender)
    institution.made(f"{path}/opening")
    institution.made(f"{path}/award")
    wrong = institution.post(f"{path}/contract", {"amount": 1})
    assert wrong.json["error"]["code"] == "amount_differs"
    contract = institution.made(f"{path}/contract", {"amount": 930_000_000})["id"]
    path = f"/contracts/{contract}"
    assert company.post(f"{path}/completion").json["error"]["code"] == "not_confirmed"
    company.made(f"{path}/consent")
    institution.made(f"{path}/confirmation")
    assert institution.post(f"{path}/inspection", {"passed": True}).json["error"]["code"] == "not_completed"
    for passed in (False, True):
        company.made(f"{path}/completion")
        assert company.post(f"{path}/completion").json["error"]["code"] == "already_completed"
        institution.made(f"{path}/inspection", {"passed": passed})
        again = institution.post(f"{path}/inspection", {"passed": True})
        assert again.json["error"]["code"] == "already_inspected"
    over = company.post(f"{path}/subcontracts", {"subcontractor_id": rival.id, "amount": 930_000_001})
    assert over.json["error"]["code"] == "over_contract"
    assert [row["inspection"]["passed"] for row in company.get(path).json["completions"]] == [False, True]


def test_health_time_and_metrics(app):
    client = app.test_client()
    assert client.get("/healthz/live").status_code == 200
    assert client.get("/healthz/ready").json == {"ready": True}
    assert client.get("/api/v1/time").json["now"].endswith("+09:00")
    text = client.get("/metrics").text
    assert 'procurement_requests_total{method="GET",route="/healthz/ready",status="200"}' in text
    assert client.get("/api/v1/nothing").json["error"]["code"] == "not_found"
    assert client.delete("/api/v1/tenders").status_code == 405


def test_not_ready_when_it_cannot_write(app, server):
    client = app.test_client()
    server.sql("ALTER ROLE procurement_app SET default_transaction_read_only = on")
    server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'procurement_app'")
    try:
        answer = client.get("/healthz/ready")
        assert answer.status_code == 503
        assert "read-only" in answer.json["reason"]
    finally:
        server.sql("ALTER ROLE procurement_app RESET default_transaction_read_only")
        server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'procurement_app'")
    assert client.get("/healthz/ready").status_code == 200


def test_the_database_is_away_and_comes_back(settings, server, operator):
    """A process that started without its database answers 503, and recovers by itself."""
    app = create_app(settings)
    client = app.test_client()
    headers = {"Authorization": f"Bearer {operator.key}", "Idempotency-Key": "away-1"}
    body = {"stream": "away", "sequence": 1}
    server.stop()
    try:
        started_s = time.monotonic()
        ready = client.get("/healthz/ready")
        assert (ready.status_code, client.get("/healthz/live").status_code) == (503, 200)
        assert time.monotonic() - started_s < 2.5
        answer = client.post("/api/v1/canary", json=body, headers=headers)
        assert (answer.status_code, answer.json["error"]["code"]) == (503, "not_written")
        assert answer.headers["Retry-After"] == "1"
        assert str(server.port) not in answer.text
        assert client.get("/api/v1/tenders", headers=headers).json["error"]["code"] == "unavailable"
    finally:
        server.start()
    assert client.post("/api/v1/canary", json=body, headers=headers).status_code == 201
    assert client.get("/healthz/ready").status_code == 200
    app.extensions["readiness"].close()
    app.extensions["database"].close()


def test_importing_and_creating_connects_to_nothing(settings):
    app = create_app(replace(settings, dsn="host=127.0.0.1 port=1"))
    assert app.test_client().get("/healthz/live").status_code == 200
