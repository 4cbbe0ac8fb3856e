"""What a person is told besides: from the ring, the lease, the tenders; unknown stays unknown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from failover.figures import informed, with_ring
from failover.view import NotSeen, Prospect

from .views import DCS, view

BEHIND = Prospect("gg-db1", "dj-db1", False, 4096, None, 200)
LEVEL = Prospect("gg-db1", "dj-db1", False, 0, 0, 200)
QUIET = {"primary": "dj-db1", "exposed_seconds": 0.0, "age_seconds": 7.5}


@pytest.mark.parametrize(
    ("report", "back_ms"),
    [
        ({"primary": "dj-db1", "exposed_seconds": 3.2, "age_seconds": 0.5}, 3200),
        ({"primary": "dj-db1", "exposed_seconds": 0.0, "age_seconds": 7.5}, 7500),  # silent since then
        ({"primary": "dj-db1", "exposed_seconds": None, "age_seconds": 7.5}, None),
        ({"primary": "dj-db2", "exposed_seconds": 3.2, "age_seconds": 0.5}, None),  # of another primary
        ({}, None),
        (None, None),
    ],
)
def test_the_time_that_would_be_lost(report: dict[str, Any] | None, back_ms: int | None) -> None:
    assert with_ring(BEHIND, report).back_ms == back_ms


def test_who_lacked_no_byte_may_lack_what_was_written_since() -> None:
    """Planted: a candidate that was level at the last look was given no time, as if it had been proved."""
    assert with_ring(LEVEL, QUIET).back_ms == 7500


def test_where_nothing_is_lost_no_time_is() -> None:
    proved = replace(LEVEL, proved=True)
    assert with_ring(proved, QUIET) == proved


class Leases:
    def time_left_ms(self, lease: int) -> int | None:
        return {7: 12_000}.get(lease)


class Addresses:
    def __init__(self) -> None:
        self.addresses = {"gg-db1": "10.0.0.9"}


def told(dcs: Any, prospect: Prospect = BEHIND) -> Any:
    asked: list[str] = []

    def ring(address: str) -> dict[str, Any]:
        asked.append(address)
        return {"primary": "dj-db1", "exposed_seconds": 3.2, "age_seconds": 0.1}

    seen = view(dcs=dcs, prospects=(prospect,))
    return informed(seen, cast(Any, Addresses()), cast(Any, Leases()), ring, lambda: 3)


def test_all_that_can_be_found_out() -> None:
    seen = told(DCS)
    assert (seen.waiting.lease_left_ms, seen.waiting.deadlines_crossed) == (12_000, 3)
    assert seen.prospects[0].back_ms == 3200
    assert told(DCS, LEVEL).prospects[0].back_ms == 3200
    assert told(DCS, replace(LEVEL, proved=True)).prospects[0].back_ms is None


def test_a_dcs_that_was_not_seen_tells_nothing() -> None:
    assert told(NotSeen("no majority")).waiting.lease_left_ms is None
