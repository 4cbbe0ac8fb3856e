"""The official sample tender: its published data, and 60 bidders who draw exactly the published counts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

# A file beside the application's package, in a clone and in an installed wheel alike. Only the data
# is shared with the application, none of its code.
DATA = Path(__file__).resolve().parents[2] / "app" / "data" / "tender-R25BK00888538-003.json"

RATE_PERCENT = "88.745"
BAND = "10-50"


@dataclass(frozen=True, slots=True)
class Official:
    """What was published. Money in won; prices and counts by number, number 1 first."""

    number: str
    base_amount: int
    range_percent: int
    bidders: int
    prices: tuple[int, ...]
    counts: tuple[int, ...]
    drawn_numbers: tuple[int, ...]
    scheduled_price: int


@dataclass(frozen=True, slots=True)
class Bidder:
    """What one bidder of the official tender does: an amount in won and the two numbers drawn."""

    amount: int
    picks: tuple[int, int]


def load_official(path: Path = DATA) -> Official:
    """Raises OSError, KeyError or ValueError when the file is not the published one."""
    data = json.loads(path.read_text(encoding="utf-8"))
    rows = sorted(data["preliminary_prices"], key=lambda row: row["number"])
    if [row["number"] for row in rows] != list(range(1, 16)):
        raise ValueError(f"{path}: the preliminary prices are not numbered 1 to 15")
    return Official(
        number=data["tender"],
        base_amount=data["base_amount_won"],
        range_percent=data["range_percent"],
        bidders=data["bidders"],
        prices=tuple(row["price_won"] for row in rows),
        counts=tuple(row["draw_count"] for row in rows),
        drawn_numbers=tuple(data["drawn_numbers"]),
        scheduled_price=data["scheduled_price_won"],
    )


def draw_pairs(counts: tuple[int, ...], random: Random) -> tuple[tuple[int, int], ...]:
    """Pairs of two different numbers in which each number occurs as often as `counts` says.

    Raises ValueError when no such pairs exist (an odd sum, or one number in more than half).
    """
    total = sum(counts)
    if total % 2 or (total and max(counts) > total // 2):
        raise ValueError(f"counts {counts} cannot be drawn in pairs of different numbers")
    # Sorted by number and split in two halves, place i and place i + total/2 differ, because no
    # number fills more than half. The order of numbers, pairs and places is then shuffled.
    numbers = list(range(1, len(counts) + 1))
    random.shuffle(numbers)
    numbers.sort(key=lambda number: -counts[number - 1])
    row = [number for number in numbers for _ in range(counts[number - 1])]
    half = total // 2
    pairs = [(row[i], row[i + half]) for i in range(half)]
    for _ in range(4 * half):
        _swap_partners(pairs, random)
    random.shuffle(pairs)
    return tuple(pair if random.random() < 0.5 else (pair[1], pair[0]) for pair in pairs)


def _swap_partners(pairs: list[tuple[int, int]], random: Random) -> None:
    i, j = random.randrange(len(pairs)), random.randrange(len(pairs))
    (a, b), (c, d) = pairs[i], pairs[j]
    if i != j and a != d and c != b:
        pairs[i], pairs[j] = (a, d), (c, b)


def bidders(official: Official, random: Random) -> tuple[Bidder, ...]:
    """The 60 bidders. Amounts differ, from 88 % to 93 % of the scheduled price, some under the floor."""
    pairs = draw_pairs(official.counts, random)
    low, high = official.scheduled_price * 880 // 1000, official.scheduled_price * 930 // 1000
    amounts = random.sample(range(low, high), len(pairs))
    return tuple(Bidder(amount, pair) for amount, pair in zip(amounts, pairs, strict=True))
