"""The rules of the award: exact arithmetic on integer won, no I/O, no float.

Source: the Public Procurement Service's texts and official sample, as gathered in procurement.md
(section "E-bid", "Scheduled price", "Floor", "Rates"). Everything is computed as integers and
``Fraction`` before the one rounding that the rule names, so no ``Decimal`` context can change a result.

Bad values raise ``ValueError``, bad types (a float or a bool above all) raise ``TypeError``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

NUMBERS = 15
"""How many preliminary prices a tender has; they are numbered 1-15."""
DRAWN = 4
"""How many of them make the scheduled price."""


@dataclass(frozen=True, slots=True)
class Band:
    """One row of the price-score table: amounts of works in 억 won.

    The score is ``points - slope * |90 - 100 r|``; from ``fixed_from`` (ten-thousandths of r) on it is
    ``fixed``, but only for a bid at or under the estimate.
    """

    points: int
    slope: int
    fixed: int
    fixed_from: int


BANDS = {
    "50-100": Band(50, 2, 45, 9250),
    "10-50": Band(70, 4, 65, 9125),
    "3-10": Band(80, 20, 75, 9025),
    "under-3": Band(90, 20, 85, 9025),
}
LEAST_SCORE = 2


def draw_counts(picks: Iterable[Sequence[int]]) -> list[int]:
    """How often each number 1-15 was drawn; ``picks`` are pairs of two different numbers."""
    counts = [0] * NUMBERS
    for pick in picks:
        pair = _pair(pick)
        for number in pair:
            counts[number - 1] += 1
    return counts


def drawn_numbers(counts: Sequence[int]) -> list[int]:
    """The four most drawn numbers, ascending; among equal counts the lowest number first."""
    _fifteen(counts, "counts", least=0)
    order = sorted(range(1, NUMBERS + 1), key=lambda number: (-counts[number - 1], number))
    return sorted(order[:DRAWN])


def scheduled_price(prices: Sequence[int], counts: Sequence[int]) -> int:
    """The mean of the four most drawn preliminary prices, rounded up to 1 won."""
    _fifteen(prices, "prices", least=1)
    total = sum(prices[number - 1] for number in drawn_numbers(counts))
    return _ceil(Fraction(total, DRAWN))


def floor_price(estimate: int, rate_percent: str | Decimal, a_value: int = 0) -> int:
    """The lowest bid that can win, in won: ``ceil((estimate - A) * rate + A)``."""
    _estimate(estimate, a_value)
    rate = exact_percent(rate_percent)
    return _ceil((estimate - a_value) * rate / 100 + a_value)


def price_score(bid: int, estimate: int, band: str, a_value: int = 0) -> Decimal:
    """The price score of a bid, exact to 0.01.

    ``r = round_half_up((bid - A) / (estimate - A), 4)``; the score is at least 2.
    """
    _estimate(estimate, a_value)
    _won(bid, "bid", least=0)
    if not isinstance(band, str):
        raise TypeError(f"band must be a string, not {type(band).__name__}")
    if band not in BANDS:
        raise ValueError(f"band {band!r} is unknown; it is one of {', '.join(BANDS)}")
    row = BANDS[band]
    ratio = _half_up(Fraction(bid - a_value, estimate - a_value) * 10_000)
    if bid <= estimate and ratio >= row.fixed_from:
        return _hundredths(row.fixed * 100)
    score = row.points * 100 - row.slope * abs(9_000 - ratio)
    return _hundredths(max(score, LEAST_SCORE * 100))


def minimum_by_net_cost(net_cost: int, estimate: int, base: int) -> int:
    """The least bid by net construction cost, in won; a bid below it is dropped.

    ``N = ceil(net_cost * estimate / base)`` scales the net cost to the estimate; the minimum is
    ``ceil(0.98 * N)``. For works under 100 억 won.
    """
    _won(net_cost, "net_cost", least=0)
    _won(estimate, "estimate", least=1)
    _won(base, "base", least=1)
    scaled = _ceil(Fraction(net_cost * estimate, base))
    return _ceil(Fraction(98 * scaled, 100))


def exact_percent(value: str | Decimal) -> Fraction:
    """A percentage as an exact fraction of 1/100 units: ``"87.745"`` is 87.745; over 0, at most 100."""
    if isinstance(value, bool) or not isinstance(value, str | Decimal):
        raise TypeError(f"rate_percent must be a string or Decimal, not {type(value).__name__}")
    try:
        decimal = Decimal(value)
    except ArithmeticError as error:
        raise ValueError(f"rate_percent {value!r} is no decimal number") from error
    if not decimal.is_finite() or not 0 < decimal <= 100:
        raise ValueError(f"rate_percent {value!r} must be over 0 and at most 100")
    return Fraction(decimal)


def _pair(pick: Sequence[int]) -> tuple[int, int]:
    if isinstance(pick, str | bytes) or not isinstance(pick, Sequence):
        raise TypeError(f"a pick must be a pair of numbers, not {type(pick).__name__}")
    if len(pick) != 2:
        raise ValueError(f"a pick has two numbers, not {len(pick)}")
    first, second = pick
    for number in (first, second):
        _integer(number, "a picked number")
        if not 1 <= number <= NUMBERS:
            raise ValueError(f"picked number {number} is not within 1-{NUMBERS}")
    if first == second:
        raise ValueError(f"a pick has two different numbers, not {first} twice")
    return first, second


def _fifteen(values: Sequence[int], name: str, *, least: int) -> None:
    if isinstance(values, str | bytes) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a sequence of {NUMBERS} integers, not {type(values).__name__}")
    if len(values) != NUMBERS:
        raise ValueError(f"{name} must have {NUMBERS} entries, number 1 first; it has {len(values)}")
    for value in values:
        _won(value, f"every entry of {name}", least=least)


def _estimate(estimate: int, a_value: int) -> None:
    _won(estimate, "estimate", least=1)
    _won(a_value, "a_value", least=0)
    if a_value >= estimate:
        raise ValueError(f"a_value {a_value} must be below the estimate {estimate}")


def _won(value: int, name: str, *, least: int) -> None:
    _integer(value, name)
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")


def _integer(value: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}")


def _ceil(value: Fraction) -> int:
    return -((-value.numerator) // value.denominator)


def _half_up(value: Fraction) -> int:
    """Round to the nearest integer, a half away from zero (ratios here may be below zero)."""
    magnitude = abs(value)
    rounded = (2 * magnitude.numerator + magnitude.denominator) // (2 * magnitude.denominator)
    return rounded if value >= 0 else -rounded


def _hundredths(value: int) -> Decimal:
    """An integer of hundredths as Decimal; built from digits, so the context precision is not asked."""
    return Decimal((0, tuple(int(digit) for digit in str(value)), -2))
