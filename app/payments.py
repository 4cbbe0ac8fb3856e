"""Payments of claims and payments on to subcontractors. Neither can be made twice.

A late payment is recorded as late and never refused: refusing it would delay it more.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from app import claims, legal
from app.database import Row, Transaction
from app.errors import Refusal, not_found, not_yours
from app.models import Empty, NewSubcontractPayment
from app.parties import Ids, Party
from app.working_days import iso, late_days, local_date


def pay_claim(tx: Transaction, party: Party, ids: Ids, body: Empty, request_key: str) -> dict:
    """The institution pays a claim in full; once."""
    tx.lock("claim", ids["claim_id"])
    claim = claims.find(tx, ids["claim_id"])
    if party.id not in (claim["institution_id"], claim["company_id"]) and party.kind != "operator":
        raise not_found("claim")
    if party.id != claim["institution_id"]:
        raise not_yours("the institution pays")
    if claim["payment_id"] is not None:
        hint = f"GET /api/v1/payments/{claim['payment_id']}"
        raise Refusal(409, "already_paid", "this claim is paid already", hint)
    row = tx.one(
        "INSERT INTO procurement.payment (claim_id, amount, paid_at, due_on, late_days, request_key)"
        " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
        (claim["id"], claim["amount"], claim["now"], claim["due_on"],
         late_days(claim["due_on"], claim["now"]), request_key),
    )  # fmt: skip
    return payment_view(tx, find(tx, row["id"]), party)


def find(tx: Transaction, payment_id: int) -> Row:
    row = tx.maybe(
        "SELECT p.*, m.contract_id, c.institution_id, c.company_id, t.rehearsal, clock_timestamp() AS now"
        " FROM procurement.payment p JOIN procurement.claim m ON m.id = p.claim_id"
        " JOIN procurement.contract c ON c.id = m.contract_id JOIN procurement.tender t ON t.id = c.tender_id"
        " WHERE p.id = %s",
        (payment_id,),
    )
    if row is None:
        raise not_found("payment")
    return row


def payment_view(tx: Transaction, row: Row, party: Party) -> dict[str, Any]:
    """A payment and what was passed on; a subcontractor sees its own part and not the payment's amount."""
    side = party.kind == "operator" or party.id in (row["institution_id"], row["company_id"])
    passed_on = tx.all(
        "SELECT x.*, s.subcontractor_id, q.name AS subcontractor_name FROM procurement.subcontract_payment x"
        " JOIN procurement.subcontract s ON s.id = x.subcontract_id"
        " JOIN procurement.party q ON q.id = s.subcontractor_id"
        " WHERE x.payment_id = %s AND (%s OR s.subcontractor_id = %s) ORDER BY x.id",
        (row["id"], side, party.id),
    )
    if not side and not passed_on:
        raise not_found("payment")
    view: dict[str, Any] = {
        "payment_id": row["id"], "contract_id": row["contract_id"], "rehearsal": row["rehearsal"],
        "paid_at": iso(row["paid_at"]),
        "subcontract_payments": [subcontract_payment_view(entry, row) for entry in passed_on],
    }  # fmt: skip
    if side:
        view |= {
            "claim_id": row["claim_id"], "amount": row["amount"], "due_on": row["due_on"].isoformat(),
            "late_days": row["late_days"],
        }  # fmt: skip
    return view


def show_payment(tx: Transaction, party: Party, ids: Ids) -> dict:
    return payment_view(tx, find(tx, ids["payment_id"]), party)


def pay_subcontractor(
    tx: Transaction, party: Party, ids: Ids, body: NewSubcontractPayment, request_key: str
) -> dict:
    """The prime passes on a part of a payment; once for each payment and subcontract."""
    payment = find(tx, ids["payment_id"])
    tx.lock("contract", payment["contract_id"])
    payment = find(tx, ids["payment_id"])
    if party.kind != "operator" and party.id not in (payment["institution_id"], payment["company_id"]):
        raise not_found("payment")
    if party.id != payment["company_id"]:
        raise not_yours("the prime company pays its subcontractors")
    subcontract = tx.maybe(
        "SELECT s.*, q.name AS subcontractor_name FROM procurement.subcontract s"
        " JOIN procurement.party q ON q.id = s.subcontractor_id WHERE s.id = %s AND s.contract_id = %s",
        (body.subcontract_id, payment["contract_id"]),
    )
    if subcontract is None:
        raise not_found("subcontract of this payment's contract")
    _within_bounds(tx, payment, subcontract, body.amount)
    today = local_date(payment["paid_at"])
    due_on = today + timedelta(days=legal.windows_on(today).subcontract_payment_days)
    row = tx.one(
        "INSERT INTO procurement.subcontract_payment (payment_id, subcontract_id, amount, paid_at, due_on,"
        " late_days, request_key) VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING *",
        (payment["id"], subcontract["id"], body.amount, payment["now"], due_on,
         late_days(due_on, payment["now"]), request_key),
    )  # fmt: skip
    names = {key: subcontract[key] for key in ("subcontractor_id", "subcontractor_name")}
    return subcontract_payment_view(row | names, payment)


def _within_bounds(tx: Transaction, payment: Row, subcontract: Row, amount: int) -> None:
    """Once per pair; never above the subcontract, never above what was received."""
    sums = tx.one(
        """
        SELECT coalesce(sum(amount) FILTER (WHERE subcontract_id = %(s)s), 0)::bigint AS subcontract,
               coalesce(sum(amount) FILTER (WHERE payment_id = %(p)s), 0)::bigint AS payment,
               count(*) FILTER (WHERE subcontract_id = %(s)s AND payment_id = %(p)s) AS pair
          FROM procurement.subcontract_payment WHERE subcontract_id = %(s)s OR payment_id = %(p)s
        """,
        {"s": subcontract["id"], "p": payment["id"]},
    )
    if sums["pair"]:
        raise Refusal(409, "already_paid", "this subcontract was paid from this payment already")
    left = subcontract["amount"] - sums["subcontract"]
    if amount > left:
        raise Refusal(
            422, "over_subcontract", f"{amount} is above what is left of the subcontract", f"at most {left}"
        )
    left = payment["amount"] - sums["payment"]
    if amount > left:
        raise Refusal(
            422, "over_payment", f"{amount} is above what is left of the payment", f"at most {left}"
        )


def subcontract_payment_view(row: Row, payment: Row) -> dict[str, Any]:
    return {
        "id": row["id"], "payment_id": row["payment_id"], "subcontract_id": row["subcontract_id"],
        "subcontractor": {"id": row["subcontractor_id"], "name": row["subcontractor_name"]},
        "amount": row["amount"], "paid_at": iso(row["paid_at"]), "due_on": row["due_on"].isoformat(),
        "late_days": row["late_days"], "rehearsal": payment["rehearsal"],
    }  # fmt: skip
