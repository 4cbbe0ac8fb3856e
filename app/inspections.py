"""Completion notices and inspections: within 14 days of the notice (procurement.md, "Contract")."""

from __future__ import annotations

from datetime import timedelta

from app import contracts, legal
from app.database import Row, Transaction
from app.errors import Refusal
from app.models import Empty, NewInspection
from app.parties import Ids, Party
from app.working_days import iso, late_days, local_date


def _last(tx: Transaction, contract_id: int) -> Row | None:
    return tx.maybe(
        "SELECT n.id, n.inspect_by, i.passed FROM procurement.completion n"
        " LEFT JOIN procurement.inspection i ON i.completion_id = n.id"
        " WHERE n.contract_id = %s ORDER BY n.id DESC LIMIT 1",
        (contract_id,),
    )


def add_completion(tx: Transaction, party: Party, ids: Ids, body: Empty, request_key: str) -> dict:
    """The company says that the work is complete; again only after a failed inspection."""
    contract = contracts.locked(tx, ids["contract_id"])
    contracts.as_company(contract, party)
    contracts.need_confirmed(contract)
    last = _last(tx, contract["id"])
    if last is not None and last["passed"] is not False:
        raise Refusal(409, "already_completed", "the completion was notified already")
    today = local_date(contract["now"])
    inspect_by = today + timedelta(days=legal.windows_on(today).inspection_days)
    row = tx.one(
        "INSERT INTO procurement.completion (contract_id, inspect_by, request_key)"
        " VALUES (%s, %s, %s) RETURNING id, completed_at",
        (contract["id"], inspect_by, request_key),
    )
    return {
        "id": row["id"], "contract_id": contract["id"], "completed_at": iso(row["completed_at"]),
        "inspect_by": inspect_by.isoformat(), "rehearsal": contract["rehearsal"],
    }  # fmt: skip


def add_inspection(tx: Transaction, party: Party, ids: Ids, body: NewInspection, request_key: str) -> dict:
    """The institution inspects the last completion; once for each."""
    contract = contracts.locked(tx, ids["contract_id"])
    contracts.as_institution(contract, party)
    last = _last(tx, contract["id"])
    if last is None:
        raise Refusal(409, "not_completed", "no completion was notified", "the company notifies it first")
    if last["passed"] is not None:
        raise Refusal(409, "already_inspected", "this completion was inspected already")
    row = tx.one(
        "INSERT INTO procurement.inspection (completion_id, contract_id, passed, late_days, request_key)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING id, inspected_at, late_days",
        (
            last["id"],
            contract["id"],
            body.passed,
            late_days(last["inspect_by"], contract["now"]),
            request_key,
        ),
    )
    return {
        "id": row["id"], "contract_id": contract["id"], "completion_id": last["id"], "passed": body.passed,
        "inspected_at": iso(row["inspected_at"]), "late_days": row["late_days"],
        "rehearsal": contract["rehearsal"],
    }  # fmt: skip


def need_passed(tx: Transaction, contract_id: int) -> None:
    """Refuse unless an inspection has been passed."""
    passed = tx.maybe(
        "SELECT id FROM procurement.inspection WHERE contract_id = %s AND passed LIMIT 1", (contract_id,)
    )
    if passed is None:
        raise Refusal(409, "not_inspected", "no inspection has been passed yet", "inspect first")
