"""The verdict: a failure outweighs doubt, and doubt is never a pass."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lab.drill.case import CheckVerdict
from lab.drill.verdict import Known, Verdict, verdict

GOOD = Known(CheckVerdict.PASSED, (), (), None, None, 23.4, 30.0, 1_773_240_950, 1_773_240_950)


def test_all_known_and_good_is_passed():
    assert verdict(GOOD) == (Verdict.PASSED, ())


@pytest.mark.parametrize(
    "change",
    [
        {"audit": CheckVerdict.FAILED, "failed_checks": ("no_phantom",)},
        {"rto_seconds": 30.1},
        {"scheduled_price": 1},
        {"service_failure": "no new primary"},
        {"audit": CheckVerdict.FAILED, "broken_off": "interrupted"},
    ],
)
def test_a_proved_failure_is_failed_also_with_doubts(change):
    assert verdict(replace(GOOD, **change))[0] is Verdict.FAILED


@pytest.mark.parametrize(
    "change",
    [
        {"audit": None},
        {"audit": CheckVerdict.UNKNOWN, "unknown_checks": ("canaries_never_stopped",)},
        {"rto_seconds": None},
        {"scheduled_price": None},
        {"broken_off": "interrupted"},
    ],
)
def test_doubt_is_inconclusive_and_says_why(change):
    decided, why = verdict(replace(GOOD, **change))
    assert decided is Verdict.INCONCLUSIVE
    assert why
