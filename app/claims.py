"""Claims of the company: due within 5 working days (procurement.md, "Contract, inspection, payment")."""

from __future__ import annotations

from typing import Any

from app import contracts, inspections, legal
from app.database import Row, Transaction
from app.errors import Refusal, not_found
from app.models import Amount
from app.parties import Ids, Party
from app.working_days import UnknownYear, add_working_days, iso, local_date


def add_claim(tx: Transaction, party: Party, ids: Ids, body: Amount, request_key: str) -> dict:
    """Claim payment after a passed inspection; all claims together never exceed the contract."""
    contract = contracts.locked(tx, ids["contract_id"])
    contracts.as_company(contract, party)
    inspections.need_passed(tx, contract["id"])
    used = tx.one(
        "SELECT coalesce(sum(amount), 0)::bigint AS won FROM procurement.claim WHERE contract_id = %s",
        (contract["id"],),
    )["won"]
    if used + body.amount > contract["amount"]:
        message = f"claims would be {used + body.amount} of a contract of {contract['amount']}"
        raise Refusal(422, "over_contract", message, f"at most {contract['amount'] - used} is left")
    today = local_date(contract["now"])
    try:
        due_on = add_working_days(today, legal.windows_on(today).payment_working_days)
    except UnknownYear as error:
        raise Refusal(422, "unknown_year", str(error), "add the year's holidays first") from error
    row = tx.one(
        "INSERT INTO procurement.claim (contract_id, amount, claimed_at, due_on, request_key)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING id",
        (contract["id"], body.amount, contract["now"], due_on, request_key),
    )
    return claim_view(find(tx, row["id"]))


def find(tx: Transaction, claim_id: int) -> Row:
    """The claim with its contract's sides and its payment, if there is one."""
    row = tx.maybe(
        "SELECT m.*, c.institution_id, c.company_id, t.rehearsal, p.id AS payment_id,"
        " clock_timestamp() AS now FROM procurement.claim m"
        " JOIN procurement.contract c ON c.id = m.contract_id JOIN procurement.tender t ON t.id = c.tender_id"
        " LEFT JOIN procurement.payment p ON p.claim_id = m.id WHERE m.id = %s",
        (claim_id,),
    )
    if row is None:
        raise not_found("claim")
    return row


def claim_view(row: Row) -> dict[str, Any]:
    return {
        "id": row["id"], "contract_id": row["contract_id"], "amount": row["amount"],
        "claimed_at": iso(row["claimed_at"]), "due_on": row["due_on"].isoformat(),
        "payment_id": row["payment_id"], "rehearsal": row["rehearsal"],
    }  # fmt: skip


def show_claim(tx: Transaction, party: Party, ids: Ids) -> dict:
    """For the contract's two sides and the operator."""
    row = find(tx, ids["claim_id"])
    if party.kind != "operator" and party.id not in (row["institution_id"], row["company_id"]):
        raise not_found("claim")
    return claim_view(row)
