"""What a client knows after an attempt, and the journal that keeps it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.drill.journal import Journal, attempts, records
from lab.drill.operations import Attempt, Outcome, Stage, classify, combine, error_code


@pytest.mark.parametrize(
    ("stage", "status", "code", "outcome"),
    [
        (Stage.CONNECT, None, None, Outcome.REFUSED),
        (Stage.SENT, None, None, Outcome.UNKNOWN),
        (Stage.ANSWERED, 200, None, Outcome.ACKNOWLEDGED),
        (Stage.ANSWERED, 201, None, Outcome.ACKNOWLEDGED),
        (Stage.ANSWERED, 302, None, Outcome.UNKNOWN),
        (Stage.ANSWERED, 409, "already_bid", Outcome.REFUSED),
        (Stage.ANSWERED, 422, None, Outcome.REFUSED),
        (Stage.ANSWERED, 500, "internal", Outcome.UNKNOWN),
        (Stage.ANSWERED, 502, "edge:outcome_unknown", Outcome.UNKNOWN),
        (Stage.ANSWERED, 503, None, Outcome.UNKNOWN),
        (Stage.ANSWERED, 503, "unavailable", Outcome.UNKNOWN),
        (Stage.ANSWERED, 503, "not_written", Outcome.REFUSED),
        (Stage.ANSWERED, 503, "outcome_unknown", Outcome.UNKNOWN),
        (Stage.ANSWERED, 503, "edge:unavailable", Outcome.REFUSED),
        (Stage.ANSWERED, 504, "edge:outcome_unknown", Outcome.UNKNOWN),
    ],
)
def test_classify(stage, status, code, outcome):
    assert classify(stage, status, code) is outcome


@given(st.sampled_from(Stage), st.none() | st.integers(100, 599), st.none() | st.text())
def test_only_a_2xx_answer_is_an_acknowledgement(stage, status, code):
    acknowledged = classify(stage, status, code) is Outcome.ACKNOWLEDGED
    assert acknowledged == (stage is Stage.ANSWERED and status is not None and 200 <= status < 300)


@given(st.integers(500, 599), st.none() | st.text(max_size=20))
def test_a_server_error_is_refused_only_with_a_promise(status, code):
    refused = classify(Stage.ANSWERED, status, code) is Outcome.REFUSED
    assert refused == (status == 503 and code in ("not_written", "edge:unavailable"))


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ({"error": {"code": "not_written"}}, "not_written"),
        ({"error": {"code": "unavailable", "edge": "daejeon"}}, "edge:unavailable"),
        ({"error": "text"}, None),
        ("<html>", None),
        (None, None),
        ({"error": {"code": 5}}, None),
    ],
)
def test_error_code(response, code):
    assert error_code(response) == code


def attempt(outcome: Outcome, at: float) -> Attempt:
    return Attempt("s", "bid", "k", "e", "/p", {}, at, at + 0.5, outcome, response=at)


@given(st.lists(st.sampled_from(Outcome), min_size=1, max_size=6))
def test_an_operation_is_acknowledged_if_one_attempt_was_and_refused_only_if_all_were(outcomes):
    operation = combine(attempt(outcome, float(at)) for at, outcome in enumerate(outcomes))
    if Outcome.ACKNOWLEDGED in outcomes:
        assert operation.outcome is Outcome.ACKNOWLEDGED
        assert operation.response == outcomes.index(Outcome.ACKNOWLEDGED)
    elif set(outcomes) == {Outcome.REFUSED}:
        assert operation.outcome is Outcome.REFUSED
    else:
        assert operation.outcome is Outcome.UNKNOWN


def test_an_operation_has_one_key_and_at_least_one_attempt():
    with pytest.raises(ValueError, match="one or more attempts"):
        combine([])


def test_an_intent_without_a_result_is_unknown_and_a_torn_line_is_left_out(tmp_path):
    path = tmp_path / "operations.jsonl"
    with Journal(path) as journal:
        for n in (1, 2):
            journal.write(
                record="sent", n=n, at=1.0, stream="s", kind="bid", key=f"k{n}", edge="e", path="/p", body={}
            )
        journal.write(record="done", n=1, at=2.0, outcome="acknowledged", status=201, response={}, error="")
    with path.open("a") as stream:
        stream.write('{"record":"done","n":2,"at":3.0,"outc')
    first, second = attempts(path)
    assert (first.outcome, second.outcome, second.ended_at) == (Outcome.ACKNOWLEDGED, Outcome.UNKNOWN, None)
    assert list(records(tmp_path / "absent.jsonl")) == []


def test_a_result_without_an_intent_is_a_broken_journal(tmp_path):
    with Journal(tmp_path / "x.jsonl") as journal:
        journal.write(record="done", n=1, at=2.0, outcome="refused", status=409, response={}, error="")
    with pytest.raises(KeyError):
        attempts(tmp_path / "x.jsonl")
