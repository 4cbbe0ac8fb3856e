"""The rules of the award: every worked example of procurement.md, and properties."""

from __future__ import annotations

import decimal
import json
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import award

SAMPLE = json.loads(files("app.data").joinpath("tender-R25BK00888538-003.json").read_text(encoding="utf-8"))
PRICES = [row["price_won"] for row in SAMPLE["preliminary_prices"]]
COUNTS = [row["draw_count"] for row in SAMPLE["preliminary_prices"]]
won = st.integers(min_value=1, max_value=10**13)
fifteen_prices = st.lists(won, min_size=15, max_size=15)
fifteen_counts = st.lists(st.integers(0, 200), min_size=15, max_size=15)
number = st.integers(1, 15)
pair = st.tuples(number, number).filter(lambda pick: pick[0] != pick[1])
bands = st.sampled_from(sorted(award.BANDS))


def test_official_sample():
    assert award.drawn_numbers(COUNTS) == SAMPLE["drawn_numbers"] == [1, 2, 3, 6]
    assert award.scheduled_price(PRICES, COUNTS) == SAMPLE["scheduled_price_won"] == 1_773_240_950


def test_official_sample_floor_scores_and_net_cost():
    assert award.floor_price(1_773_240_950, "88.745") == 1_573_662_682
    assert award.price_score(1_573_662_682, 1_773_240_950, "10-50") == Decimal("65.00")
    assert award.price_score(1_573_662_681, 1_773_240_950, "10-50") == Decimal("64.96")
    assert award.minimum_by_net_cost(1_470_841_837, 1_773_240_950, 1_773_240_950) == 1_441_425_001


def test_example_of_88_percent():
    assert award.floor_price(44_461_875, Decimal(88)) == 39_126_450


@pytest.mark.parametrize(
    ("bid", "score"),
    [(453_852_499, "74.80"), (453_852_500, "75.00"), (455_000_000, "80"), (456_125_000, "75")],
)
def test_example_with_a_fixed_part(bid, score):
    assert award.floor_price(500_000_000, "89.745", 50_000_000) == 453_852_500
    assert award.price_score(bid, 500_000_000, "3-10", 50_000_000) == Decimal(score)


@pytest.mark.parametrize(
    ("band", "fixed", "edge"),
    [("50-100", 45, 9250), ("10-50", 65, 9125), ("3-10", 75, 9025), ("under-3", 85, 9025)],
)
def test_fixed_score_only_at_or_under_the_estimate(band, fixed, edge):
    estimate = 1_000_000_000
    assert award.price_score(edge * 100_000, estimate, band) == fixed
    assert award.price_score(estimate, estimate, band) == fixed
    over = award.price_score(estimate + 100_000, estimate, band)
    assert over == max(2, award.BANDS[band].points - award.BANDS[band].slope * Decimal("10.01"))


def test_net_cost_rounds_up_twice():
    assert award.minimum_by_net_cost(1, 1, 3) == 1
    assert award.minimum_by_net_cost(100, 101, 100) == 99  # N = 101, 98.98 up


def test_equal_counts_take_the_lowest_number():
    assert award.drawn_numbers([0] * 15) == [1, 2, 3, 4]
    assert award.drawn_numbers([1] * 10 + [2] * 5) == [11, 12, 13, 14]


def test_draw_counts():
    assert award.draw_counts([]) == [0] * 15
    assert award.draw_counts([(1, 15), [15, 2]]) == [1, 1, *[0] * 12, 2]


@given(st.lists(pair, max_size=200))
def test_every_draw_is_counted_once(picks):
    counts = award.draw_counts(picks)
    assert sum(counts) == 2 * len(picks)
    assert award.draw_counts(reversed(picks)) == counts


@given(fifteen_prices, fifteen_counts)
def test_scheduled_price_is_the_mean_rounded_up(prices, counts):
    drawn = award.drawn_numbers(counts)
    exact = Fraction(sum(prices[n - 1] for n in drawn), 4)
    assert 0 <= award.scheduled_price(prices, counts) - exact < 1
    assert len(set(drawn)) == 4
    assert min(counts[n - 1] for n in drawn) >= max(counts[n - 1] for n in range(1, 16) if n not in drawn)


@given(won, st.integers(1, 100_000), st.integers(0, 10**13))
def test_floor_is_the_least_bid_at_the_rate(estimate, thousandths, a_value):
    a_value %= estimate
    rate = Decimal(thousandths) / 1000
    floor = award.floor_price(estimate, rate, a_value)
    at = Fraction(thousandths, 100_000)
    assert (
        Fraction(floor - a_value, estimate - a_value)
        >= at
        > Fraction(floor - 1 - a_value, estimate - a_value)
    )


@given(won, won, bands)
def test_score_is_bounded_and_exact(bid, estimate, band):
    score = award.price_score(bid, estimate, band)
    assert isinstance(score, Decimal)
    assert 2 <= score <= award.BANDS[band].points
    assert score.as_tuple().exponent == -2


@given(st.integers(10**9, 10**13), bands)
def test_score_rises_up_to_ninety_percent(estimate, band):
    bids = [estimate * share // 100 for share in range(60, 91)]
    scores = [award.price_score(bid, estimate, band) for bid in bids]
    assert scores == sorted(scores)


@given(won, won, won)
def test_net_cost_minimum_is_near_98_percent(net_cost, estimate, base):
    exact = Fraction(98 * net_cost * estimate, 100 * base)
    assert 0 <= award.minimum_by_net_cost(net_cost, estimate, base) - exact < 2


def test_no_decimal_context_changes_a_result():
    with decimal.localcontext(prec=3):
        assert award.floor_price(1_773_240_950, "88.745") == 1_573_662_682
        assert str(award.price_score(1_573_662_682, 1_773_240_950, "10-50")) == "65.00"


@pytest.mark.parametrize("bad", [0.5, 1.0, True, None, "1"])
def test_amounts_of_another_type_are_refused(bad):
    with pytest.raises(TypeError):
        award.floor_price(bad, "88")
    with pytest.raises(TypeError):
        award.price_score(bad, 100, "3-10")
    with pytest.raises(TypeError):
        award.minimum_by_net_cost(bad, 1, 1)
    with pytest.raises(TypeError):
        award.scheduled_price([bad] * 15, COUNTS)
    with pytest.raises(TypeError):
        award.scheduled_price(PRICES, [bad] * 15)


@pytest.mark.parametrize("bad", [87.745, 88, True, None])
def test_a_rate_of_another_type_is_refused(bad):
    with pytest.raises(TypeError, match="string or Decimal"):
        award.floor_price(100, bad)


@pytest.mark.parametrize("bad", ["0", "-1", "100.1", "NaN", "inf", "x", ""])
def test_a_rate_out_of_range_is_refused(bad):
    with pytest.raises(ValueError, match="rate_percent"):
        award.floor_price(100, bad)


@pytest.mark.parametrize("bad", [(0, 1), (1, 16), (3, 3), (1,), (1, 2, 3)])
def test_bad_picks_are_refused(bad):
    with pytest.raises(ValueError, match="pick"):
        award.draw_counts([bad])


@pytest.mark.parametrize("bad", ["12", (1.0, 2), (True, 2), 5])
def test_picks_of_another_type_are_refused(bad):
    with pytest.raises(TypeError):
        award.draw_counts([bad])


def test_other_bad_values_are_refused():
    with pytest.raises(ValueError, match="15 entries"):
        award.scheduled_price(PRICES[:14], COUNTS)
    with pytest.raises(ValueError, match="at least 0"):
        award.drawn_numbers([-1] * 15)
    with pytest.raises(ValueError, match="unknown"):
        award.price_score(1, 2, "100-300")
    with pytest.raises(ValueError, match="below the estimate"):
        award.floor_price(100, "88", 100)
    with pytest.raises(ValueError, match="base must"):
        award.minimum_by_net_cost(1, 1, 0)
