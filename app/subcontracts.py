"""Subcontracts of a confirmed contract, agreed by the prime company."""

from __future__ import annotations

from app import contracts
from app.database import Transaction
from app.errors import Refusal
from app.models import NewSubcontract
from app.parties import Ids, Party
from app.working_days import iso


def add_subcontract(tx: Transaction, party: Party, ids: Ids, body: NewSubcontract, request_key: str) -> dict:
    """Record a subcontract; all subcontracts together never exceed the contract."""
    contract = contracts.locked(tx, ids["contract_id"])
    contracts.as_company(contract, party)
    contracts.need_confirmed(contract)
    other = tx.maybe(
        "SELECT id, name FROM procurement.party WHERE id = %s AND kind = 'company'", (body.subcontractor_id,)
    )
    if other is None or other["id"] == party.id:
        raise Refusal(422, "no_such_company", "the subcontractor must be another company", "check its id")
    used = tx.one(
        "SELECT coalesce(sum(amount), 0)::bigint AS won FROM procurement.subcontract WHERE contract_id = %s",
        (contract["id"],),
    )["won"]
    if used + body.amount > contract["amount"]:
        message = f"subcontracts would be {used + body.amount} of a contract of {contract['amount']}"
        raise Refusal(422, "over_contract", message, f"at most {contract['amount'] - used} is left")
    row = tx.one(
        "INSERT INTO procurement.subcontract (contract_id, subcontractor_id, amount, request_key)"
        " VALUES (%s, %s, %s, %s) RETURNING id, agreed_at",
        (contract["id"], other["id"], body.amount, request_key),
    )
    return {
        "id": row["id"], "contract_id": contract["id"],
        "subcontractor": {"id": other["id"], "name": other["name"]}, "amount": body.amount,
        "agreed_at": iso(row["agreed_at"]), "rehearsal": contract["rehearsal"],
    }  # fmt: skip
