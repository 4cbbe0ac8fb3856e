"""Everything that can be asked of the application, as data.

The JSON API, the OpenAPI description and the pages' forms all come from ``WRITES`` and ``READS``; both
ways in call ``write`` and ``read`` here, so there is one logic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from app import (
    awards,
    bids,
    canary,
    claims,
    contracts,
    idempotency,
    inspections,
    models,
    openings,
    parties,
    payments,
    subcontracts,
    tenders,
)
from app.database import Database, Transaction
from app.errors import Refusal, not_yours
from app.parties import Party

PREFIX = "/api/v1"
OPERATOR, INSTITUTION, COMPANY = "operator", "institution", "company"
EVERYONE = (OPERATOR, INSTITUTION, COMPANY)


@dataclass(frozen=True, slots=True)
class Write:
    """One POST: its path, who may send it, its body and the function that does it in a transaction."""

    name: str
    path: str
    roles: tuple[str, ...]
    model: type[models.Body]
    work: Callable[..., dict[str, Any]]
    summary: str
    status: int = 201


@dataclass(frozen=True, slots=True)
class Read:
    """One GET."""

    name: str
    path: str
    roles: tuple[str, ...]
    work: Callable[[Transaction, Party, Mapping[str, int]], dict[str, Any]]
    summary: str


WRITES = {
    row.name: row
    for row in (
        Write("add_institution", "/institutions", (OPERATOR,), models.NewInstitution, parties.add_institution,
              "register an institution"),
        Write("add_company", "/companies", (OPERATOR,), models.NewCompany, parties.add_company,
              "register a company"),
        Write("add_tender", "/tenders", (INSTITUTION,), models.NewTender, tenders.add_tender,
              "put up a notice (입찰공고)"),
        Write("add_bid", "/tenders/{tender_id}/bids", (COMPANY,), models.NewBid, bids.add_bid,
              "hand in a sealed bid (투찰)"),
        Write("open_tender", "/tenders/{tender_id}/opening", (INSTITUTION, OPERATOR), models.Empty,
              openings.open_tender, "open the bids (개찰)"),
        Write("award_tender", "/tenders/{tender_id}/award", (INSTITUTION,), models.Empty,
              awards.award_tender, "award to the first-ranked (낙찰)"),
        Write("send_contract", "/tenders/{tender_id}/contract", (INSTITUTION,), models.Amount,
              contracts.send_contract, "send the contract (계약)"),
        Write("consent", "/contracts/{contract_id}/consent", (COMPANY,), models.Empty, contracts.consent,
              "consent to the contract"),
        Write("confirm", "/contracts/{contract_id}/confirmation", (INSTITUTION,), models.Empty,
              contracts.confirm, "confirm the contract"),
        Write("add_subcontract", "/contracts/{contract_id}/subcontracts", (COMPANY,), models.NewSubcontract,
              subcontracts.add_subcontract, "record a subcontract (하도급)"),
        Write("add_completion", "/contracts/{contract_id}/completion", (COMPANY,), models.Empty,
              inspections.add_completion, "notify completion"),
        Write("add_inspection", "/contracts/{contract_id}/inspection", (INSTITUTION,), models.NewInspection,
              inspections.add_inspection, "inspect (검사)"),
        Write("add_claim", "/contracts/{contract_id}/claims", (COMPANY,), models.Amount, claims.add_claim,
              "claim payment (대금 청구)"),
        Write("pay_claim", "/claims/{claim_id}/payment", (INSTITUTION,), models.Empty, payments.pay_claim,
              "pay a claim (대금 지급)"),
        Write("pay_subcontractor", "/payments/{payment_id}/subcontract-payments", (COMPANY,),
              models.NewSubcontractPayment, payments.pay_subcontractor, "pay a subcontractor (하도급대금)"),
        Write("add_canary", "/canary", (OPERATOR,), models.NewCanary, canary.add_canary,
              "write one canary record"),
    )
}  # fmt: skip

READS = {
    row.name: row
    for row in (
        Read("me", "/me", EVERYONE, parties.me, "who this key belongs to"),
        Read("list_tenders", "/tenders", EVERYONE, tenders.list_tenders, "the newest notices"),
        Read("show_tender", "/tenders/{tender_id}", EVERYONE, tenders.show_tender, "one notice"),
        Read("list_bids", "/tenders/{tender_id}/bids", EVERYONE, bids.list_bids, "receipts, later bids"),
        Read("show_opening", "/tenders/{tender_id}/opening", EVERYONE, openings.show_opening,
             "the result of the opening"),
        Read("show_award", "/tenders/{tender_id}/award", EVERYONE, awards.show_award, "the award"),
        Read("list_contracts", "/contracts", EVERYONE, contracts.list_contracts, "one's own contracts"),
        Read("show_contract", "/contracts/{contract_id}", EVERYONE, contracts.show_contract, "one contract"),
        Read("show_claim", "/claims/{claim_id}", EVERYONE, claims.show_claim, "one claim"),
        Read("show_payment", "/payments/{payment_id}", EVERYONE, payments.show_payment, "one payment"),
    )
}  # fmt: skip


def write(
    database: Database, party: Party, operation: Write, ids: Mapping[str, int], body: Any, key: str | None
) -> idempotency.Answer:
    """Do one POST for a party: a stored answer wins, otherwise validate, do it and store the answer."""
    if party.kind not in operation.roles:
        raise not_yours(f"this is for: {', '.join(operation.roles)}")
    path = PREFIX + operation.path.format(**ids)
    request = idempotency.Request(party.id, idempotency.checked_key(key), "POST", path, body)

    def work(tx: Transaction) -> idempotency.Answer:
        stored = idempotency.stored_answer(tx, request)
        if stored is not None:
            return stored
        answer = operation.work(tx, party, ids, validated(operation.model, body), request.key)
        return idempotency.store(tx, request, operation.status, answer)

    return database.write(work, barrier=lambda answer: answer.replayed)


def read(database: Database, party: Party, operation: Read, ids: Mapping[str, int]) -> dict[str, Any]:
    """Do one GET for a party; it is answered only when what it shows is replicated."""
    if party.kind not in operation.roles:
        raise not_yours(f"this is for: {', '.join(operation.roles)}")
    return database.read(lambda tx: operation.work(tx, party, ids))


def validated(model: type[models.Body], body: Any) -> models.Body:
    """The body as its model; Refusal 422 that names each wrong field."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'body'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        message = "; ".join(faults)
        raise Refusal(422, "invalid_body", message, "see /api/v1/openapi.json") from error
