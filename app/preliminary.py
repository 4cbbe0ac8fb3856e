"""Drawing the fifteen preliminary prices around the base amount.

The range is cut into 15 equal bands, one price is drawn in each and rounded up to 100 won; then the
numbers 1-15 are dealt at random, so that a number says nothing about its band (procurement.md,
"Scheduled price"). The draw is ``secrets.SystemRandom`` in service; a test may hand in its own.
"""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction

from app.award import NUMBERS

STEP_WON = 100


def draw_prices(base_amount: int, range_percent: Decimal, source: random.Random) -> list[int]:
    """Fifteen prices, number 1 first; none above the range unless the range holds no multiple of 100."""
    span = Fraction(range_percent) / 100
    low, high = base_amount * (1 - span), base_amount * (1 + span)
    width = (high - low) / NUMBERS
    top = max(int(high) // STEP_WON * STEP_WON, STEP_WON)
    prices = []
    for band in range(NUMBERS):
        first = _ceil(low + band * width)
        last = max(first, int(low + (band + 1) * width))
        drawn = source.randint(first, last)
        prices.append(min(-(-drawn // STEP_WON) * STEP_WON, top))
    source.shuffle(prices)
    return prices


def _ceil(value: Fraction) -> int:
    return -((-value.numerator) // value.denominator)
