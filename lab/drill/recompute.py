"""The auditor's own computation of an opening, independent of the application's.

Rules: `procurement.md`, Scheduled price and Floor. Two programs that agree are better than one that
agrees with itself, so nothing here is imported from `app`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import ceil


def draw_counts(picks: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """How often each of the numbers 1-15 was drawn, number 1 first."""
    counted = Counter(number for pair in picks for number in pair)
    return tuple(counted[number] for number in range(1, 16))


def drawn_numbers(counts: Sequence[int]) -> tuple[int, ...]:
    """The four most drawn numbers, ascending; among equal counts the lowest number first."""
    ranked = sorted(range(1, len(counts) + 1), key=lambda number: (-counts[number - 1], number))
    return tuple(sorted(ranked[:4]))


def scheduled_price(prices: Sequence[int], counts: Sequence[int]) -> int:
    """Mean of the four prices drawn most, rounded up to 1 won."""
    return ceil(Fraction(sum(prices[number - 1] for number in drawn_numbers(counts)), 4))


def floor_price(estimate: int, rate_percent: str, a_value: int = 0) -> int:
    """The lowest bid that can win, in won."""
    return ceil((estimate - a_value) * Fraction(rate_percent) / 100 + a_value)


def lowest_valid(bids: Iterable[tuple[int, str]], floor: int, estimate: int) -> frozenset[str]:
    """Names of the lowest bids from floor to estimate: several that are tied, none if none is valid."""
    valid = [(amount, name) for amount, name in bids if floor <= amount <= estimate]
    lowest = min((amount for amount, _ in valid), default=None)
    return frozenset(name for amount, name in valid if amount == lowest)
