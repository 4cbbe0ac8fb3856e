"""Bids: received at the database's clock, chained receipts, sealed until the opening.

A receipt's hash covers the bid, a random nonce and the receipt before it, so nothing can be inserted,
dropped or changed. The nonce keeps the next bidder, who learns ``previous_hash``, from guessing the amount.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC
from typing import Any

from app import tenders
from app.database import Row, Transaction
from app.errors import Refusal
from app.models import NewBid
from app.parties import Ids, Party
from app.working_days import iso


def receipt_hash(bid: Row) -> str:
    """SHA-256 over the bid's lines joined by a newline, in hex.

    Lines: previous_hash, tender_id, sequence, company_id, amount, pick_a, pick_b, received_at (UTC, ISO
    8601 with microseconds), nonce, receipt_number.
    """
    received = bid["received_at"].astimezone(UTC).isoformat(timespec="microseconds")
    lines = (
        bid["previous_hash"], bid["tender_id"], bid["sequence"], bid["company_id"], bid["amount"],
        bid["pick_a"], bid["pick_b"], received, bid["nonce"], bid["receipt_number"],
    )  # fmt: skip
    return hashlib.sha256("\n".join(str(line) for line in lines).encode()).hexdigest()


def add_bid(tx: Transaction, party: Party, ids: Ids, body: NewBid, request_key: str) -> dict:
    """Receive a bid. The lock of the tender comes first, the clock is read under it."""
    tx.lock("tender", ids["tender_id"])
    tender = tenders.find(tx, ids["tender_id"])  # a new statement under the lock: it reads the clock, too
    mine = tx.maybe(
        "SELECT id FROM procurement.bid WHERE tender_id = %s AND company_id = %s", (tender["id"], party.id)
    )
    if mine is not None:
        raise Refusal(
            409, "already_bid", "this company has a bid in this tender already", "one bid a company"
        )
    if tender["outcome"] is not None or tender["now"] >= tender["deadline"]:
        message = f"the deadline was {iso(tender['deadline'])}; it is {iso(tender['now'])}"
        raise Refusal(409, "deadline_passed", message, "no bid is received after the deadline")
    last = tx.maybe(
        "SELECT sequence, receipt_hash FROM procurement.bid WHERE tender_id = %s"
        " ORDER BY sequence DESC LIMIT 1",
        (tender["id"],),
    )
    bid = {
        "tender_id": tender["id"],
        "company_id": party.id,
        "sequence": 1 if last is None else last["sequence"] + 1,
        "amount": body.amount,
        "pick_a": body.picks[0],
        "pick_b": body.picks[1],
        "receipt_number": f"{tender['id']}-{secrets.token_hex(8)}",
        "received_at": tender["now"],
        "nonce": secrets.token_hex(32),
        "previous_hash": tender["chain_start"] if last is None else last["receipt_hash"],
        "request_key": request_key,
    }
    bid["receipt_hash"] = receipt_hash(bid)
    return receipt_view(_insert(tx, bid), tender["rehearsal"])


def _insert(tx: Transaction, bid: Row) -> Row:
    row = tx.one(
        """
        INSERT INTO procurement.bid (tender_id, company_id, sequence, amount, pick_a, pick_b,
            receipt_number, received_at, nonce, previous_hash, receipt_hash, request_key)
        VALUES (%(tender_id)s, %(company_id)s, %(sequence)s, %(amount)s, %(pick_a)s, %(pick_b)s,
            %(receipt_number)s, %(received_at)s, %(nonce)s, %(previous_hash)s, %(receipt_hash)s,
            %(request_key)s)
        RETURNING id
        """,
        bid,
    )
    return bid | {"bid_id": row["id"]}


def receipt_view(bid: Row, rehearsal: bool) -> dict[str, Any]:
    """The receipt: everything that proves the bid, and not its amount."""
    return {
        "bid_id": bid["bid_id"],
        "tender_id": bid["tender_id"],
        "receipt_number": bid["receipt_number"],
        "received_at": iso(bid["received_at"]),
        "receipt_hash": bid["receipt_hash"],
        "previous_hash": bid["previous_hash"],
        "nonce": bid["nonce"],
        "rehearsal": rehearsal,
    }


def all_bids(tx: Transaction, tender_id: int) -> list[Row]:
    """Every bid of a tender in the order of the chain, each checked against the chain (principle 8)."""
    rows = tx.all(
        "SELECT b.*, b.id AS bid_id, p.name AS company_name, t.chain_start FROM procurement.bid b"
        " JOIN procurement.party p ON p.id = b.company_id JOIN procurement.tender t ON t.id = b.tender_id"
        " WHERE b.tender_id = %s ORDER BY b.sequence",
        (tender_id,),
    )
    for index, row in enumerate(rows):
        before = rows[index - 1]["receipt_hash"] if index else row["chain_start"]
        if (
            row["sequence"] != index + 1
            or row["previous_hash"] != before
            or row["receipt_hash"] != receipt_hash(row)
        ):
            raise Refusal(
                409, "chain_broken", f"receipt {row['receipt_number']} does not fit its chain",
                "do not open: have the chain audited on every database host",
            )  # fmt: skip
    return rows


def list_bids(tx: Transaction, party: Party, ids: Ids) -> dict:
    """Before the opening a company sees its own receipt, the institution and the operator the count.

    After it, a company sees its own bid with its amount, the institution and the operator all of them.
    """
    tender = tenders.find(tx, ids["tender_id"])
    opened = tender["outcome"] is not None
    owner = party.kind == "operator" or tender["institution_id"] == party.id
    if not owner and party.kind != "company":
        raise Refusal(403, "not_yours", "this tender belongs to another institution", "use its own key")
    rows = all_bids(tx, tender["id"])
    view: dict[str, Any] = {"tender_id": tender["id"], "opened": opened, "rehearsal": tender["rehearsal"]}
    if owner:
        view["bids_count"] = len(rows)
        shown = rows if opened else []
    else:
        shown = [row for row in rows if row["company_id"] == party.id]
    view["bids"] = [_bid_view(row, tender["rehearsal"], opened) for row in shown]
    return view


def _bid_view(row: Row, rehearsal: bool, opened: bool) -> dict[str, Any]:
    view = receipt_view(row, rehearsal)
    if opened:
        view |= {
            "company": {"id": row["company_id"], "name": row["company_name"]},
            "amount": row["amount"],
            "picks": [row["pick_a"], row["pick_b"]],
            "sequence": row["sequence"],
        }
    return view
