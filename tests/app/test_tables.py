"""Dated tables, settings and the drawing of preliminary prices."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import legal, settings, working_days
from app.preliminary import draw_prices
from app.web.words import WORDS

KST = working_days.KST


@pytest.mark.parametrize(
    ("claimed", "due"),
    [
        ("2025-09-26", "2025-10-10"),  # Chuseok, National Foundation Day and Hangul Day in between
        ("2026-02-13", "2026-02-25"),  # Seollal
        ("2026-11-20", "2026-11-27"),
        ("2026-12-24", "2027-01-04"),
        ("2027-02-05", "2027-02-16"),
    ],
)
def test_five_working_days(claimed, due):
    assert working_days.add_working_days(date.fromisoformat(claimed), 5) == date.fromisoformat(due)


def test_an_unknown_year_is_an_error_not_a_guess():
    with pytest.raises(working_days.UnknownYear, match="2028"):
        working_days.add_working_days(date(2027, 12, 30), 5)


def test_late_days_are_counted_in_korea():
    due = date(2026, 11, 20)
    assert working_days.late_days(due, datetime(2026, 11, 20, 14, 59, tzinfo=UTC)) == 0
    assert working_days.late_days(due, datetime(2026, 11, 20, 15, 0, tzinfo=UTC)) == 1


def faults(**changes) -> list[str]:
    values = {
        "noticed_at": datetime(2026, 11, 2, 9, tzinfo=KST),
        "deadline": datetime(2026, 11, 20, 10, tzinfo=KST),
        "opening_at": datetime(2026, 11, 20, 11, tzinfo=KST), "kind": "goods", "base": 10**8, "urgent": False,
    } | changes  # fmt: skip
    return legal.window_faults(**values)


def test_a_legal_window_has_no_fault():
    assert faults() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"noticed_at": datetime(2026, 11, 14, 9, tzinfo=KST)}, "7 days"),
        (
            {"kind": "construction", "base": 2 * 10**9, "noticed_at": datetime(2026, 11, 6, 9, tzinfo=KST)},
            "15 days",
        ),
        ({"kind": "construction", "base": 6 * 10**9}, "40 days"),
        ({"noticed_at": datetime(2026, 11, 16, 9, tzinfo=KST), "urgent": True}, "5 days"),
        ({"deadline": datetime(2026, 11, 20, 9, 59, tzinfo=KST)}, "10:00-17:00"),
        ({"deadline": datetime(2026, 11, 21, 10, tzinfo=KST)}, "working day"),
        ({"opening_at": datetime(2026, 11, 20, 12, tzinfo=KST)}, "60 minutes after"),
    ],
)
def test_an_illegal_window_is_named(changes, words):
    assert any(words in fault for fault in faults(**changes))


def test_rates_are_dated():
    assert Decimal("87.745") in legal.rates_on(date(2026, 1, 29), "construction")
    assert Decimal("87.745") not in legal.rates_on(date(2026, 1, 30), "construction")
    assert Decimal("88.745") in legal.rates_on(date(2026, 1, 30), "construction")


@given(st.integers(10**6, 10**12), st.sampled_from([Decimal(2), Decimal(3)]), st.integers())
def test_preliminary_prices_lie_one_in_each_band(base, percent, seed):
    prices = draw_prices(base, percent, random.Random(seed))
    assert len(prices) == 15
    assert all(price % 100 == 0 for price in prices)
    low, high = base * (100 - percent) / 100, base * (100 + percent) / 100
    width = (high - low) / 15
    for band, price in enumerate(sorted(prices)):
        assert low + band * width <= price <= min(low + (band + 1) * width + 100, high)


def test_every_setting_is_described_and_has_a_value():
    names = set(settings.Settings.__dataclass_fields__)
    assert names == {row.name for row in settings.TABLE}
    for row in settings.TABLE:
        assert row.help
        assert row.variable in settings.describe()
        if row.default is not None:
            assert settings.Settings.__dataclass_fields__[row.name].default == row.default


def test_settings_come_from_the_environment():
    env = {"APP_DSN": "x", "APP_SECRET_KEY": "y", "APP_POOL_SIZE": "3", "APP_COOKIE_SECURE": "1"}
    read = settings.Settings.from_environment(env)
    assert (read.pool_size, read.cookie_secure, read.commit_limit_s) == (3, True, 10.0)
    for name, text in (("APP_POOL_SIZE", "0"), ("APP_POOL_SIZE", "x"), ("APP_COOKIE_SECURE", "yes")):
        with pytest.raises(settings.SettingError, match=name):
            settings.Settings.from_environment(env | {name: text})
    with pytest.raises(settings.SettingError, match="APP_DSN"):
        settings.Settings.from_environment({})


def test_every_text_is_there_in_both_languages():
    assert all(korean and english for korean, english in WORDS.values())


def test_time_is_given_with_the_korean_offset():
    assert working_days.iso(datetime(2026, 11, 20, 1, tzinfo=UTC)) == "2026-11-20T10:00:00+09:00"
    assert working_days.local_date(datetime(2026, 11, 20, 15, tzinfo=UTC)) == date(2026, 11, 20) + timedelta(
        days=1
    )
