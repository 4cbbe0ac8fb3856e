"""Complete lives of a tender: notice, bids, opening, contract, inspection, payment, subcontract payment.

Every step retries with its own key until it is acknowledged, so a life that is under way when the
primary goes is finished at the other site. When the load stops, a life ends before its next step; but
who has claimed is still paid, and so is the subcontractor.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from lab.drill.client import Call, Client, GaveUp
from lab.drill.official import BAND, RATE_PERCENT
from lab.drill.parties import Company, Parties

LIFE_BASE_AMOUNT = 100_000_000
LIFE_BIDDING_S = 2
SUBCONTRACT_PERCENT = 30


@dataclass(frozen=True, slots=True)
class Life:
    """One life: its client, its parties, the name that its keys begin with, the pause before each step.

    No step begins, and none is tried again, once `stopping` is set; of what is owed to a claim: `over`.
    """

    client: Client
    parties: Parties
    name: str
    edges: list[str]
    pause_s: float
    stopping: asyncio.Event
    over: asyncio.Event

    async def step(
        self, kind: str, step: str, path: str, body: dict[str, Any], key: str, *, owed: bool = False
    ) -> dict[str, Any]:
        """One step, acknowledged. Raises GaveUp, also when no new step may begin any more."""
        until = self.over if owed else self.stopping
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        if until.is_set():
            raise GaveUp(f"{self.name}: the load stops before {step}")
        call = Call(self.name, kind, f"{self.name}:{step}", path, body, key)
        return await self.client.insist(call, self.edges, until)


def tender_body(
    number: str, title: str, base_amount: int, prices: list[int] | None, bidding_s: int
) -> dict[str, Any]:
    """The notice of a rehearsal tender under the rules of the official sample."""
    body: dict[str, Any] = {
        "number": number,
        "title": title,
        "base_amount": base_amount,
        "range_percent": "3",
        "rate_percent": RATE_PERCENT,
        "band": BAND,
        "a_value": 0,
        "net_cost": None,
        "rehearsal": True,
        "bidding_seconds": bidding_s,
        "opening_delay_seconds": 0,
    }
    return body if prices is None else body | {"preliminary_prices": prices}


async def whole_life(life: Life) -> bool:
    """From the notice to the subcontract payment.

    False when it ended early: say, its deadline fell into the outage.
    """
    base = LIFE_BASE_AMOUNT
    number = life.name.rpartition(":")[2]
    try:
        notice = await life.step(
            "tender",
            "tender",
            "/tenders",
            tender_body(number, f"훈련 공고 {number}", base, None, LIFE_BIDDING_S),
            life.parties.institution,
        )
        hurried = replace(life, pause_s=0.0)
        bidders = life.parties.companies[:3]
        for place, company in enumerate(bidders):
            body = {"amount": base * (900 + 5 * place) // 1000, "picks": [1 + place, 8 + place]}
            await hurried.step("bid", f"bid-{place}", f"/tenders/{notice['id']}/bids", body, company.key)
        await asyncio.sleep(LIFE_BIDDING_S)
        await from_opening(life, notice["id"])
    except GaveUp:
        return False  # every attempt and its answer are in the journal
    return True


async def from_opening(life: Life, tender: int) -> dict[str, Any]:
    """Opening, award, contract, up to the subcontract payment. Answers the opening. Raises GaveUp."""
    agency = life.parties.institution
    opening = await life.step("opening", "opening", f"/tenders/{tender}/opening", {}, agency)
    award = await life.step("award", "award", f"/tenders/{tender}/award", {}, agency)
    winner = next(company for company in life.parties.companies if company.id == award["company"]["id"])
    contract = await life.step(
        "contract", "contract", f"/tenders/{tender}/contract", {"amount": award["amount"]}, agency
    )
    await _perform(life, contract["id"], award["amount"], winner)
    return opening


async def _perform(life: Life, contract: int, amount: int, winner: Company) -> None:
    agency, path = life.parties.institution, f"/contracts/{contract}"
    await life.step("consent", "consent", f"{path}/consent", {}, winner.key)
    await life.step("confirmation", "confirmation", f"{path}/confirmation", {}, agency)
    partner = next(company for company in life.parties.companies if company.id != winner.id)
    part_amount = amount * SUBCONTRACT_PERCENT // 100
    part = await life.step(
        "subcontract",
        "subcontract",
        f"{path}/subcontracts",
        {"subcontractor_id": partner.id, "amount": part_amount},
        winner.key,
    )
    await life.step("completion", "completion", f"{path}/completion", {}, winner.key)
    await life.step("inspection", "inspection", f"{path}/inspection", {"passed": True}, agency)
    claim = await life.step("claim", "claim", f"{path}/claims", {"amount": amount}, winner.key)
    payment = await life.step("payment", "payment", f"/claims/{claim['id']}/payment", {}, agency, owed=True)
    body = {"subcontract_id": part["id"], "amount": part_amount}
    await life.step(
        "subcontract_payment",
        "subcontract-payment",
        f"/payments/{payment['payment_id']}/subcontract-payments",
        body,
        winner.key,
        owed=True,
    )
