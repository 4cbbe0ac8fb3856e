"""The opening: one transaction, once; every figure comes from app/award.py.

A tender fails (유찰) with fewer than two bids, or when no bid is eligible. A bid is eligible when it is
at or under the scheduled price, at or over the floor, and at or over the net-cost minimum if there is one.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from app import award, bids, legal, tenders
from app.database import Row, Transaction
from app.errors import Refusal, not_yours
from app.models import Empty
from app.parties import Ids, Party
from app.working_days import iso, local_date


def open_tender(tx: Transaction, party: Party, ids: Ids, body: Empty, request_key: str) -> dict:
    """Open all bids of a tender. Refused before its time, and a second time."""
    tx.lock("tender", ids["tender_id"])
    tender = tenders.find(tx, ids["tender_id"])
    if party.kind != "operator" and tender["institution_id"] != party.id:
        raise not_yours("this tender belongs to another institution")
    if tender["outcome"] is not None:
        hint = f"GET /api/v1/tenders/{tender['id']}/opening gives the result"
        raise Refusal(409, "already_opened", "this tender is opened already", hint)
    if tender["now"] < tender["opening_at"]:
        wait = (tender["opening_at"] - tender["now"]) / timedelta(seconds=1)
        hint = f"try again in {wait:.0f} seconds"
        raise Refusal(409, "too_early", f"the opening is at {iso(tender['opening_at'])}", hint)
    entries = bids.all_bids(tx, tender["id"])
    result = decide(tender, _prices(tx, tender["id"]), entries)
    tx.run(
        """
        INSERT INTO procurement.opening (tender_id, opened_by, bids_count, draw_counts, drawn_numbers,
            scheduled_price, floor_price, net_cost_minimum, ranking, outcome, request_key)
        VALUES (%(tender_id)s, %(opened_by)s, %(bids_count)s, %(draw_counts)s, %(drawn_numbers)s,
            %(scheduled_price)s, %(floor_price)s, %(net_cost_minimum)s, %(ranking_json)s, %(outcome)s,
            %(request_key)s)
        """,
        result
        | {
            "tender_id": tender["id"],
            "opened_by": party.id,
            "ranking_json": json.dumps(result["ranking"], ensure_ascii=False),
            "request_key": request_key,
        },
    )
    return opening_view(tx, tender["id"], party)


def decide(tender: Row, prices: list[int], entries: list[Row]) -> dict[str, Any]:
    """The result of an opening, from facts alone (no I/O)."""
    counts = award.draw_counts([(row["pick_a"], row["pick_b"]) for row in entries])
    result: dict[str, Any] = {
        "bids_count": len(entries), "draw_counts": counts, "drawn_numbers": [], "scheduled_price": None,
        "floor_price": None, "net_cost_minimum": None, "ranking": [], "outcome": "failed",
    }  # fmt: skip
    if not entries:
        return result
    estimate = award.scheduled_price(prices, counts)
    result["drawn_numbers"] = award.drawn_numbers(counts)
    result["scheduled_price"] = estimate
    result["floor_price"] = award.floor_price(estimate, tender["rate_percent"], tender["a_value"])
    if tender["net_cost"] is not None:
        result["net_cost_minimum"] = award.minimum_by_net_cost(
            tender["net_cost"], estimate, tender["base_amount"]
        )
    result["ranking"] = ranking(tender, result, entries)
    least = legal.windows_on(local_date(tender["noticed_at"])).least_bids
    if len(entries) >= least and any(row["rank"] == 1 for row in result["ranking"]):
        result["outcome"] = "first_ranked"
    return result


def ranking(tender: Row, result: dict[str, Any], entries: list[Row]) -> list[dict[str, Any]]:
    """Eligible bids by amount (equal amounts share a rank), then the others with the reason."""
    rows = []
    for row in sorted(entries, key=lambda entry: (entry["amount"], entry["sequence"])):
        score = award.price_score(row["amount"], result["scheduled_price"], tender["band"], tender["a_value"])
        rows.append(
            {
                "rank": None,
                "bid_id": row["bid_id"],
                "company_id": row["company_id"],
                "company_name": row["company_name"],
                "amount": row["amount"],
                "price_score": str(score),
                "not_eligible": why_not(row["amount"], result),
            }
        )
    eligible = [row for row in rows if row["not_eligible"] is None]
    for row in eligible:
        row["rank"] = 1 + sum(other["amount"] < row["amount"] for other in eligible)
    return eligible + [row for row in rows if row["not_eligible"] is not None]


def why_not(amount: int, result: dict[str, Any]) -> str | None:
    """Why a bid cannot win; None when it can."""
    if amount > result["scheduled_price"]:
        return "over_scheduled_price"
    if amount < result["floor_price"]:
        return "under_floor_price"
    if result["net_cost_minimum"] is not None and amount < result["net_cost_minimum"]:
        return "under_net_cost_minimum"
    return None


def _prices(tx: Transaction, tender_id: int) -> list[int]:
    rows = tx.all(
        "SELECT price FROM procurement.preliminary_price WHERE tender_id = %s ORDER BY number", (tender_id,)
    )
    return [row["price"] for row in rows]


def show_opening(tx: Transaction, party: Party, ids: Ids) -> dict:
    """The result, for the institution, the operator and every company that bid."""
    tender = tenders.find(tx, ids["tender_id"])
    if party.kind != "operator" and tender["institution_id"] != party.id:
        bid = tx.maybe(
            "SELECT id FROM procurement.bid WHERE tender_id = %s AND company_id = %s",
            (tender["id"], party.id),
        )
        if bid is None:
            raise not_yours("only the institution and the bidders of a tender see its opening")
    return opening_view(tx, tender["id"], party)


def opening_view(tx: Transaction, tender_id: int, party: Party) -> dict[str, Any]:
    row = tx.maybe("SELECT * FROM procurement.opening WHERE tender_id = %s", (tender_id,))
    if row is None:
        raise Refusal(404, "not_opened", "this tender is not opened yet", "see its opening_at")
    tender = tenders.find(tx, tender_id)
    names = ("bids_count", "draw_counts", "drawn_numbers", "scheduled_price", "floor_price",
             "net_cost_minimum", "ranking", "outcome")  # fmt: skip
    return {
        "tender": tenders.tender_view(tender, party),
        "opened_at": iso(row["opened_at"]),
        "rehearsal": tender["rehearsal"],
        "preliminary_prices": _prices(tx, tender_id),
        **{name: row[name] for name in names},
    }
