"""Health: alive (no database asked) and ready (it can write now).

Ready is asked by load balancers several times a second, so it has its own two connections: a full pool
must not make a working host look dead. The answer is bounded in time whatever the database does.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

from flask import Blueprint, Response, current_app

from app.api.views import reply
from app.database import Database, Transaction
from app.errors import AppError
from app.settings import Settings

blueprint = Blueprint("health", __name__)
PROBES = 2
PROBE = """
    SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only,
           to_regclass('procurement.idempotency') IS NOT NULL AS migrated
"""


class Readiness:
    """Asks the database in a thread of its own; an answer that comes too late counts as not ready."""

    def __init__(self, settings: Settings) -> None:
        self._limit_s = settings.ready_limit_s
        limits = dict.fromkeys(("pool_wait_s", "query_limit_s", "commit_limit_s"), settings.ready_limit_s)
        self._database = Database(replace(settings, pool_size=PROBES, **limits))
        self._lock = threading.Lock()
        self._pid = 0
        self._pending: Future[str | None] | None = None
        self._threads: ThreadPoolExecutor | None = None

    def why_not(self) -> str | None:
        """None when it can write now, else the reason."""
        future = self._ask()
        try:
            return future.result(timeout=self._limit_s)
        except TimeoutError:
            return f"the database did not answer within {self._limit_s} s"

    def close(self) -> None:
        """Close the probe's connections and end its thread."""
        if self._threads is not None:
            self._threads.shutdown(wait=True)
        self._database.close()

    def _ask(self) -> Future[str | None]:
        """Callers that come while a question is open share its answer."""
        with self._lock:
            if self._threads is None or self._pid != os.getpid():
                self._pid, self._pending = os.getpid(), None
                self._threads = ThreadPoolExecutor(1, thread_name_prefix="readiness")
            if self._pending is None or self._pending.done():
                self._pending = self._threads.submit(self._probe)
            return self._pending

    def _probe(self) -> str | None:
        def work(tx: Transaction) -> dict:
            return tx.one(PROBE)

        try:
            row = self._database.peek(work)
        except AppError as error:
            return f"{error}: {error.detail}" if error.detail else str(error)
        if row["standby"]:
            return "the database is a standby"
        if row["read_only"]:
            return "the database is read-only"
        return None if row["migrated"] else "the schema is not there: run python -m app migrate"


@blueprint.get("/healthz/live")
def live() -> Response:
    return reply({"live": True})


@blueprint.get("/healthz/ready")
def ready() -> Response:
    reason = current_app.extensions["readiness"].why_not()
    if reason is None:
        return reply({"ready": True})
    return reply({"ready": False, "reason": reason}, 503)
