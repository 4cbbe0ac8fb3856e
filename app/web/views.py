"""The pages and their forms. Reading and writing is app/operations.py; this only shows it."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, url_for

from app import operations
from app.errors import AppError, OutcomeUnknown, ReadUnconfirmed, Refusal
from app.errors import NotWritten as NotWrittenError
from app.web import session
from app.web.forms import body_of
from app.web.words import ERRORS_KO, word

blueprint = Blueprint("web", __name__)
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def won(amount: int | None) -> str:
    return word("none", session.language()) if amount is None else f"{amount:,}"


def when(text: str | None) -> str:
    """A time for people; the offset is always Korea's, and said."""
    if text is None:
        return "-"
    return datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S") + " KST"


@blueprint.app_context_processor
def helpers() -> dict[str, Any]:
    language = session.language()
    return {
        "lang": language,
        "other": "en" if language == "ko" else "ko",
        "t": lambda key: word(key, language),
        "won": won,
        "when": when,
        "party": session.current(),
        "csrf": session.csrf_token,
        "new_key": lambda: f"web-{secrets.token_urlsafe(24)}",
        "here": request.path if request.method == "GET" else "/",
    }


def page(template: str, status: int = 200, **values: Any) -> Response:
    response = make_response(render_template(template, **values), status)
    response.headers.update(HEADERS)
    return response


def get(name: str, **ids: int) -> dict[str, Any]:
    """One read of the application for the party of the session."""
    database = current_app.extensions["database"]
    return operations.read(database, session.needed(), operations.READS[name], ids)


def get_or_none(name: str, **ids: int) -> dict[str, Any] | None:
    """The same; None when the application says that it is not there yet, or not for this party."""
    try:
        return get(name, **ids)
    except Refusal as error:
        if error.code in ("not_opened", "not_awarded", "not_yours"):
            return None
        raise


@blueprint.get("/login")
def login() -> Response:
    return page("login.html")


@blueprint.post("/login")
def login_post() -> Response:
    session.check_csrf()
    party = current_app.extensions["parties"].of_key(request.form.get("key", "").strip())
    session.begin(party)
    return _see(url_for("web.tenders"))


@blueprint.post("/logout")
def logout() -> Response:
    session.check_csrf()
    session.end()
    return _see(url_for("web.login"))


@blueprint.get("/")
def tenders() -> Response:
    return page("tenders.html", tenders=get("list_tenders")["tenders"])


@blueprint.get("/tenders/new")
def new_tender() -> Response:
    session.needed()
    return page("new_tender.html")


@blueprint.get("/tenders/<int:tender_id>")
def tender(tender_id: int) -> Response:
    shown = get("show_tender", tender_id=tender_id)
    return page("tender.html", tender=shown, bids=get_or_none("list_bids", tender_id=tender_id))


@blueprint.get("/tenders/<int:tender_id>/receipt")
def receipt(tender_id: int) -> Response:
    shown = get("show_tender", tender_id=tender_id)
    mine = get("list_bids", tender_id=tender_id)["bids"]
    if not mine:
        raise Refusal(404, "not_found", "there is no receipt of yours here")
    return page("receipt.html", tender=shown, receipt=mine[0])


@blueprint.get("/tenders/<int:tender_id>/opening")
def opening(tender_id: int) -> Response:
    result = get("show_opening", tender_id=tender_id)
    award = get_or_none("show_award", tender_id=tender_id)
    return page("opening.html", tender=result["tender"], result=result, award=award)


@blueprint.get("/contracts")
def contracts() -> Response:
    return page("contracts.html", contracts=get("list_contracts")["contracts"])


@blueprint.get("/contracts/<int:contract_id>")
def contract(contract_id: int) -> Response:
    shown = get("show_contract", contract_id=contract_id)
    return page("contract.html", tender=shown, contract=shown)


@blueprint.get("/claims/<int:claim_id>")
def claim(claim_id: int) -> Response:
    shown = get("show_claim", claim_id=claim_id)
    return page("claim.html", tender=shown, claim=shown)


@blueprint.get("/payments/<int:payment_id>")
def payment(payment_id: int) -> Response:
    shown = get("show_payment", payment_id=payment_id)
    contract_shown = get("show_contract", contract_id=shown["contract_id"])
    return page("payment.html", tender=shown, payment=shown, contract=contract_shown)


def _next_page(operation: operations.Write, ids: dict[str, Any], answer: dict[str, Any]) -> str:
    """Where a form leads once it is done."""
    if operation.name == "add_bid":
        return url_for("web.receipt", **ids)
    if operation.name in ("open_tender", "award_tender"):
        return url_for("web.opening", **ids)
    if operation.name == "add_tender":
        return url_for("web.tender", tender_id=answer["id"])
    if operation.name == "pay_claim" or "payment_id" in ids:
        return url_for("web.payment", payment_id=answer["payment_id"])
    return url_for("web.contract", contract_id=ids.get("contract_id", answer.get("id", 0)))


def _form_view(operation: operations.Write):
    """The form of one POST of the API: the same operation, the same path, the form's own key."""

    def view(**ids: int) -> Response:
        party = session.needed()
        session.check_csrf()
        body = body_of(operation.model, request.form)
        database = current_app.extensions["database"]
        try:
            answer = operations.write(database, party, operation, ids, body, request.form.get("request_key"))
        except (OutcomeUnknown, NotWrittenError, ReadUnconfirmed) as error:
            fields = [(name, text) for name in request.form for text in request.form.getlist(name)]
            return page("unknown.html", 503, error=error, fields=fields)
        return _see(_next_page(operation, ids, answer.body))

    return view


PAGE_WRITES = [row for row in operations.WRITES.values() if row.roles != (operations.OPERATOR,)]
for _write in PAGE_WRITES:
    _rule = "/act" + _write.path.replace("{", "<int:").replace("}", ">")
    blueprint.add_url_rule(_rule, f"act_{_write.name}", _form_view(_write), methods=["POST"])


def _see(target: str) -> Response:
    response = make_response(redirect(target, 303))
    response.headers.update(HEADERS)
    return response


def on_error(error: AppError) -> Response:
    """An error as a page."""
    if error.status == 503:
        response = page("away.html", 503, error=error)
        response.headers["Retry-After"] = "1"
        return response
    message = ERRORS_KO.get(error.code, str(error)) if session.language() == "ko" else str(error)
    return page("refused.html", error.status, error=error, message=message)


@blueprint.app_errorhandler(session.LoginNeeded)
def on_login_needed(error: session.LoginNeeded) -> Response:
    return page("login.html", 401, ended=True)
