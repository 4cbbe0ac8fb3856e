"""When a primary that is away is known to hand over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from failover.service import hands_over
from failover.view import NotSeen, Phase

from .views import DCS, in_phase, view

OFFERED = replace(DCS, failover_revision=7)


@pytest.mark.parametrize(
    ("dcs", "age_ms", "planned"),
    [
        (OFFERED, 200, True),
        (OFFERED, 3000, False),  # it has come to nothing: the guard `no_failover_key` lets a takeover begin
        (DCS, 200, False),
        (NotSeen("no majority"), 200, False),
    ],
)
def test_an_offer_of_somebody_else_that_is_not_old(dcs: Any, age_ms: int, planned: bool) -> None:
    assert hands_over(view(dcs=dcs, offer_age_ms=age_ms)) is planned


def test_our_own_takeover_is_none() -> None:
    """Its transaction writes an offer, too; the primary that it is about has not answered."""
    assert hands_over(in_phase(Phase.TRANSACTED, None, failover=9, offer_age_ms=100)) is False
