"""What the drill of a lost site must hold besides its audit and its tender: expectations of the matrix.

Not asked is how long one client waits: clients of the official tender wait for its deadline by design.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lab.drill import matrix_checks
from lab.drill.drill import Drill
from lab.drill.matrix import Expect
from lab.drill.matrix_checks import Held, Wanted
from lab.drill.matrix_edges import POWER_BACK_S
from lab.drill.matrix_facts import facts
from lab.drill.operations import Attempt
from lab.drill.stages import db_hosts, homes

EXPECT = Expect(("{backup_db}",), takeovers=(1, 1), no_way_in=("{home}",), way_back_s=POWER_BACK_S)
ASKED = (
    matrix_checks.takeovers_as_expected,
    matrix_checks.no_false_alarm,
    matrix_checks.epochs_only_rise,
    matrix_checks.outage_within_limit,
    matrix_checks.service_stays_back,
    matrix_checks.heal_without_outage,
    matrix_checks.heal_without_failure,
    matrix_checks.whole_again,
    matrix_checks.way_home_without_failure,
)


def judge(drill: Drill, attempts: Sequence[Attempt], probes: Sequence[Mapping[str, Any]]) -> tuple[Held, ...]:
    """Each of ASKED; none when the drill did not come as far as its fault."""
    seen = facts(attempts, probes, drill.moments, "", None, frozenset({drill.home.name}), EXPECT.way_back_s)
    if seen is None:
        return ()
    wanted = Wanted(EXPECT, db_hosts(drill) - homes(drill))
    return tuple(held for check in ASKED if (held := check(seen, wanted)) is not None)
