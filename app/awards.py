"""The award: to the first-ranked; a tie goes to the higher performance score, then to a recorded lot.

No performance score is recorded yet (it is null for every bid), so a tie goes to the lot.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from app import openings, tenders
from app.database import Transaction
from app.errors import Refusal
from app.models import Empty
from app.parties import Ids, Party
from app.working_days import iso

RANDOM = secrets.SystemRandom()


def award_tender(tx: Transaction, party: Party, ids: Ids, body: Empty, request_key: str) -> dict:
    """Award an opened tender, after the institution's review; once."""
    tx.lock("tender", ids["tender_id"])
    tender = tenders.owned(tx, ids["tender_id"], party)
    if tender["outcome"] is None:
        raise Refusal(409, "not_opened", "this tender is not opened yet", "open it first")
    if tender["outcome"] == "failed":
        raise Refusal(
            409, "tender_failed", "this tender failed: there is nobody to award it to", "notice it again"
        )
    if tender["awarded"]:
        raise Refusal(409, "already_awarded", "this tender is awarded already", "GET its award")
    opening = tx.one("SELECT ranking FROM procurement.opening WHERE tender_id = %s", (tender["id"],))
    first = [row for row in opening["ranking"] if row["rank"] == 1]
    winner, decided_by, lot = decide(first)
    tx.run(
        "INSERT INTO procurement.award (tender_id, bid_id, company_id, amount, decided_by, lot, request_key)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)",
        (tender["id"], winner["bid_id"], winner["company_id"], winner["amount"], decided_by,
         None if lot is None else json.dumps(lot), request_key),
    )  # fmt: skip
    return award_view(tx, tender["id"])


def decide(first: list[dict[str, Any]]) -> tuple[dict[str, Any], str, dict[str, Any] | None]:
    """The winner among equal first ranks, how it was decided, and the lot's record if one was drawn."""
    if len(first) == 1:
        return first[0], "lowest_bid", None
    candidates = sorted(row["bid_id"] for row in first)
    drawn = RANDOM.choice(candidates)
    winner = next(row for row in first if row["bid_id"] == drawn)
    return winner, "lot", {"candidates": candidates, "drawn": drawn, "performance_scores": None}


def award_view(tx: Transaction, tender_id: int) -> dict[str, Any]:
    row = tx.maybe(
        "SELECT a.*, p.name AS company_name, t.number, t.rehearsal FROM procurement.award a"
        " JOIN procurement.party p ON p.id = a.company_id JOIN procurement.tender t ON t.id = a.tender_id"
        " WHERE a.tender_id = %s",
        (tender_id,),
    )
    if row is None:
        raise Refusal(404, "not_awarded", "this tender is not awarded yet", "")
    return {
        "tender_id": row["tender_id"], "tender_number": row["number"], "bid_id": row["bid_id"],
        "company": {"id": row["company_id"], "name": row["company_name"]}, "amount": row["amount"],
        "decided_by": row["decided_by"], "lot": row["lot"], "awarded_at": iso(row["awarded_at"]),
        "rehearsal": row["rehearsal"],
    }  # fmt: skip


def show_award(tx: Transaction, party: Party, ids: Ids) -> dict:
    """The award, for those who see the opening."""
    openings.show_opening(tx, party, ids)
    return award_view(tx, ids["tender_id"])
