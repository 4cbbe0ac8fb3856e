"""The report of the LSN ring as Prometheus metrics. What is unknown is absent, never 0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

GAUGES = {
    "rpo_seconds": ("hanbat_rpo_seconds", "Age of the oldest write that the other site has not received."),
    "lag_bytes": ("hanbat_rpo_bytes", "WAL that the other site has not received."),
    "primary_lsn": ("hanbat_primary_lsn_bytes", "Last known position of the primary's flushed WAL."),
    "received_lsn": ("hanbat_received_lsn_bytes", "Last position that the other site is proved to have."),
    "age_seconds": ("hanbat_rpo_age_seconds", "Age of the newest sample of the primary."),
}


class _Collector:
    def __init__(self, report: dict[str, Any]) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        report = self._report
        for key, (name, text) in GAUGES.items():
            if report[key] is not None:
                yield GaugeMetricFamily(name, text, value=float(report[key]))
        known = 1.0 if report["known"] == "yes" else 0.0
        yield GaugeMetricFamily("hanbat_rpo_known", "1 when the RPO is known now, 0 when not.", value=known)
        safe = GaugeMetricFamily("hanbat_site_safe", "1 for the state that holds.", labels=["state"])
        for state in ("yes", "no", "unknown"):
            safe.add_metric([state], 1.0 if report["site_safe"] == state else 0.0)
        yield safe


def exposition(report: dict[str, Any]) -> bytes:
    """The text that Prometheus scrapes, from one report."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(report))
    return generate_latest(registry)
