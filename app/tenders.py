"""Notices: making a tender, showing it. Its state is derived from facts, never stored."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any

from app import legal
from app.database import Row, Transaction
from app.errors import Refusal, not_found
from app.models import NewTender
from app.parties import Ids, Party
from app.preliminary import draw_prices
from app.working_days import UnknownYear, iso, local_date

RANDOM = secrets.SystemRandom()
LIST_LIMIT = 200

SELECT = """
    SELECT t.*, i.name AS institution_name, clock_timestamp() AS now,
           o.outcome, (a.tender_id IS NOT NULL) AS awarded, c.id AS contract_id
      FROM procurement.tender t
      JOIN procurement.party i ON i.id = t.institution_id
      LEFT JOIN procurement.opening o ON o.tender_id = t.id
      LEFT JOIN procurement.award a ON a.tender_id = t.id
      LEFT JOIN procurement.contract c ON c.tender_id = t.id
"""


def add_tender(tx: Transaction, party: Party, ids: Ids, body: NewTender, request_key: str) -> dict:
    """Put up a notice. Preliminary prices are drawn now and stay hidden until the opening."""
    now = tx.one("SELECT clock_timestamp() AS now")["now"]
    deadline, opening_at = _windows(body, now)
    tender = tx.one(
        """
        INSERT INTO procurement.tender (institution_id, number, title, kind, base_amount, range_percent,
            rate_percent, band, a_value, net_cost, rehearsal, noticed_at, deadline, opening_at, chain_start,
            request_key)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id
        """,
        (party.id, body.number, body.title, body.kind, body.base_amount, body.range_percent,
         body.rate_percent, body.band, body.a_value, body.net_cost, body.rehearsal, now, deadline,
         opening_at, secrets.token_hex(32), request_key),
    )  # fmt: skip
    prices = body.preliminary_prices or draw_prices(body.base_amount, body.range_percent, RANDOM)
    tx.run(
        "INSERT INTO procurement.preliminary_price (tender_id, number, price, request_key)"
        " SELECT %s, number, price, %s FROM unnest(%s::bigint[]) WITH ORDINALITY AS drawn (price, number)",
        (tender["id"], request_key, prices),
    )
    return tender_view(find(tx, tender["id"]), party)


def _windows(body: NewTender, now: datetime) -> tuple[datetime, datetime]:
    if body.rehearsal:
        assert body.bidding_seconds is not None
        assert body.opening_delay_seconds is not None
        deadline = now + timedelta(seconds=body.bidding_seconds)
        return deadline, deadline + timedelta(seconds=body.opening_delay_seconds)
    assert body.deadline is not None
    assert body.opening_at is not None
    try:
        faults = legal.window_faults(
            noticed_at=now, deadline=body.deadline, opening_at=body.opening_at, kind=body.kind,
            base=body.base_amount, urgent=body.urgent,
        )  # fmt: skip
    except UnknownYear as error:
        raise Refusal(422, "unknown_year", str(error), "choose a deadline in a known year") from error
    if faults:
        raise Refusal(422, "window_not_legal", "; ".join(faults), "see app/data/legal-windows.json")
    if body.rate_percent not in legal.rates_on(local_date(now), body.kind):
        message = f"{body.rate_percent} % is no rate in force for {body.kind}"
        raise Refusal(422, "rate_not_in_force", message, "see app/data/rates.json")
    return body.deadline, body.opening_at


def find(tx: Transaction, tender_id: int) -> Row:
    """The tender with what was recorded about it; Refusal 404 when there is none. Notices are public."""
    row = tx.maybe(SELECT + " WHERE t.id = %s", (tender_id,))
    if row is None:
        raise not_found("tender")
    return row


def owned(tx: Transaction, tender_id: int, party: Party) -> Row:
    """The tender, for its own institution only."""
    row = find(tx, tender_id)
    if row["institution_id"] != party.id:
        raise Refusal(403, "not_yours", "this tender belongs to another institution", "use its own key")
    return row


def state(row: Row) -> str:
    """bidding, closed, opened, failed, awarded or contracted: derived from facts and the database's clock."""
    if row["contract_id"] is not None:
        return "contracted"
    if row["awarded"]:
        return "awarded"
    if row["outcome"] is not None:
        return "failed" if row["outcome"] == "failed" else "opened"
    return "bidding" if row["now"] < row["deadline"] else "closed"


def tender_view(row: Row, party: Party) -> dict[str, Any]:
    """A tender as it is shown; never its preliminary prices."""
    view = {
        "id": row["id"], "number": row["number"], "title": row["title"], "kind": row["kind"],
        "institution": {"id": row["institution_id"], "name": row["institution_name"]},
        "base_amount": row["base_amount"], "range_percent": plain(row["range_percent"]),
        "rate_percent": plain(row["rate_percent"]), "band": row["band"], "a_value": row["a_value"],
        "net_cost": row["net_cost"], "rehearsal": row["rehearsal"], "noticed_at": iso(row["noticed_at"]),
        "deadline": iso(row["deadline"]), "opening_at": iso(row["opening_at"]), "as_of": iso(row["now"]),
        "state": state(row),
    }  # fmt: skip
    if row["contract_id"] is not None and row["institution_id"] == party.id:
        view["contract_id"] = row["contract_id"]
    return view


def plain(value: object) -> str:
    """A Decimal as text, without trailing zeros and without an exponent."""
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def show_tender(tx: Transaction, party: Party, ids: Ids) -> dict:
    return tender_view(find(tx, ids["tender_id"]), party)


def list_tenders(tx: Transaction, party: Party, ids: Ids) -> dict:
    """The newest notices first; notices are public to every party."""
    rows = tx.all(SELECT + " ORDER BY t.id DESC LIMIT %s", (LIST_LIMIT,))
    return {"tenders": [tender_view(row, party) for row in rows]}
