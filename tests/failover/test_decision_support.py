"""What a person is told: from data, and unknown stays unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failover.decision_support import promoting, support, waiting
from failover.view import Prospect, Waiting

from .views import view

SEEN = Prospect("gg-db1", "dj-db1", False, 8192, 41, 4100, 5200)
PROVED = Prospect("gg-db1", "dj-db1", True, 0, 0, 4100)


def test_what_is_known_is_told_beside_what_is_not() -> None:
    told = support(view(prospects=(SEEN,), waiting=Waiting(9000, 3)))
    assert told == (
        "promoting gg-db1 now loses an unknown amount (going back about 5.2 s): what dj-db1 has acknowledged "
        "since it was last seen (4.1 s ago), and of what it had then up to 8192 bytes, up to 41 "
        "transactions; Patroni's lease runs out in 9.0 s; waiting crosses 3 bid deadlines within the hour"
    )


def test_who_was_level_at_the_last_look_is_not_said_to_lose_nothing() -> None:
    """Planted: equal positions, hours old or not, were printed as "loses nothing", and signed for."""
    assert promoting(replace(SEEN, lacks_bytes=0, lacks_transactions=0, back_ms=None)) == (
        "promoting gg-db1 now loses an unknown amount (how far back: unknown): what dj-db1 has acknowledged "
        "since it was last seen (4.1 s ago), and of what it had then 0 bytes, 0 transactions"
    )


@pytest.mark.parametrize("lacks_bytes", [None, 0, 1])
@pytest.mark.parametrize("lacks_transactions", [None, 0, 1])
@pytest.mark.parametrize("seen_ms", [None, 0, 1])
@pytest.mark.parametrize("back_ms", [None, 0, 1])
def test_nothing_is_said_only_of_what_is_proved(
    lacks_bytes: int | None, lacks_transactions: int | None, seen_ms: int | None, back_ms: int | None
) -> None:
    one = Prospect("gg-db1", "dj-db1", False, lacks_bytes, lacks_transactions, seen_ms, back_ms)
    assert "nothing" not in promoting(one)
    assert "nothing" in promoting(replace(one, proved=True))


def test_unknown_is_not_nothing() -> None:
    told = promoting(Prospect("gg-db1", "dj-db1", False, None, None, None))
    assert told == (
        "promoting gg-db1 now loses an unknown amount (how far back: unknown): what dj-db1 has acknowledged "
        "since it was last seen (nobody knows when), and of what it had then an unknown amount of WAL, "
        "an unknown number of transactions"
    )
    assert "unknown" in waiting(Waiting(None, None))
    assert support(view()).startswith("no candidate is known")


def test_no_loss_is_said_so() -> None:
    assert promoting(PROVED) == (
        "promoting gg-db1 now loses nothing: all that dj-db1 has acknowledged is there"
    )


def test_the_proved_one_stands_first_then_the_least_and_an_unknown_one_last() -> None:
    told = support(
        view(
            prospects=(
                replace(SEEN, candidate="a", lacks_bytes=None),
                replace(SEEN, candidate="b", lacks_bytes=9),
                replace(SEEN, candidate="c", lacks_bytes=0),
                replace(PROVED, candidate="d"),
            )
        )
    )
    assert told.index(" d ") < told.index(" c ") < told.index(" b ") < told.index(" a ")


def test_one_is_singular() -> None:
    assert "1 bid deadline" in waiting(Waiting(1, 1))
    assert "deadlines" not in waiting(Waiting(1, 1))
    assert "up to 1 byte, up to 1 transaction" in promoting(
        replace(SEEN, lacks_bytes=1, lacks_transactions=1)
    )
