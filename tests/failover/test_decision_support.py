"""What a person is told: from data, and unknown stays unknown."""

from __future__ import annotations

from failover.decision_support import promoting, support, waiting
from failover.view import Prospect, Waiting

from .views import view


def test_the_example_of_the_design() -> None:
    told = support(view(prospects=(Prospect("gg-db1", 8192, 3200, 41, 400),), waiting=Waiting(9000, 3)))
    assert told == (
        "promoting gg-db1 now loses at most 3.2 s, 41 transactions, 8192 bytes (known 0.4 s ago); "
        "Patroni's lease runs out in 9.0 s; waiting crosses 3 bid deadlines within the hour"
    )


def test_unknown_is_not_nothing() -> None:
    told = promoting(Prospect("gg-db1", None, None, None, 0))
    assert "an unknown number of transactions" in told
    assert "unknown" in waiting(Waiting(None, None))
    assert support(view()).startswith("no candidate is known")


def test_no_loss_is_said_so() -> None:
    assert (
        promoting(Prospect("gg-db1", 0, 0, 0, 100)) == "promoting gg-db1 now loses nothing (known 0.1 s ago)"
    )


def test_the_least_loss_stands_first_and_an_unknown_one_last() -> None:
    told = support(
        view(
            prospects=(
                Prospect("a", None, None, None, 0),
                Prospect("b", 9, 9, 9, 0),
                Prospect("c", 1, 1, 1, 0),
            )
        )
    )
    assert told.index(" c ") < told.index(" b ") < told.index(" a ")


def test_one_is_singular() -> None:
    assert "1 bid deadline" in waiting(Waiting(1, 1))
    assert "deadlines" not in waiting(Waiting(1, 1))
