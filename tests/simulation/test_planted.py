"""Every planted bug is caught, and the same incidents without it break nothing."""

from __future__ import annotations

import pytest

from failover.guards import GUARDS

from .guards_removed import SAVE_TIME
from .planted import PLANTED
from .planting import Planted
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


def test_every_guard_is_removed_once_or_has_a_reason_not_to_be() -> None:
    planted = {guard for guard in GUARDS if any(f"guard {guard} removed" in bug.name for bug in PLANTED)}
    assert planted | set(SAVE_TIME) == set(GUARDS)
    assert not planted & set(SAVE_TIME)


def test_the_bugs_have_names_of_their_own() -> None:
    assert len({bug.name for bug in PLANTED}) == len(PLANTED)
