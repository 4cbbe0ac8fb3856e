"""Korean dates: local time, working days, holidays from a dated table (data/holidays-kr.json)."""

from __future__ import annotations

import json
from datetime import date, datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

KST = ZoneInfo("Asia/Seoul")


class UnknownYear(ValueError):
    """The holidays of a year are not known: the due date cannot be computed, and is not guessed."""


@cache
def _holidays() -> dict[int, frozenset[date]]:
    table = json.loads(files("app.data").joinpath("holidays-kr.json").read_text(encoding="utf-8"))
    return {
        int(year): frozenset(date.fromisoformat(f"{year}-{day}") for day in days)
        for year, days in table["years"].items()
    }


def local_date(moment: datetime) -> date:
    """The date in Korea of an aware time."""
    return moment.astimezone(KST).date()


def iso(moment: datetime) -> str:
    """ISO 8601 with the Korean offset."""
    return moment.astimezone(KST).isoformat()


def is_working_day(day: date) -> bool:
    """Monday to Friday and no public holiday. UnknownYear when the year's holidays are not known."""
    known = _holidays().get(day.year)
    if known is None:
        raise UnknownYear(f"the holidays of {day.year} are not in app/data/holidays-kr.json")
    return day.weekday() < 5 and day not in known


def add_working_days(day: date, count: int) -> date:
    """The ``count``-th working day after ``day`` (the day itself is not counted)."""
    while count > 0:
        day += timedelta(days=1)
        if is_working_day(day):
            count -= 1
    return day


def late_days(due_on: date, moment: datetime) -> int:
    """Calendar days in Korea by which ``moment`` is after ``due_on``; 0 when in time."""
    return max(0, (local_date(moment) - due_on).days)
