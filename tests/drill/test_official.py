"""The official bidders draw the published counts, and the auditor computes the published price."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.drill import recompute
from lab.drill.official import RATE_PERCENT, bidders, draw_pairs, load_official

OFFICIAL = load_official()


@given(st.integers())
def test_every_seed_draws_the_published_counts_in_pairs_of_different_numbers(seed):
    everyone = bidders(OFFICIAL, Random(seed))
    assert len(everyone) == OFFICIAL.bidders == 60
    assert recompute.draw_counts(bidder.picks for bidder in everyone) == OFFICIAL.counts
    assert all(a != b for a, b in (bidder.picks for bidder in everyone))
    assert len({bidder.amount for bidder in everyone}) == 60


@given(st.integers())
def test_somebody_can_win_and_somebody_is_under_the_floor(seed):
    floor = recompute.floor_price(OFFICIAL.scheduled_price, RATE_PERCENT)
    amounts = [bidder.amount for bidder in bidders(OFFICIAL, Random(seed))]
    assert min(amounts) < floor < max(amounts) < OFFICIAL.scheduled_price


def test_the_same_seed_gives_the_same_bidders_and_another_seed_others():
    assert bidders(OFFICIAL, Random(7)) == bidders(OFFICIAL, Random(7)) != bidders(OFFICIAL, Random(8))


@given(st.lists(st.integers(0, 9), min_size=2, max_size=15), st.integers())
def test_draw_pairs_holds_the_counts_or_says_that_it_cannot(counts, seed):
    total = sum(counts)
    if total % 2 or (total and max(counts) > total // 2):
        with pytest.raises(ValueError, match="cannot be drawn"):
            draw_pairs(tuple(counts), Random(seed))
        return
    pairs = draw_pairs(tuple(counts), Random(seed))
    seen = Counter(number for pair in pairs for number in pair)
    assert [seen[number] for number in range(1, len(counts) + 1)] == counts
    assert all(a != b for a, b in pairs)


def test_the_published_result():
    assert recompute.drawn_numbers(OFFICIAL.counts) == OFFICIAL.drawn_numbers == (1, 2, 3, 6)
    assert (
        recompute.scheduled_price(OFFICIAL.prices, OFFICIAL.counts)
        == OFFICIAL.scheduled_price
        == 1_773_240_950
    )
    assert recompute.floor_price(1_773_240_950, "88.745") == 1_573_662_682
    assert recompute.floor_price(500_000_000, "89.745", 50_000_000) == 453_852_500


@given(
    st.lists(st.integers(1, 10**10), min_size=15, max_size=15),
    st.lists(st.integers(0, 60), min_size=15, max_size=15),
)
def test_the_scheduled_price_is_the_mean_rounded_up(prices, counts):
    drawn = recompute.drawn_numbers(counts)
    mean = Fraction(sum(prices[number - 1] for number in drawn), 4)
    assert 0 <= recompute.scheduled_price(prices, counts) - mean < 1
    least_drawn = min(counts[number - 1] for number in drawn)
    assert all(counts[n - 1] <= least_drawn for n in range(1, 16) if n not in drawn)


def test_lowest_valid():
    bids = [(5, "low"), (10, "a"), (12, "b"), (99, "high")]
    assert recompute.lowest_valid(bids, 8, 50) == {"a"}
    assert recompute.lowest_valid(bids, 10, 12) == {"a"}
    assert recompute.lowest_valid(bids, 11, 11) == set()
    assert recompute.lowest_valid([(10, "a"), (10, "b"), (11, "c")], 8, 50) == {"a", "b"}
    assert recompute.lowest_valid([], 8, 50) == set()
