"""What Prometheus reads at /metrics; works with several workers when PROMETHEUS_MULTIPROC_DIR is set."""

from __future__ import annotations

import os
import time

from flask import Blueprint, Flask, Response, g, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

blueprint = Blueprint("metrics", __name__)
REQUESTS = Counter("procurement_requests_total", "Requests answered", ["route", "method", "status"])
SECONDS = Histogram(
    "procurement_request_seconds",
    "Time to answer, seconds",
    ["route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15),
)
REFUSALS = Counter("procurement_errors_total", "Errors answered, by code", ["code"])


def install(app: Flask) -> None:
    """Measure every request of the application."""

    @app.before_request
    def start() -> None:
        g.started_s = time.monotonic()

    @app.after_request
    def count(response: Response) -> Response:
        route = request.url_rule.rule if request.url_rule else "none"
        REQUESTS.labels(route, request.method, response.status_code).inc()
        SECONDS.labels(route).observe(time.monotonic() - g.get("started_s", time.monotonic()))
        return response


@blueprint.get("/metrics")
def metrics() -> Response:
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
