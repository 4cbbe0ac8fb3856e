"""The auditor, with one planted bug of each kind: a check that never failed proves nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from lab.drill.audit import Audit, audit
from lab.drill.audit_recomputation import opened, recomputed
from lab.drill.case import Case, CheckVerdict, HostSnapshot
from lab.drill.operations import Outcome, operations

from .sample import BACK_AT, HOSTS, RUN, ZERO, SampleRun, iso, sample_case, sample_run


@pytest.fixture
def whole() -> tuple[SampleRun, int]:
    return sample_run()


def judged(whole: tuple[SampleRun, int], spoil: Callable[[dict], None], hosts: tuple[str, ...] = ()) -> Audit:
    """The audit after the tables of some hosts (all, if none is named) were spoiled."""
    case = sample_case(*whole)
    made = []
    for snapshot in case.snapshots:
        tables = {name: [dict(row) for row in rows] for name, rows in snapshot.tables.items()}
        if not hosts or snapshot.host in hosts:
            spoil(tables)
        made.append(HostSnapshot(snapshot.host, {name: tuple(rows) for name, rows in tables.items()}))
    return audit(Case(case.operations, tuple(made), case.expect))


def kinds(result: Audit, check: str) -> set[str]:
    return {finding.kind for finding in result.check(check).findings}


def without(tables: dict, key: str) -> None:
    for name, rows in tables.items():
        tables[name] = [row for row in rows if row["request_key"] != key]


def again(tables: dict, table: str, **changes: object) -> None:
    tables[table].append({**tables[table][0], **changes})


def test_a_whole_run_passes_every_check(whole):
    result = audit(sample_case(*whole))
    assert [check.name for check in result.checks if check.verdict is not CheckVerdict.PASSED] == []
    assert result.verdict is CheckVerdict.PASSED
    assert (result.lost, result.phantom, result.duplicated) == (0, 0, 0)
    assert result.unknown == result.unknown_written + result.unknown_not_written > 0
    assert result.unknown_written > 0


def test_a_lost_write(whole):
    result = judged(whole, lambda tables: without(tables, f"{RUN}:canary-daejeon:3"))
    assert kinds(result, "acknowledged_everywhere") == {"lost", "missing_on_host"}
    assert (result.lost, result.verdict) == (1, CheckVerdict.FAILED)


def test_a_write_whose_fact_is_lost_and_whose_answer_is_kept(whole):
    def spoil(tables):
        tables["bid"].pop()

    assert judged(whole, spoil).lost == 1


def test_a_write_missing_on_one_standby_is_not_lost_but_fails(whole):
    result = judged(whole, lambda tables: without(tables, f"{RUN}:canary-daejeon:3"), ("gg-db1",))
    assert kinds(result, "acknowledged_everywhere") == {"missing_on_host"}
    assert kinds(result, "hosts_agree") == {"hosts_differ"}
    assert (result.lost, result.verdict) == (0, CheckVerdict.FAILED)


def test_a_phantom(whole):
    result = judged(
        whole, lambda tables: again(tables, "canary", sequence=99_999, request_key=f"{RUN}:nobody:1")
    )
    assert kinds(result, "no_phantom") == {"phantom"}
    assert result.phantom == 1


def test_a_refused_operation_that_was_written(whole):
    run, tender = whole
    key = next(a.key for a in run.attempts if a.outcome is Outcome.REFUSED)
    result = judged((run, tender), lambda tables: again(tables, "canary", sequence=99_999, request_key=key))
    assert kinds(result, "no_phantom") == {"refused_but_written"}


def test_one_sequence_twice(whole):
    result = judged(whole, lambda tables: again(tables, "canary"))
    assert kinds(result, "no_duplicate") == {"duplicate"}
    assert result.duplicated >= 1


def test_a_retried_key_with_two_effects(whole):
    result = judged(whole, lambda tables: again(tables, "claim", id=10**6))
    assert kinds(result, "no_duplicate") == {"duplicate"}


def test_a_retried_key_with_two_answers(whole):
    run, tender = whole
    first = run.attempts[0]
    run.attempts.append(dataclasses.replace(first, sent_at=first.sent_at + 1, response={"other": 1}))
    assert "answer_changed" in kinds(audit(sample_case(run, tender)), "same_answer")


def test_a_host_that_keeps_another_answer(whole):
    def spoil(tables):
        tables["idempotency"][0] = {**tables["idempotency"][0], "response": {"sequence": -1}}

    assert kinds(judged(whole, spoil, ("gg-db1",)), "same_answer") == {"answer_differs"}


def retried(run: SampleRun, *, unknown_s: float, refused_s: float, status: int = 409) -> None:
    """A bid that is written at 0 s: an attempt without an answer at one time, one answered 4xx at another."""
    place, done = next((n, a) for n, a in enumerate(run.attempts) if a.key == f"{RUN}:bidders:3")
    body = {"error": {"code": "already_bid"}}
    unanswered = dataclasses.replace(done, outcome=Outcome.UNKNOWN, status=None, response=None)
    refused = dataclasses.replace(done, outcome=Outcome.REFUSED, status=status, response=body)
    run.attempts[place] = dataclasses.replace(unanswered, sent_at=done.sent_at + unknown_s)
    run.attempts.append(dataclasses.replace(refused, sent_at=done.sent_at + refused_s))


def test_a_replay_that_is_refused_instead_of_answered(whole):
    run, tender = whole
    retried(run, unknown_s=0.0, refused_s=2.0)
    result = audit(sample_case(run, tender))
    assert kinds(result, "same_answer") == {"replay_refused"}
    assert [check.name for check in result.checks if check.verdict is CheckVerdict.FAILED] == ["same_answer"]
    assert (result.retried_unknown, result.duplicated) == (1, 0)


@pytest.mark.parametrize(
    "attempts",
    [
        {"unknown_s": 0.0, "refused_s": -2.0},
        {"unknown_s": -4.0, "refused_s": -2.0},
        {"unknown_s": 0.0, "refused_s": 2.0, "status": 429},
    ],
    ids=["refused before", "overtaken", "too many requests"],
)
def test_a_refusal_that_was_owed_no_stored_answer_is_legitimate(whole, attempts):
    """`overtaken`: sent first, carried out after the second was refused."""
    run, tender = whole
    retried(run, **attempts)
    assert audit(sample_case(run, tender)).check("same_answer").verdict is CheckVerdict.PASSED


def test_a_refusal_before_any_attempt_that_could_write_is_legitimate_whatever_the_clock_says(whole):
    run, tender = whole
    retried(run, unknown_s=0.0, refused_s=-2.0)
    for row in run.tables["idempotency"]:
        row["created_at"] = iso(ZERO - 3600)
    assert kinds(audit(sample_case(run, tender)), "same_answer") == set()


def test_a_refusal_of_what_was_never_written_is_legitimate(whole):
    run, tender = whole
    retried(run, unknown_s=0.0, refused_s=2.0)
    result = judged((run, tender), lambda tables: without(tables, f"{RUN}:bidders:3"))
    assert kinds(result, "same_answer") == set()


def test_what_could_have_been_duplicated_is_counted(whole):
    run, tender = whole
    assert audit(sample_case(run, tender)).retried_unknown == 0, "a canary is never sent again"
    first = next(a for a in run.attempts if a.kind == "payment")
    lost = dataclasses.replace(first, sent_at=first.sent_at - 1, outcome=Outcome.UNKNOWN, response=None)
    run.attempts.append(lost)
    refused = next(a for a in run.attempts if a.kind == "claim")
    run.attempts.append(
        dataclasses.replace(refused, sent_at=refused.sent_at - 1, outcome=Outcome.REFUSED, status=503)
    )
    assert audit(sample_case(run, tender)).retried_unknown == 1


def test_a_claim_paid_twice(whole):
    result = judged(
        whole, lambda tables: again(tables, "payment", id=10**6, request_key=f"{RUN}:official:payment-2")
    )
    assert kinds(result, "paid_once") == {"paid_twice"}


def test_a_subcontractor_paid_twice(whole):
    result = judged(whole, lambda tables: again(tables, "subcontract_payment", id=10**6, request_key="x"))
    assert kinds(result, "paid_once") == {"paid_twice"}


@pytest.mark.parametrize("hosts", [(), ("gg-db1",), ("dj-db1",)])
def test_a_changed_award(whole, hosts):
    def spoil(tables):
        tables["opening"][0] = {**tables["opening"][0], "scheduled_price": 1_773_240_951}

    result = judged(whole, spoil, hosts)
    assert kinds(result, "awards_stand") == {"award_changed"}
    assert kinds(result, "official_as_published") == {"award_changed"}


def test_an_award_given_to_another_on_one_host(whole):
    def spoil(tables):
        tables["award"][0] = {**tables["award"][0], "amount": 1}

    assert kinds(judged(whole, spoil, ("gg-db1",)), "awards_stand") == {"award_changed"}


def test_an_award_decided_again(whole):
    result = judged(
        whole, lambda tables: again(tables, "award", amount=1, request_key=f"{RUN}:official:award-2")
    )
    assert kinds(result, "awards_stand") == {"award_changed"}


def award_another(whole: tuple[SampleRun, int], tables: dict) -> tuple[dict, dict]:
    """The award row, and the bid that comes after the winner's."""
    (award,) = tables["award"]
    mine = sorted(
        (row for row in tables["bid"] if row["tender_id"] == whole[1]), key=lambda row: row["amount"]
    )
    place = next(n for n, row in enumerate(mine) if row["id"] == award["bid_id"])
    return award, mine[place + 1]


@pytest.mark.parametrize("by", ["the next bid", "another company", "another amount"])
def test_an_award_that_its_bids_contradict_on_every_host_and_in_the_answer(whole, by):
    run, tender = whole

    def spoil(tables):
        award, bid = award_another(whole, tables)
        changed = {
            "the next bid": {"bid_id": bid["id"], "company_id": bid["company_id"], "amount": bid["amount"]},
            "another company": {"company_id": 1},
            "another amount": {"amount": award["amount"] + 1},
        }[by]
        tables["award"] = [award | changed]

    spoil(run.tables)
    (award,) = run.tables["award"]
    place, told = next((n, a) for n, a in enumerate(run.attempts) if a.kind == "award")
    answer = {"bid_id": award["bid_id"], "amount": award["amount"]}
    run.attempts[place] = dataclasses.replace(told, response=answer)
    kept = next(row for row in run.tables["idempotency"] if row["request_key"] == told.key)
    kept["response"] = answer
    result = audit(sample_case(run, tender))
    assert [check.name for check in result.checks if check.verdict is CheckVerdict.FAILED] == ["awards_stand"]
    assert len(result.check("awards_stand").findings) == 3, "one a host"


def test_an_award_that_the_client_was_told_otherwise(whole):
    run, tender = whole
    place, told = next((n, a) for n, a in enumerate(run.attempts) if a.kind == "award")
    run.attempts[place] = dataclasses.replace(told, response={"bid_id": -1, "amount": 1})
    assert kinds(audit(sample_case(run, tender)), "awards_stand") == {"award_changed"}


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("opening", {"draw_counts": [8] * 15}),
        ("opening", {"outcome": "failed"}),
        ("opening", {"bids_count": 59}),
        ("opening", {"floor_price": 1}),
        ("preliminary_price", {"price": 1}),
        ("tender", {"rate_percent": 87.745}),
        ("tender", {"a_value": 1_000_000}),
    ],
)
def test_an_opening_that_its_own_facts_contradict(whole, table, change):
    """Of the answers only what the application itself wrote is compared: the recomputation must see it."""
    run, tender = whole

    def spoil(tables):
        tables[table][0] |= change

    spoil(run.tables)
    findings = recomputed(sample_case(run, tender).snapshots[0])
    assert {finding.kind for finding in findings} == {"award_changed"}


@pytest.mark.parametrize("table", ["tender", "preliminary_price", "bid"])
def test_an_opening_whose_facts_are_lost(whole, table):
    def spoil(tables):
        del tables[table][0]

    assert "award_changed" in kinds(judged(whole, spoil), "awards_stand")


def tender_of(*amounts: int, **award: int) -> HostSnapshot:
    """A tender of fifteen equal prices of 1,000 won, its floor 900, with bids of these amounts, opened."""
    bids = [
        {"id": n, "tender_id": 1, "company_id": n + 10, "amount": amount, "pick_a": 1, "pick_b": 2}
        for n, amount in enumerate(amounts)
    ]
    notice = {"id": 1, "rate_percent": 90, "a_value": 0}
    prices = [{"tender_id": 1, "number": n, "price": 1000} for n in range(1, 16)]
    opening = {"tender_id": 1, **opened(notice, [1000] * 15, bids)}
    rows = {
        "tender": (notice,),
        "preliminary_price": tuple(prices),
        "bid": tuple(bids),
        "opening": (opening,),
    }
    return HostSnapshot("h", rows | {"award": ({"tender_id": 1, **award},) if award else ()})


def bid_of(number: int, amount: int) -> dict[str, int]:
    return {"bid_id": number, "company_id": number + 10, "amount": amount}


@pytest.mark.parametrize(
    ("snapshot", "right"),
    [
        (tender_of(), True),
        (tender_of(899, 1001), True),
        (tender_of(950, 900, 899), True),
        (tender_of(950, 900, 899, **bid_of(1, 900)), True),
        (tender_of(950, 900, 899, **bid_of(0, 950)), False),
        (tender_of(950, 900, 899, **bid_of(2, 899)), False),
        (tender_of(920, 920, 930, **bid_of(0, 920)), True),
        (tender_of(920, 920, 930, **bid_of(1, 920)), True),
        (tender_of(920, 920, 930, **bid_of(2, 930)), False),
        (tender_of(920, **bid_of(0, 920)), False),
        (tender_of(899, 1001, **bid_of(0, 899)), False),
    ],
    ids="none invalid open lowest second below tie other worse alone nobody".split(),  # noqa: SIM905
)
def test_who_may_be_awarded(snapshot, right):
    assert (recomputed(snapshot) == []) is right


def test_a_bid_changed_after_the_opening_shows_in_the_recomputation_and_in_the_chain(whole):
    def spoil(tables):
        bid = tables["bid"][0]
        tables["bid"][0] = {**bid, "pick_a": bid["pick_b"] % 15 + 1}

    result = judged(whole, spoil)
    assert kinds(result, "receipts_chained") == {"chain_broken"}
    assert kinds(result, "official_as_published") == {"award_changed"}


def test_a_dropped_receipt_breaks_the_chain(whole):
    def spoil(tables):
        del tables["bid"][5]

    assert kinds(judged(whole, spoil), "receipts_chained") == {"chain_broken"}


def test_a_stale_clock_after_the_takeover(whole):
    run, tender = whole
    place, attempt = next(
        (n, a) for n, a in enumerate(run.attempts) if a.kind == "canary" and a.sent_at > BACK_AT + 5
    )
    stale = {**attempt.response, "written_at": iso(ZERO - 1)}
    run.attempts[place] = dataclasses.replace(attempt, response=stale)
    findings = audit(sample_case(run, tender)).check("clock_goes_forward").findings
    assert {finding.kind for finding in findings} == {"stale_clock"}
    assert any("before that of" in finding.detail for finding in findings)


def test_a_bid_after_its_deadline(whole):
    def spoil(tables):
        deadline = next(row for row in tables["tender"] if row["request_key"].startswith(f"{RUN}:official"))
        deadline["deadline"] = iso(ZERO)

    assert kinds(judged(whole, spoil), "deadlines_kept") == {"bid_after_deadline"}


def test_a_canary_that_stopped_by_itself_leaves_doubt_and_never_a_pass(whole):
    run, tender = whole
    run.attempts[:] = [
        a for a in run.attempts if a.stream != f"{RUN}:canary-gyeonggi" or a.sent_at < ZERO + 40
    ]
    case = sample_case(run, tender)
    kept = {a.key for a in run.attempts}
    shown = tuple(
        HostSnapshot(
            s.host, {t: tuple(r for r in rows if r["request_key"] in kept) for t, rows in s.tables.items()}
        )
        for s in case.snapshots
    )
    result = audit(Case(case.operations, shown, case.expect))
    assert kinds(result, "canaries_never_stopped") == {"canary_stopped"}
    assert result.verdict is CheckVerdict.UNKNOWN


def test_a_canary_that_never_ran_leaves_doubt(whole):
    case = sample_case(*whole)
    result = audit(Case((), case.snapshots, case.expect))
    assert result.check("canaries_never_stopped").verdict is CheckVerdict.UNKNOWN


def test_a_service_wholly_down_for_long(whole):
    case = sample_case(*whole)
    strict = dataclasses.replace(case.expect, outage_limit_s=10.0)
    assert kinds(audit(Case(case.operations, case.snapshots, strict)), "never_wholly_down") == {"wholly_down"}


def test_a_late_payment(whole):
    run, tender = whole
    place, attempt = next((n, a) for n, a in enumerate(run.attempts) if a.kind == "payment")
    run.attempts[place] = dataclasses.replace(attempt, response={**attempt.response, "late_days": 2})
    assert kinds(audit(sample_case(run, tender)), "payments_not_delayed") == {"payment_delayed"}


def test_a_payment_tried_and_never_made(whole):
    run, tender = whole
    run.attempt("life-9", "payment", f"{RUN}:life-9:payment", BACK_AT + 1, Outcome.UNKNOWN)
    assert kinds(audit(sample_case(run, tender)), "payments_not_delayed") == {"payment_delayed"}


def test_an_unknown_payment_that_was_made_is_not_delayed(whole):
    run, tender = whole
    place, attempt = next((n, a) for n, a in enumerate(run.attempts) if a.kind == "payment")
    run.attempts[place] = dataclasses.replace(attempt, outcome=Outcome.UNKNOWN, response=None)
    assert audit(sample_case(run, tender)).check("payments_not_delayed").verdict is CheckVerdict.PASSED


@pytest.mark.parametrize(
    ("table", "found"), [("payment", "not paid"), ("subcontract_payment", "nothing was passed on")]
)
def test_a_claim_whose_payment_was_never_tried(whole, table, found):
    run, tender = whole
    key = f"{RUN}:life-2:{'payment' if table == 'payment' else 'part'}"
    run.attempts[:] = [each for each in run.attempts if each.key != key]
    result = judged((run, tender), lambda tables: without(tables, key))
    (finding,) = result.check("payments_not_delayed").findings
    assert (finding.kind, finding.subject) == ("payment_missing", f"{RUN}:life-2:claim")
    assert found in finding.detail
    case = sample_case(run, tender)
    broken_off = dataclasses.replace(case.expect, drained=False)
    check = audit(Case(case.operations, case.snapshots, broken_off)).check("payments_not_delayed")
    assert (check.verdict, check.findings) == (CheckVerdict.UNKNOWN, ())


def test_a_late_payment_is_one_whatever_else_is_known(whole):
    run, tender = whole
    place, attempt = next((n, a) for n, a in enumerate(run.attempts) if a.kind == "payment")
    run.attempts[place] = dataclasses.replace(attempt, response={**attempt.response, "late_days": 2})
    case = sample_case(run, tender)
    broken_off = dataclasses.replace(case.expect, drained=False)
    for snapshots, expect in ((case.snapshots[1:], case.expect), (case.snapshots, broken_off)):
        result = audit(Case(case.operations, snapshots, expect))
        assert result.check("payments_not_delayed").verdict is CheckVerdict.FAILED


@pytest.mark.parametrize("host", HOSTS)
def test_a_host_that_was_not_read_leaves_doubt_with_its_reason_and_no_failure(whole, host):
    case = sample_case(*whole)
    left = tuple(each for each in case.snapshots if each.host != host)
    result = audit(Case(case.operations, left, case.expect, {host: "it is silent"}))
    assert result.verdict is CheckVerdict.UNKNOWN
    (finding,) = result.check("every_host_read").findings
    assert (finding.host, finding.detail) == (host, "it is silent")
    assert {check.name for check in result.checks if check.verdict is CheckVerdict.FAILED} == set()
    assert result.lost == (None if host == case.expect.primary else 0)


def test_without_the_primary_what_no_host_has_is_doubt_and_what_one_lacks_is_nothing(whole):
    case = sample_case(*whole)
    key = f"{RUN}:canary-daejeon:3"
    here = {s.host: {t: list(rows) for t, rows in s.tables.items()} for s in case.snapshots[1:]}
    without(here["gg-db1"], key)
    for lacking in ((), (key,)):
        for absent in lacking:
            without(here["dj-db2"], absent)
        left = tuple(
            HostSnapshot(host, {t: tuple(rows) for t, rows in tables.items()})
            for host, tables in here.items()
        )
        result = audit(Case(case.operations, left, case.expect))
        check = result.check("acknowledged_everywhere")
        assert check.verdict is CheckVerdict.UNKNOWN
        assert [finding.subject for finding in check.findings] == list(lacking)
        assert result.lost is None


def test_nothing_done_is_unknown_not_passed():
    run, tender = SampleRun(), 0
    assert audit(sample_case(run, tender)).verdict is CheckVerdict.UNKNOWN


def test_nothing_resolved_when_the_primary_was_not_read(whole):
    case = sample_case(*whole)
    result = audit(Case(case.operations, case.snapshots[1:], case.expect))
    assert sum(line.unknown_unresolved for line in result.ledger) == result.unknown


def test_unknown_attempts_of_an_acknowledged_operation_are_no_unknown_operation():
    run = SampleRun()
    first = run.attempt("x", "bid", "k", 1.0, Outcome.UNKNOWN)
    run.attempt("x", "bid", "k", 2.0, Outcome.ACKNOWLEDGED, 201, {})
    (operation,) = operations(run.attempts)
    assert (operation.outcome, operation.sent_at, operation.ended_at) == (
        Outcome.ACKNOWLEDGED,
        first.sent_at,
        2.02,
    )
