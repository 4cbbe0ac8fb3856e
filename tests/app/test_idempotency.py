"""One key, one answer, for ever."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from app import operations
from app.database import Database
from app.errors import OutcomeUnknown, Refusal
from app.parties import Party

pytestmark = pytest.mark.postgres


def test_the_same_request_gives_the_very_same_answer(operator):
    body = {"stream": "same", "sequence": 1}
    first = operator.post("/canary", body, key="same-1")
    again = operator.post("/canary", body, key="same-1")
    assert first.status_code == again.status_code == 201
    assert first.data == again.data


def test_the_order_of_fields_is_no_difference(operator, app):
    headers = {"Authorization": f"Bearer {operator.key}", "Idempotency-Key": "order-1"}
    texts = ('{"stream": "order", "sequence": 1}', '{"sequence":1,"stream":"order"}')
    answers = [app.test_client().post("/api/v1/canary", data=text, headers=headers) for text in texts]
    assert answers[0].data == answers[1].data


def test_another_body_or_path_with_the_same_key_is_refused(operator):
    operator.made("/canary", {"stream": "reuse", "sequence": 1}, key="reuse-1")
    for path, body in (
        ("/canary", {"stream": "reuse", "sequence": 2}),
        ("/institutions", {"name": "x", "key": "k" * 40}),
    ):
        answer = operator.post(path, body, key="reuse-1")
        assert (answer.status_code, answer.json["error"]["code"]) == (422, "idempotency_key_reused")


def test_keys_of_two_parties_are_apart(new_institution, new_company):
    one, other = new_institution(), new_institution()
    body = rehearsal()
    assert one.made("/tenders", body, key="k")["id"] != other.made("/tenders", body, key="k")["id"]


def test_a_stored_answer_wins_over_a_later_state(new_institution, new_company):
    institution, company = new_institution(), new_company()
    tender = institution.made("/tenders", rehearsal(bidding_seconds=3))
    bid = {"amount": 900, "picks": [1, 2]}
    first = company.post(f"/tenders/{tender['id']}/bids", bid, key="late-retry")
    institution.wait_past(tender)
    again = company.post(f"/tenders/{tender['id']}/bids", bid, key="late-retry")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.data == again.data
    assert company.post(f"/tenders/{tender['id']}/bids", bid, key="new").status_code == 409


def test_a_refusal_is_not_stored(operator):
    assert operator.post("/canary", {"stream": "", "sequence": 1}, key="refused-1").status_code == 422
    assert operator.post("/canary", {"stream": "ok", "sequence": 1}, key="refused-1").status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb", "é"])
def test_a_malformed_key_is_refused(app, operator, key):
    headers = {"Authorization": f"Bearer {operator.key}", "Idempotency-Key": key}
    answer = app.test_client().post("/api/v1/canary", json={}, headers=headers)
    assert (answer.status_code, answer.json["error"]["code"]) == (400, "idempotency_key_malformed")


def test_a_missing_key_is_refused(app, operator):
    headers = {"Authorization": f"Bearer {operator.key}"}
    answer = app.test_client().post("/api/v1/canary", json={}, headers=headers)
    assert answer.json["error"]["code"] == "idempotency_key_missing"


def test_twins_at_once_give_one_answer_and_one_effect(operator, server):
    answers, body = [], {"stream": "twins", "sequence": 1}

    def send() -> None:
        answers.append(operator.post("/canary", body, key="twins-1"))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.data for answer in answers}) == 1
    assert server.sql("SELECT count(*) FROM procurement.canary WHERE stream = 'twins'") == [(1,)]


def test_the_same_sequence_with_another_key_is_refused(operator):
    operator.made("/canary", {"stream": "once", "sequence": 7})
    answer = operator.post("/canary", {"stream": "once", "sequence": 7})
    assert (answer.status_code, answer.json["error"]["code"]) == (409, "already_written")


def test_an_unknown_outcome_is_settled_by_the_retry(settings, server):
    """The sync standby is gone: unknown. It comes back: the retry gives the answer, written once."""
    database = Database(replace(settings, commit_limit_s=0.5, lock_limit_s=0.3))
    party = Party(
        server.sql("SELECT id FROM procurement.party WHERE kind = 'operator'")[0][0], "operator", "x"
    )
    write = operations.WRITES["add_canary"]
    body = {"stream": "settled", "sequence": 1}
    standby(server, "nobody")
    try:
        for _ in range(2):  # the retry meets its twin, which still waits: still unknown
            with pytest.raises(OutcomeUnknown):
                operations.write(database, party, write, {}, body, "settled-1")
    finally:
        standby(server, "")
    end_s = time.monotonic() + 5
    while True:
        try:
            answer = operations.write(database, party, write, {}, body, "settled-1")
            break
        except OutcomeUnknown:
            assert time.monotonic() < end_s
    assert answer.replayed
    assert server.sql("SELECT count(*) FROM procurement.canary WHERE stream = 'settled'") == [(1,)]
    with pytest.raises(Refusal, match="another request"):
        operations.write(database, party, write, {}, body | {"sequence": 2}, "settled-1")
    database.close()


def standby(server, names: str) -> None:
    server.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    server.sql("SELECT pg_reload_conf()")
    time.sleep(0.3)


def rehearsal(**changes) -> dict:
    return {
        "number": "R-1", "title": "모의", "base_amount": 1000, "range_percent": 3, "rate_percent": "88.745",
        "band": "10-50", "rehearsal": True, "bidding_seconds": 600, "opening_delay_seconds": 0,
    } | changes  # fmt: skip
