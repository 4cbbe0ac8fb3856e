"""Upstream's hazards are real in the model, and one mend closes all of them."""

from __future__ import annotations

import pytest

from . import hazards
from .incidents import Kind
from .planted import only
from .rules import UPSTREAM, PatroniRules
from .run import many
from .world import Settings

KINDS = (hazards.lost_swap, hazards.slept_promotion, hazards.unlooked_lock, hazards.late_return)
ONE_MEND = PatroniRules(
    rechecks_lock=False, named_before_primary=True, lock_in_sync_write=False, watchdog=False
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_hazard_of_patroni_alone(kind: Kind) -> None:
    upstream = Settings(rules=UPSTREAM, hazard=0, controllers=False)
    found = many(30, settings=upstream, plan=only(kind), stop_at_first=True)
    print(f"{kind.__name__}: {found.incidents} incidents: {found.failures}")
    assert found.failures
    assert any("lost" in what or "acknowledge" in what for what in found.failures.values())


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("controllers", [True, False], ids=["ours", "patroni alone"])
def test_one_mend_closes_it(kind: Kind, controllers: bool) -> None:
    mended = Settings(rules=ONE_MEND, hazard=0, controllers=controllers)
    assert many(10, settings=mended, plan=only(kind)).failures == {}
