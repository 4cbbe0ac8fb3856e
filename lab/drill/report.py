"""`report.html`: one self-contained file made from the evidence alone, Korean first, English beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cached_property
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lab.drill import charts, series, words
from lab.drill.charts import Axis, Mark
from lab.drill.evidence import Evidence
from lab.drill.journal import attempts, records
from lab.drill.measure import DCS, role_samples
from lab.drill.operations import Attempt
from lab.drill.rto import reigns

KST = timezone(timedelta(hours=9), "KST")
BEFORE_S = 3.0
# Moments that are drawn over the charts, in this order; the others stand in the table only.
MARKED = {
    "fault": "fault",
    "resumed": "back",
    "opened": "plain",
    "heal": "plain",
    "rejoined": "plain",
    "home": "plain",
}
FINDINGS_SHOWN = 100


@dataclass(frozen=True)
class ReportData:
    """What a report is made of: nothing but the content of one evidence folder."""

    result: Mapping[str, Any]
    audit: Mapping[str, Any] | None
    attempts: Sequence[Attempt]
    probes: Sequence[Mapping[str, Any]]

    @cached_property
    def moments(self) -> dict[str, float]:
        """Seconds since the epoch of what happened; `opened` and `resumed` are among them."""
        return dict(self.result.get("moments") or {})

    @cached_property
    def zero(self) -> float | None:
        """The fault, or the first attempt when there was no fault; None when nothing was done at all."""
        if "fault" in self.moments:
            return self.moments["fault"]
        return min((attempt.sent_at for attempt in self.attempts), default=None)


def read(evidence: Evidence) -> ReportData:
    """Raises NoEvidence."""
    result = evidence.read_json("result.json")
    audit = evidence.read_json("audit.json") if (evidence.folder / "audit.json").exists() else None
    return ReportData(result, audit, attempts(evidence.operations), tuple(records(evidence.probes)))


def axis_of(data: ReportData) -> Axis | None:
    """The time axis of all charts; None when there is nothing to draw."""
    if data.zero is None or not data.attempts:
        return None
    zero = data.zero
    ended = [attempt.ended_at or attempt.sent_at for attempt in data.attempts]
    load = data.moments.get("load", min(ended))
    marks = tuple(
        Mark(data.moments[name] - zero, *words.moments(data.result)[name], kind)
        for name, kind in MARKED.items()
        if name in data.moments
    )
    outage = _outage(data)
    return Axis(min(load - zero, -BEFORE_S), max(ended) - zero + 1.0, outage, marks)


def _outage(data: ReportData) -> tuple[float, float] | None:
    """The slowest stream's outage, from its last acknowledgement before to its first after."""
    span = data.result.get("outage_span") or data.result.get("stall_span")
    if not span or data.zero is None:
        return None
    return span[0] - data.zero, span[1] - data.zero


def database_hosts(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(host, site title) of every database host, in the order of the topology."""
    return [
        (host["name"], site.get("title") or site["name"])
        for site in result.get("topology") or []
        for host in site["hosts"]
        if "db" in host["roles"]
    ]


def drawings(data: ReportData) -> dict[str, Any]:
    """All charts and the series under them, for the template; empty when there is nothing to draw."""
    axis = axis_of(data)
    if axis is None or data.zero is None:
        return {}
    hosts = database_hosts(data.result)
    names = [host for host, _ in hosts]
    samples = [each for each in role_samples(data.probes) if each.host in names and each.role != DCS]
    shifted = [type(s)(s.at - data.zero, s.host, s.role, s.lock_holder, s.timeline) for s in samples]
    rates = series.write_rate(data.attempts, data.zero, int(axis.first), int(axis.last))
    behind = series.lags(data.probes, data.zero)
    drawn: dict[str, Any] = {
        "marks": charts.mark_labels(axis),
        "lanes": charts.lanes(axis, reigns(shifted, axis.last), hosts),
        "rate": charts.write_rate(axis, rates),
        "lag": charts.lag(axis, behind, names),
        "lag_hosts": names,
        "rates": rates,
        "lags": [sample for sample in behind if axis.first <= sample.at <= axis.last],
    }
    return {name: Markup(value) if isinstance(value, str) else value for name, value in drawn.items()}


def recovery(result: Mapping[str, Any]) -> dict[str, Any]:
    """The recovery time's charts, and how far it is from the objective."""
    rto = result.get("rto_seconds")
    if rto is None:
        return {}
    phases = result.get("phases") or {}
    objective = float(result.get("rto_objective_seconds") or 14400)
    return {
        "bar": Markup(charts.phases(phases, rto)),
        "scale": Markup(charts.objective(rto, objective)),
        "phases": [
            (number, ko, en, *words.PHASES[name], phases.get(name))
            for number, (name, (ko, en)) in enumerate(charts.PHASE_NAMES.items())
        ],
        "times": objective / rto if rto else None,
        "objective": objective,
    }


def opening_rows(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The 15 preliminary prices with their draws, as opened and as published."""
    opened = result.get("opening")
    if not opened:
        return None
    published = opened["published"]
    drawn = opened.get("drawn_numbers") or []
    bars = charts.counts(opened["draw_counts"], drawn)
    rows = [
        {
            "number": n,
            "price": price,
            "count": opened["draw_counts"][n - 1],
            "published": published["draw_counts"][n - 1],
            "drawn": n in drawn,
            "bar": Markup(bars[n]),
        }
        for n, price in enumerate(published["prices"], start=1)
    ]
    same = all(
        opened.get(name) == published[name] for name in ("scheduled_price", "draw_counts", "drawn_numbers")
    )
    return {
        "rows": rows,
        "same": same,
        "drawn_prices": [row["price"] for row in rows if row["drawn"]],
        **opened,
    }


def render(data: ReportData) -> str:
    """The whole report. It loads nothing from anywhere."""
    environment = Environment(
        loader=PackageLoader("lab.drill", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "won": lambda value: "–" if value is None else f"{value:,}",
        "seconds": words.seconds,
        "sentence": words.sentence,
    }
    result = data.result
    started = result.get("started")
    when = datetime.fromisoformat(started) if started else datetime.now(UTC)
    return environment.get_template("report.html.j2").render(
        result=result,
        audit=data.audit,
        drawn=drawings(data),
        recovery=recovery(result),
        opening=opening_rows(result),
        headline=words.headline(result),
        words=words,
        when_kst=when.astimezone(KST),
        when_utc=when.astimezone(UTC),
        findings=findings(data.audit),
    )


def findings(audit: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The findings of all checks, the first ones when there are very many."""
    if not audit:
        return []
    found = [
        {"check": check["name"], **finding} for check in audit["checks"] for finding in check["findings"]
    ]
    return found[:FINDINGS_SHOWN]
