"""The official sample tender through the whole life cycle, by HTTP alone."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

pytestmark = pytest.mark.postgres
SAMPLE = json.loads(files("app.data").joinpath("tender-R25BK00888538-003.json").read_text(encoding="utf-8"))


def rehearsal(**changes) -> dict:
    return {
        "number": SAMPLE["tender"], "title": "공식 표본 Official sample", "base_amount": 1797931000,
        "range_percent": 3, "rate_percent": "88.745", "band": "10-50", "a_value": 0, "net_cost": None,
        "rehearsal": True, "bidding_seconds": 600, "opening_delay_seconds": 0,
    } | changes  # fmt: skip


def sample_picks() -> list[tuple[int, int]]:
    """60 pairs of different numbers with the published counts: deal the draws into two halves."""
    draws = [p["number"] for p in SAMPLE["preliminary_prices"] for _ in range(p["draw_count"])]
    half = len(draws) // 2
    return list(zip(draws[:half], draws[half:], strict=True))


def test_life_cycle_of_the_official_sample(new_institution, new_company):
    institution, subcontractor = new_institution(), new_company()
    prices = [p["price_won"] for p in SAMPLE["preliminary_prices"]]
    companies = [new_company() for _ in range(60)]
    tender = institution.made("/tenders", rehearsal(preliminary_prices=prices, bidding_seconds=10))
    base = f"/tenders/{tender['id']}"
    assert institution.post(f"{base}/opening").json["error"]["code"] == "too_early"
    for index, (company, picks) in enumerate(zip(companies, sample_picks(), strict=True)):
        company.made(f"{base}/bids", {"amount": 1_573_662_681 + index, "picks": picks})
    institution.wait_past(tender)
    late = subcontractor.post(f"{base}/bids", {"amount": 1_600_000_000, "picks": [1, 2]})
    assert (late.status_code, late.json["error"]["code"]) == (409, "deadline_passed")
    opening = institution.made(f"{base}/opening")
    assert opening["scheduled_price"] == 1_773_240_950
    assert opening["drawn_numbers"] == [1, 2, 3, 6]
    assert opening["draw_counts"] == [p["draw_count"] for p in SAMPLE["preliminary_prices"]]
    assert opening["floor_price"] == 1_573_662_682
    assert opening["outcome"] == "first_ranked"
    assert opening["ranking"][0]["company_id"] == companies[1].id
    assert opening["ranking"][0]["price_score"] == "65.00"
    assert opening["ranking"][-1]["not_eligible"] == "under_floor_price"
    again = institution.post(f"{base}/opening")
    assert (again.status_code, again.json["error"]["code"]) == (409, "already_opened")
    finish(institution, companies[1], subcontractor, base)


def finish(institution, company, subcontractor, base: str) -> None:
    award = institution.made(f"{base}/award")
    assert (award["amount"], award["decided_by"]) == (1_573_662_682, "lowest_bid")
    contract = institution.made(f"{base}/contract", {"amount": award["amount"]})
    path = f"/contracts/{contract['id']}"
    assert institution.post(f"{path}/confirmation").json["error"]["code"] == "no_consent"
    company.made(f"{path}/consent")
    institution.made(f"{path}/confirmation")
    part = {"subcontractor_id": subcontractor.id, "amount": 1000}
    subcontract = company.made(f"{path}/subcontracts", part)
    company.made(f"{path}/completion")
    assert company.post(f"{path}/claims", {"amount": 5}).json["error"]["code"] == "not_inspected"
    institution.made(f"{path}/inspection", {"passed": True})
    claim = company.made(f"{path}/claims", {"amount": award["amount"]})
    over = company.post(f"{path}/claims", {"amount": 1})
    assert over.json["error"]["code"] == "over_contract"
    payment = institution.made(f"/claims/{claim['id']}/payment")
    assert payment["due_on"] == claim["due_on"]
    assert payment["late_days"] == 0
    assert institution.post(f"/claims/{claim['id']}/payment").json["error"]["code"] == "already_paid"
    onward = f"/payments/{payment['payment_id']}/subcontract-payments"
    body = {"subcontract_id": subcontract["id"], "amount": 1001}
    assert company.post(onward, body).json["error"]["code"] == "over_subcontract"
    company.made(onward, body | {"amount": 1000})
    assert company.post(onward, body | {"amount": 1}).json["error"]["code"] == "already_paid"
    seen = subcontractor.get(f"/payments/{payment['payment_id']}").json
    assert "amount" not in seen
    assert [row["amount"] for row in seen["subcontract_payments"]] == [1000]
