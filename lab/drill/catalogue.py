"""Every scenario that can be run, by name."""

from __future__ import annotations

from lab.drill.errors import UnknownScenario
from lab.drill.matrix_scenarios import MATRIX
from lab.drill.scenario import SITE_LOSS, Scenario
from lab.drill.soak import SOAK

SCENARIOS: dict[str, Scenario] = {SITE_LOSS.name: SITE_LOSS, **MATRIX, SOAK.name: SOAK}


def scenario_named(name: str) -> Scenario:
    """Raises UnknownScenario."""
    if name not in SCENARIOS:
        raise UnknownScenario(f"no scenario is called {name}", hint=f"scenarios: {', '.join(SCENARIOS)}")
    return SCENARIOS[name]
