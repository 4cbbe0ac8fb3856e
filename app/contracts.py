"""Contracts: the institution sends, the company consents, the institution confirms."""

from __future__ import annotations

from typing import Any

from app import tenders
from app.database import Row, Transaction
from app.errors import Refusal, not_found, not_yours
from app.models import Amount, Empty
from app.parties import Ids, Party
from app.working_days import iso

SELECT = """
    SELECT c.*, t.number AS tender_number, t.title, t.rehearsal, i.name AS institution_name,
           p.name AS company_name, s.consented_at, f.confirmed_at, clock_timestamp() AS now
      FROM procurement.contract c
      JOIN procurement.tender t ON t.id = c.tender_id
      JOIN procurement.party i ON i.id = c.institution_id
      JOIN procurement.party p ON p.id = c.company_id
      LEFT JOIN procurement.contract_consent s ON s.contract_id = c.id
      LEFT JOIN procurement.contract_confirmation f ON f.contract_id = c.id
"""


def send_contract(tx: Transaction, party: Party, ids: Ids, body: Amount, request_key: str) -> dict:
    """The institution sends the contract of an awarded tender; its amount is the award's."""
    tx.lock("tender", ids["tender_id"])
    tender = tenders.owned(tx, ids["tender_id"], party)
    if not tender["awarded"]:
        raise Refusal(409, "not_awarded", "this tender is not awarded yet", "award it first")
    if tender["contract_id"] is not None:
        raise Refusal(
            409, "already_sent", "the contract was sent already", f"contract {tender['contract_id']}"
        )
    award = tx.one("SELECT company_id, amount FROM procurement.award WHERE tender_id = %s", (tender["id"],))
    if body.amount != award["amount"]:
        message = f"the contract's amount {body.amount} is not the award's {award['amount']}"
        raise Refusal(422, "amount_differs", message, "send the award's amount")
    row = tx.one(
        "INSERT INTO procurement.contract (tender_id, institution_id, company_id, amount, request_key)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING id",
        (tender["id"], party.id, award["company_id"], body.amount, request_key),
    )
    return contract_view(tx, find(tx, row["id"]), party)


def consent(tx: Transaction, party: Party, ids: Ids, body: Empty, request_key: str) -> dict:
    """The company consents to the contract."""
    row = locked(tx, ids["contract_id"])
    as_company(row, party)
    if row["consented_at"] is not None:
        raise Refusal(409, "already_consented", "this contract has the company's consent already")
    tx.run(
        "INSERT INTO procurement.contract_consent (contract_id, request_key) VALUES (%s, %s)",
        (row["id"], request_key),
    )
    return contract_view(tx, find(tx, row["id"]), party)


def confirm(tx: Transaction, party: Party, ids: Ids, body: Empty, request_key: str) -> dict:
    """The institution confirms a contract that the company has consented to."""
    row = locked(tx, ids["contract_id"])
    as_institution(row, party)
    if row["consented_at"] is None:
        raise Refusal(409, "no_consent", "the company has not consented yet", "wait for its consent")
    if row["confirmed_at"] is not None:
        raise Refusal(409, "already_confirmed", "this contract is confirmed already")
    tx.run(
        "INSERT INTO procurement.contract_confirmation (contract_id, request_key) VALUES (%s, %s)",
        (row["id"], request_key),
    )
    return contract_view(tx, find(tx, row["id"]), party)


def find(tx: Transaction, contract_id: int) -> Row:
    row = tx.maybe(SELECT + " WHERE c.id = %s", (contract_id,))
    if row is None:
        raise not_found("contract")
    return row


def locked(tx: Transaction, contract_id: int) -> Row:
    """The contract, read under its lock: whatever is decided from it stays true until COMMIT."""
    tx.lock("contract", contract_id)
    return find(tx, contract_id)


def as_company(row: Row, party: Party) -> None:
    """Only the contract's company goes on; the institution is told so, others see nothing."""
    seen_by_side(row, party)
    if row["company_id"] != party.id:
        raise not_yours("this is the company's step")


def as_institution(row: Row, party: Party) -> None:
    seen_by_side(row, party)
    if row["institution_id"] != party.id:
        raise not_yours("this is the institution's step")


def seen_by_side(row: Row, party: Party) -> None:
    """The two sides and the operator know that a contract exists; for others it does not."""
    if party.kind != "operator" and party.id not in (row["institution_id"], row["company_id"]):
        raise not_found("contract")


def need_confirmed(row: Row) -> None:
    if row["confirmed_at"] is None:
        raise Refusal(409, "not_confirmed", "the contract is not confirmed yet", "confirm it first")


def contract_view(tx: Transaction, row: Row, party: Party) -> dict[str, Any]:
    """A contract as its two sides see it. A subcontractor sees its own subcontracts only."""
    mine = "" if party.id in (row["institution_id"], row["company_id"]) or party.kind == "operator" else (
        " AND s.subcontractor_id = %(party)s"
    )  # fmt: skip
    subcontracts = tx.all(
        "SELECT s.*, p.name AS subcontractor_name FROM procurement.subcontract s"
        " JOIN procurement.party p ON p.id = s.subcontractor_id"
        f" WHERE s.contract_id = %(contract)s{mine} ORDER BY s.id",
        {"contract": row["id"], "party": party.id},
    )
    view: dict[str, Any] = {
        "id": row["id"], "tender_id": row["tender_id"], "tender_number": row["tender_number"],
        "title": row["title"], "rehearsal": row["rehearsal"],
        "institution": {"id": row["institution_id"], "name": row["institution_name"]},
        "company": {"id": row["company_id"], "name": row["company_name"]},
        "state": "confirmed" if row["confirmed_at"] else "consented" if row["consented_at"] else "sent",
        "subcontracts": [
            {"id": s["id"], "subcontractor": {"id": s["subcontractor_id"], "name": s["subcontractor_name"]},
             "amount": s["amount"], "agreed_at": iso(s["agreed_at"])}
            for s in subcontracts
        ],
    }  # fmt: skip
    if mine:
        return view
    view["amount"] = row["amount"]
    for name in ("sent_at", "consented_at", "confirmed_at"):
        view[name] = None if row[name] is None else iso(row[name])
    return view | _work(tx, row["id"])


def _work(tx: Transaction, contract_id: int) -> dict[str, Any]:
    completions = tx.all(
        "SELECT n.id, n.completed_at, n.inspect_by, i.id AS inspection_id, i.passed, i.inspected_at,"
        " i.late_days FROM procurement.completion n"
        " LEFT JOIN procurement.inspection i ON i.completion_id = n.id"
        " WHERE n.contract_id = %s ORDER BY n.id",
        (contract_id,),
    )
    claims = tx.all(
        "SELECT c.id, c.amount, c.claimed_at, c.due_on, p.id AS payment_id FROM procurement.claim c"
        " LEFT JOIN procurement.payment p ON p.claim_id = c.id WHERE c.contract_id = %s ORDER BY c.id",
        (contract_id,),
    )
    return {
        "completions": [
            {"id": n["id"], "completed_at": iso(n["completed_at"]), "inspect_by": n["inspect_by"].isoformat(),
             "inspection": None if n["inspection_id"] is None else {
                 "id": n["inspection_id"], "passed": n["passed"], "inspected_at": iso(n["inspected_at"]),
                 "late_days": n["late_days"]}}
            for n in completions
        ],
        "claims": [
            {"id": c["id"], "amount": c["amount"], "claimed_at": iso(c["claimed_at"]),
             "due_on": c["due_on"].isoformat(), "payment_id": c["payment_id"]}
            for c in claims
        ],
    }  # fmt: skip


def show_contract(tx: Transaction, party: Party, ids: Ids) -> dict:
    """For the two sides, the operator, and (its own part) a subcontractor."""
    row = find(tx, ids["contract_id"])
    view = contract_view(tx, row, party)
    if not view["subcontracts"]:
        seen_by_side(row, party)
    return view


def list_contracts(tx: Transaction, party: Party, ids: Ids) -> dict:
    """The party's own contracts, as institution, company or subcontractor; newest first."""
    rows = tx.all(
        SELECT + " WHERE %(party)s IN (c.institution_id, c.company_id) OR %(operator)s OR EXISTS (SELECT FROM"
        " procurement.subcontract s WHERE s.contract_id = c.id AND s.subcontractor_id = %(party)s)"
        " ORDER BY c.id DESC LIMIT 200",
        {"party": party.id, "operator": party.kind == "operator"},
    )
    return {"contracts": [contract_view(tx, row, party) for row in rows]}
