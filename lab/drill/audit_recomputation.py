"""Would the stored bids and the drawn numbers give the opening and the award that are stored?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lab.drill.case import Finding, HostSnapshot, Row
from lab.drill.recompute import draw_counts, drawn_numbers, floor_price, lowest_valid, scheduled_price

PRICES = 15
LEAST_BIDS = 2  # a tender with fewer fails
RANKED, FAILED = "first_ranked", "failed"


def recomputed(snapshot: HostSnapshot) -> list[Finding]:
    """Every opening and award of one host that its own bids contradict: kind *award_changed*.

    A tie may be awarded to any of the lowest bids: that a lot is drawn cannot be computed again. Tenders with
    a net construction cost, which drops more bids, are not noticed in a drill.
    """
    notices = {str(row["id"]): row for row in snapshot.rows("tender")}
    prices = _by_tender(snapshot, "preliminary_price")
    bids = _by_tender(snapshot, "bid")
    awards = {str(row["tender_id"]): row for row in snapshot.rows("award")}
    findings: list[Finding] = []
    for row in snapshot.rows("opening"):
        tender = str(row["tender_id"])
        notice = notices.get(tender)
        drawn = [
            int(each["price"]) for each in sorted(prices.get(tender, ()), key=lambda each: each["number"])
        ]
        if notice is None or len(drawn) != PRICES:
            detail = "opened, and its notice or its preliminary prices are not there"
            findings.append(Finding("award_changed", tender, detail, snapshot.host))
            continue
        said = _contradictions(notice, drawn, bids.get(tender, ()), row, awards.get(tender))
        findings += [Finding("award_changed", tender, detail, snapshot.host) for detail in said]
    return findings


def opened(notice: Row, prices: Sequence[int], bids: Sequence[Row]) -> dict[str, Any]:
    """What the opening of these bids comes to; without a bid no price. `prices`: won, number 1 first."""
    counts = draw_counts((bid["pick_a"], bid["pick_b"]) for bid in bids)
    result: dict[str, Any] = {"bids_count": len(bids), "draw_counts": list(counts), "outcome": FAILED}
    if not bids:
        return result | {"drawn_numbers": [], "scheduled_price": None, "floor_price": None}
    price = scheduled_price(prices, counts)
    floor = floor_price(price, str(notice["rate_percent"]), int(notice["a_value"]))
    result |= {"drawn_numbers": list(drawn_numbers(counts)), "scheduled_price": price, "floor_price": floor}
    if len(bids) >= LEAST_BIDS and winners(bids, result):
        result["outcome"] = RANKED
    return result


def winners(bids: Sequence[Row], result: dict[str, Any]) -> frozenset[str]:
    """Ids of the bids that may be awarded: one, or those that are tied."""
    named = ((int(bid["amount"]), str(bid["id"])) for bid in bids)
    return lowest_valid(named, result["floor_price"], result["scheduled_price"])


def _contradictions(
    notice: Row, prices: Sequence[int], bids: Sequence[Row], opening: Row, award: Row | None
) -> list[str]:
    result = opened(notice, prices, bids)
    said = [
        f"{name} is {opening[name]}, its bids and prices give {value}"
        for name, value in result.items()
        if opening[name] != value
    ]
    if award is not None:
        if result["outcome"] == FAILED:
            return [*said, f"awarded to bid {award['bid_id']}, its bids and prices let it fail"]
        best = {str(bid["id"]): bid for bid in bids if str(bid["id"]) in winners(bids, result)}
        bid = best.get(str(award["bid_id"]))
        if bid is None:
            said.append(f"awarded to bid {award['bid_id']}, its bids and prices give {' or '.join(best)}")
        elif (award["company_id"], award["amount"]) != (bid["company_id"], bid["amount"]):
            said.append("awarded to another company or amount than its bid says")
    return said


def _by_tender(snapshot: HostSnapshot, table: str) -> dict[str, list[Row]]:
    by_tender: dict[str, list[Row]] = {}
    for row in snapshot.rows(table):
        by_tender.setdefault(str(row["tender_id"]), []).append(row)
    return by_tender
