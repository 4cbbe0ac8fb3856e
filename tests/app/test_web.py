"""The pages: they work without JavaScript, in two languages, and do what the API does."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest

pytestmark = pytest.mark.postgres
VOID = {"meta", "link", "input", "img", "br", "hr"}


class Page(HTMLParser):
    """Checks that tags are balanced and fields are labelled; collects forms' hidden fields."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.labels: set[str] = set()
        self.fields: list[dict] = []
        self.lang = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs) -> None:
        values = dict(attrs)
        if tag == "html":
            self.lang = values["lang"]
        if tag == "label":
            self.labels.add(values["for"])
        if tag in ("input", "select") and values.get("type") != "hidden":
            self.fields.append(values)
        if tag not in VOID and not self.get_starttag_text().endswith("/>"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    @property
    def unlabelled(self) -> list[dict]:
        return [field for field in self.fields if field.get("id") not in self.labels]


def token(text: str) -> str:
    return re.search(r'name="csrf" value="([^"]+)"', text)[1]


def logged_in(app, key: str):
    client = app.test_client()
    answer = client.post("/login", data={"csrf": token(client.get("/login").text), "key": key})
    assert (answer.status_code, answer.location) == (303, "/")
    return client


def fill(client, page: str, action: str, **fields):
    """Send the form of a page that leads to ``action``."""
    text = client.get(page).text
    form = re.search(rf'<form method="post" action="/act{action}">(.*?)</form>', text, re.S)[1]
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', form))
    return client.post(f"/act{action}", data=hidden | fields)


@pytest.fixture
def case(new_institution, new_company):
    institution, company, rival = new_institution(), new_company(), new_company()
    tender = institution.made("/tenders", {
        "number": "P-1", "title": "송수관로 <b>정비</b>", "base_amount": 10**9, "range_percent": 3,
        "rate_percent": "88", "band": "10-50", "rehearsal": True, "bidding_seconds": 5,
        "opening_delay_seconds": 0,
    })  # fmt: skip
    return institution, company, rival, tender


def test_the_whole_way_by_forms(app, case, server):
    institution, company, rival, made = case
    tender = made["id"]
    ours, theirs = logged_in(app, institution.key), logged_in(app, company.key)
    bids = f"/tenders/{tender}/bids"
    answer = fill(theirs, f"/tenders/{tender}", bids, amount="930,000,000", picks=["1", "2"])
    assert answer.location == f"/tenders/{tender}/receipt"
    assert "930000000" not in theirs.get(answer.location).text.replace(",", "")
    rival.made(bids, {"amount": 940_000_000, "picks": [3, 4]})
    institution.wait_past(made)
    opening = f"/tenders/{tender}/opening"
    assert fill(ours, f"/tenders/{tender}", opening).location == opening
    fill(ours, opening, f"/tenders/{tender}/award")
    contract = fill(ours, opening, f"/tenders/{tender}/contract").location
    fill(theirs, contract, f"{contract}/consent")
    fill(ours, contract, f"{contract}/confirmation")
    fill(theirs, contract, f"{contract}/subcontracts", subcontractor_id=str(rival.id), amount="1,000")
    fill(theirs, contract, f"{contract}/completion")
    fill(ours, contract, f"{contract}/inspection", passed="true")
    fill(theirs, contract, f"{contract}/claims", amount="930,000,000")
    claim = re.search(r"/claims/\d+", theirs.get(contract).text)[0]
    payment = fill(ours, claim, f"{claim}/payment").location
    subcontract = re.search(r'<option value="(\d+)"', theirs.get(payment).text)[1]
    paid = fill(theirs, payment, f"{payment}/subcontract-payments", subcontract_id=subcontract, amount="1000")
    assert paid.status_code == 303
    pages = [
        "/",
        "/contracts",
        f"/tenders/{tender}",
        f"/tenders/{tender}/receipt",
        opening,
        contract,
        claim,
        payment,
    ]
    for path in pages:
        for language in ("ko", "en"):
            answer = theirs.get(f"{path}?lang={language}")
            assert answer.status_code == 200
            page = Page(answer.text)
            assert page.lang == language
            assert page.unlabelled == []
            assert "REHEARSAL" in answer.text
            assert "<b>정비</b>" not in answer.text
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
            assert "<script" not in answer.text
            assert "style=" not in answer.text
    assert Page(ours.get("/tenders/new").text).unlabelled == []


def test_a_form_sent_twice_is_one_request(app, case):
    institution, company, _, made = case
    tender = made["id"]
    client = logged_in(app, company.key)
    csrf = token(client.get(f"/tenders/{tender}").text)
    data = {"csrf": csrf, "request_key": "twice", "amount": "930000000", "picks": ["1", "2"]}
    answers = [client.post(f"/act/tenders/{tender}/bids", data=data) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert institution.get(f"/tenders/{tender}/bids").json["bids_count"] == 1


def test_a_refusal_is_a_page_in_korean(app, case):
    _, company, _, made = case
    tender = made["id"]
    client = logged_in(app, company.key)
    answer = fill(client, f"/tenders/{tender}", f"/tenders/{tender}/bids", amount="x", picks=["1", "1"])
    assert answer.status_code == 422
    assert "입력값을 확인해" in answer.text
    assert client.get("/contracts/999999").status_code == 404
    assert client.get("/nothing").status_code == 404


def test_no_session_leads_to_the_login(app, case):
    client = app.test_client()
    for path in ("/", f"/tenders/{case[3]['id']}", "/contracts"):
        answer = client.get(path)
        assert answer.status_code == 401
        assert 'name="key"' in answer.text


def test_a_form_without_its_token_is_refused(app, case):
    _, company, _, made = case
    tender = made["id"]
    client = logged_in(app, company.key)
    for csrf in ("", "wrong"):
        data = {"csrf": csrf, "request_key": "k", "amount": "1", "picks": ["1", "2"]}
        assert client.post(f"/act/tenders/{tender}/bids", data=data).status_code == 403
    assert app.test_client().post("/login", data={"key": company.key}).status_code == 403


def test_a_login_renews_the_session(app, case):
    client = app.test_client()
    before = token(client.get("/login").text)
    client.post("/login", data={"csrf": before, "key": case[1].key})
    with client.session_transaction() as session:
        assert session["csrf"] != before
        assert session["sid"]
        assert case[1].key not in str(dict(session))


def test_an_idle_session_ends(app, case):
    client = logged_in(app, case[1].key)
    with client.session_transaction() as session:
        session["seen"] -= 1801
    assert client.get("/").status_code == 401


def test_a_wrong_key_does_not_log_in(app):
    client = app.test_client()
    answer = client.post("/login", data={"csrf": token(client.get("/login").text), "key": "wrong"})
    assert answer.status_code == 401
    assert "등록되지 않은 키" in answer.text


def test_an_unknown_outcome_keeps_the_request_for_a_retry(app, case, server):
    _, company, _, made = case
    tender = made["id"]
    client = logged_in(app, company.key)
    page = client.get(f"/tenders/{tender}").text
    data = {"csrf": token(page), "request_key": "unknown-form", "amount": "930000000", "picks": ["1", "2"]}
    server.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    server.sql("SELECT pg_reload_conf()")
    time.sleep(0.3)
    try:
        answer = client.post(f"/act/tenders/{tender}/bids", data=data)
    finally:
        server.sql("ALTER SYSTEM RESET synchronous_standby_names")
        server.sql("SELECT pg_reload_conf()")
        time.sleep(0.5)
    assert answer.status_code == 503
    assert "outcome_unknown" in answer.text
    assert 'name="request_key" value="unknown-form"' in answer.text
    assert client.post(f"/act/tenders/{tender}/bids", data=data).status_code == 303
