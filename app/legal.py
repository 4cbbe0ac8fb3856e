"""Legal windows and rates as dated data (data/legal-windows.json, data/rates.json)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any

from app.working_days import KST, is_working_day, iso, local_date


@dataclass(frozen=True, slots=True)
class Windows:
    """The legal windows in force on a day."""

    notice_days: dict[str, list[dict[str, int]]]
    urgent_notice_days: int
    bidding_hours: int
    deadline_from: time
    deadline_until: time
    opening_after_deadline_minutes: int
    least_bids: int
    inspection_days: int
    payment_working_days: int
    subcontract_payment_days: int

    def least_notice(self, kind: str, base_amount: int, *, urgent: bool) -> timedelta:
        """The least time from notice to deadline."""
        if urgent:
            return timedelta(days=self.urgent_notice_days)
        fitting = [row["days"] for row in self.notice_days[kind] if base_amount >= row["from_won"]]
        return timedelta(days=max(fitting))


@cache
def _load(name: str) -> Any:
    return json.loads(files("app.data").joinpath(name).read_text(encoding="utf-8"))


def windows_on(day: date) -> Windows:
    """The row in force on ``day``; LookupError when the table does not reach back to it."""
    rows = [row for row in _load("legal-windows.json")["windows"] if date.fromisoformat(row["from"]) <= day]
    if not rows:
        raise LookupError(f"no legal windows are known for {day}")
    row = dict(max(rows, key=lambda entry: entry["from"]))
    del row["from"]
    for name in ("deadline_from", "deadline_until"):
        row[name] = time.fromisoformat(row[name])
    return Windows(**row)


def rates_on(day: date, kind: str) -> set[Decimal]:
    """Every rate (percent) in force on ``day`` for a kind of tender."""
    return {
        Decimal(row["rate_percent"])
        for row in _load("rates.json")["rates"]
        if row["kind"] == kind
        and date.fromisoformat(row["from"]) <= day
        and (row["until"] is None or day <= date.fromisoformat(row["until"]))
    }


def window_faults(
    *, noticed_at: datetime, deadline: datetime, opening_at: datetime, kind: str, base: int, urgent: bool
) -> list[str]:
    """What is wrong with a tender's windows; empty when they are legal. UnknownYear may be raised."""
    law = windows_on(local_date(noticed_at))
    faults = []
    notice = law.least_notice(kind, base, urgent=urgent)
    if deadline - noticed_at < notice:
        faults.append(
            f"the deadline must be at least {notice.days} days after the notice ({iso(noticed_at)})"
        )
    if deadline - noticed_at < timedelta(hours=law.bidding_hours):
        faults.append(f"bidding must last at least {law.bidding_hours} hours")
    clock = deadline.astimezone(KST).timetz().replace(tzinfo=None)
    if not law.deadline_from <= clock <= law.deadline_until:
        faults.append(
            f"the deadline must fall within {law.deadline_from:%H:%M}-{law.deadline_until:%H:%M} KST"
        )
    if not is_working_day(local_date(deadline)):
        faults.append(f"the deadline {local_date(deadline)} must be a working day")
    if opening_at - deadline != timedelta(minutes=law.opening_after_deadline_minutes):
        faults.append(f"the opening must be {law.opening_after_deadline_minutes} minutes after the deadline")
    return faults
