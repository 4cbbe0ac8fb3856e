"""Every party sees and does only what is its own; a bid is sealed until the opening."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

pytestmark = pytest.mark.postgres


@dataclass
class World:
    """A finished case between one institution and its company, and others who have no part in it."""

    institution: object
    company: object
    subcontractor: object
    other_institution: object
    other_company: object
    tender: int
    contract: int
    claim: int
    payment: int
    subcontract: int


@pytest.fixture(scope="module")
def world(new_institution, new_company):
    institution, other_institution = new_institution(), new_institution()
    company, subcontractor, loser, other = (new_company() for _ in range(4))
    tender = institution.made("/tenders", {
        "number": "W-1", "title": "모의", "base_amount": 10**9, "range_percent": 3, "rate_percent": "88",
        "band": "10-50", "rehearsal": True, "bidding_seconds": 3, "opening_delay_seconds": 0,
    })  # fmt: skip
    noticed, tender = tender, tender["id"]
    company.made(f"/tenders/{tender}/bids", {"amount": 920_000_000, "picks": [1, 2]})
    loser.made(f"/tenders/{tender}/bids", {"amount": 930_000_000, "picks": [3, 4]})
    institution.wait_past(noticed)
    institution.made(f"/tenders/{tender}/opening")
    institution.made(f"/tenders/{tender}/award")
    contract = institution.made(f"/tenders/{tender}/contract", {"amount": 920_000_000})["id"]
    company.made(f"/contracts/{contract}/consent")
    institution.made(f"/contracts/{contract}/confirmation")
    part = {"subcontractor_id": subcontractor.id, "amount": 1000}
    subcontract = company.made(f"/contracts/{contract}/subcontracts", part)["id"]
    company.made(f"/contracts/{contract}/completion")
    institution.made(f"/contracts/{contract}/inspection", {"passed": True})
    claim = company.made(f"/contracts/{contract}/claims", {"amount": 5000})["id"]
    payment = institution.made(f"/claims/{claim}/payment")["payment_id"]
    return World(institution, company, subcontractor, other_institution, other, tender, contract, claim,
                 payment, subcontract)  # fmt: skip


GETS = ("/contracts/{contract}", "/claims/{claim}", "/payments/{payment}")
POSTS = (
    ("/tenders/{tender}/opening", {}),
    ("/tenders/{tender}/award", {}),
    ("/tenders/{tender}/contract", {"amount": 1}),
    ("/contracts/{contract}/consent", {}),
    ("/contracts/{contract}/confirmation", {}),
    ("/contracts/{contract}/subcontracts", {"subcontractor_id": 1, "amount": 1}),
    ("/contracts/{contract}/completion", {}),
    ("/contracts/{contract}/inspection", {"passed": True}),
    ("/contracts/{contract}/claims", {"amount": 1}),
    ("/claims/{claim}/payment", {}),
    ("/payments/{payment}/subcontract-payments", {"subcontract_id": 1, "amount": 1}),
)


@pytest.mark.parametrize("who", ["other_institution", "other_company"])
@pytest.mark.parametrize("path", GETS)
def test_a_stranger_does_not_even_learn_that_it_exists(world, who, path):
    assert getattr(world, who).get(path.format(**vars(world))).status_code == 404


@pytest.mark.parametrize("who", ["other_institution", "other_company", "subcontractor"])
@pytest.mark.parametrize(("path", "body"), POSTS)
def test_a_stranger_can_do_nothing(world, who, path, body):
    answer = getattr(world, who).post(path.format(**vars(world)), body)
    assert answer.status_code in (403, 404), answer.text


@pytest.mark.parametrize(
    ("who", "path", "body"),
    [
        ("institution", "/contracts/{contract}/consent", {}),
        ("institution", "/contracts/{contract}/claims", {"amount": 1}),
        ("company", "/contracts/{contract}/confirmation", {}),
        ("company", "/contracts/{contract}/inspection", {"passed": True}),
        ("company", "/claims/{claim}/payment", {}),
        ("institution", "/payments/{payment}/subcontract-payments", {"subcontract_id": 1, "amount": 1}),
        ("company", "/tenders", {}),
        ("institution", "/companies", {}),
        ("company", "/canary", {"stream": "x", "sequence": 1}),
        ("institution", "/tenders/{tender}/bids", {"amount": 1, "picks": [1, 2]}),
    ],
)
def test_the_other_side_cannot_take_my_step(world, who, path, body):
    assert getattr(world, who).post(path.format(**vars(world)), body).status_code == 403


def test_only_those_who_took_part_see_the_opening(world):
    for who in ("other_institution", "other_company", "subcontractor"):
        for path in ("opening", "award"):
            assert getattr(world, who).get(f"/tenders/{world.tender}/{path}").status_code == 403
    assert world.company.get(f"/tenders/{world.tender}/opening").status_code == 200
    assert world.other_institution.get(f"/tenders/{world.tender}/bids").status_code == 403
    assert world.other_company.get(f"/tenders/{world.tender}/bids").json["bids"] == []


def test_a_subcontractor_sees_its_own_part_only(world):
    seen = world.subcontractor.get(f"/contracts/{world.contract}").json
    assert [row["id"] for row in seen["subcontracts"]] == [world.subcontract]
    assert "amount" not in seen
    assert "claims" not in seen
    assert world.subcontractor.get(f"/payments/{world.payment}").status_code == 404  # nothing passed on yet
    assert [row["id"] for row in world.subcontractor.get("/contracts").json["contracts"]] == [world.contract]
    assert world.other_company.get("/contracts").json["contracts"] == []


def test_every_answer_of_a_rehearsal_says_so(world):
    paths = ("/tenders/{tender}", "/tenders/{tender}/bids", "/tenders/{tender}/opening",
             "/tenders/{tender}/award", *GETS)  # fmt: skip
    for path in paths:
        assert world.company.get(path.format(**vars(world))).json["rehearsal"] is True, path


def test_a_bid_is_sealed_until_the_opening(new_institution, new_company, operator, server):
    institution, company, rival = new_institution(), new_company(), new_company()
    prices = [1_000_000_000 + 12_345_600 * n for n in range(15)]
    tender = institution.made("/tenders", {
        "number": "S-1", "title": "봉인", "base_amount": 10**9, "range_percent": 3, "rate_percent": "88",
        "band": "10-50", "rehearsal": True, "bidding_seconds": 600, "opening_delay_seconds": 0,
        "preliminary_prices": prices,
    })  # fmt: skip
    path = f"/tenders/{tender['id']}"
    amount = 987_654_321
    receipt = company.made(f"{path}/bids", {"amount": amount, "picks": [1, 2]}, key="sealed")
    texts = [json.dumps(receipt), json.dumps(tender), company.post(
        f"{path}/bids", {"amount": amount, "picks": [1, 2]}, key="sealed").text]  # fmt: skip
    for who in (institution, company, rival, operator):
        texts += [who.get(f"{path}{end}").text for end in ("", "/bids", "/opening", "/award")]
        texts += [who.get("/tenders").text, who.get("/contracts").text]
    for text in texts:
        assert str(amount) not in text
        assert all(str(price) not in text for price in prices[1:])
    assert [row["receipt_hash"] for row in company.get(f"{path}/bids").json["bids"]] == [
        receipt["receipt_hash"]
    ]
    assert rival.get(f"{path}/bids").json["bids"] == []
    assert "bids_count" not in rival.get(f"{path}/bids").json
    seen = institution.get(f"{path}/bids").json
    assert (seen["bids_count"], seen["bids"]) == (1, [])
    stored = server.sql("SELECT response::text FROM procurement.idempotency WHERE request_key = 'sealed'")
    assert str(amount) not in stored[0][0]


def test_no_key_and_a_wrong_key(app):
    client = app.test_client()
    for headers in ({}, {"Authorization": "Bearer nobody"}, {"Authorization": "Basic eDp5"}):
        answer = client.get("/api/v1/tenders", headers=headers)
        assert answer.status_code == 401
        assert answer.json["error"]["hint"]


def test_a_key_is_stored_as_its_hash_only(server, new_company):
    company = new_company()
    rows = server.sql("SELECT row_to_json(p)::text FROM procurement.party p")
    rows += server.sql("SELECT row_to_json(i)::text FROM procurement.idempotency i")
    assert not any(company.key in row[0] for row in rows)
