"""The auditor, with one planted bug of each kind: a check that never failed proves nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest

from lab.drill.audit import Audit, audit
from lab.drill.case import Case, CheckVerdict, HostSnapshot
from lab.drill.operations import Outcome, operations

from .sample import BACK_AT, RUN, ZERO, SampleRun, iso, sample_case, sample_run


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


def test_a_host_that_was_not_read_leaves_doubt(whole):
    case = sample_case(*whole)
    result = audit(Case(case.operations, case.snapshots[:2], case.expect))
    assert result.verdict is CheckVerdict.UNKNOWN


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
