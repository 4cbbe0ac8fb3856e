"""Upstream's hazards are real in the model, and one mend closes all of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from . import hazards
from .incidents import Kind, only
from .rules import UPSTREAM
from .run import many
from .world import Settings

KINDS = (hazards.lost_swap, hazards.slept_promotion, hazards.unlooked_lock, hazards.late_return)
ONE_MEND = replace(UPSTREAM, named_before_primary=True)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_hazard_of_patroni_alone(kind: Kind) -> None:
    upstream = Settings(rules=UPSTREAM, hazard=0, controllers=False)
    found = many(6, settings=upstream, plan=only(kind))
    print(f"{kind.__name__}: {found.incidents} incidents: {found.failures}")
    losses = [what for what in found.failures.values() if "lost" in what or "acknowledge" in what]
    assert len(losses) > len(found.failures) - len(losses)  # H4 may be seen by a rewind first


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("controllers", [True, False], ids=["ours", "patroni alone"])
def test_one_mend_closes_it(kind: Kind, controllers: bool) -> None:
    mended = Settings(rules=ONE_MEND, hazard=0, controllers=controllers)
    assert many(10, settings=mended, plan=only(kind)).failures == {}


@pytest.mark.parametrize("controllers", [True, False], ids=["ours", "patroni alone"])
def test_a_mode_that_blinks_loses_commits_unless_the_set_is_kept(controllers: bool) -> None:
    """H5. The other mend does not close it: it is not about who is primary."""
    both = replace(ONE_MEND, kept_set=True)
    settings = Settings(rules=ONE_MEND, hazard=0, controllers=controllers)
    found = many(30, settings=settings, plan=only(hazards.blinking_mode), stop_at_first=True)
    print(f"H5: {found.incidents} incidents: {found.failures}")
    assert any("acknowledge" in what or "lost" in what for what in found.failures.values())
    mended = replace(settings, rules=both)
    assert many(20, settings=mended, plan=only(hazards.blinking_mode)).failures == {}
