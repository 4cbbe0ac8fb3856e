"""Every planted bug is caught, and the same incidents without it break nothing."""

from __future__ import annotations

import pytest

from .planted import PLANTED, Planted
from .run import many


@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Planted) -> None:
    with bug.patch():
        found = many(bug.at_most, settings=bug.settings, plan=bug.plan, stop_at_first=True)
    assert found.failures, f"not caught in {found.incidents} incidents"
    seed, what = next(iter(found.failures.items()))
    print(f"{bug.name}: caught after {found.incidents} incidents (seed {seed}): {what}")
    clean = many(min(found.incidents, 120), settings=bug.clean or bug.settings, plan=bug.plan)
    assert clean.failures == {}


def test_the_bugs_have_names_of_their_own() -> None:
    assert len({bug.name for bug in PLANTED}) == len(PLANTED)
