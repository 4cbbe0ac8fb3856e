"""Health: alive (no database asked), ready (it can write now), commit (a commit was acknowledged just now).

These are asked by load balancers and observers several times a second, so they have connections of their
own: a full pool must not make a working host look dead. Each answer is bounded in time whatever the
database does, and callers that come while a question is open share its answer.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from flask import Blueprint, Response, current_app

from app.api.views import reply
from app.database import Database, Transaction
from app.errors import AppError
from app.settings import Settings

T = TypeVar("T")
blueprint = Blueprint("health", __name__)
PROBES = 2
PROBE = """
    SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only,
           to_regclass('procurement.idempotency') IS NOT NULL AS migrated
"""


SYNCHRONOUS = ("on", "remote_apply")
"""Levels of ``synchronous_commit`` that wait until the sync standbys have flushed."""
COMMITS_SHARED_S = 0.25
"""A commit that began so lately is not repeated: four a second are enough for any number of callers."""


class OneAtATime(Generic[T]):
    """Asks one question at a time, in a thread of its own; who comes meanwhile shares the answer.

    ``shared_s``: an answer is shared for so long after its question began.
    """

    def __init__(self, name: str, ask: Callable[[], T], shared_s: float = 0.0) -> None:
        self._name = name
        self._ask = ask
        self._shared_s = shared_s
        self._lock = threading.Lock()
        self._pid = 0
        self._began_s = 0.0
        self._pending: Future[T] | None = None
        self._threads: ThreadPoolExecutor | None = None

    def answer(self, limit_s: float) -> T:
        """Raises TimeoutError when it is not there in time; the question stays open."""
        return self._open().result(timeout=limit_s)

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True)

    def _open(self) -> Future[T]:
        with self._lock:
            if self._threads is None or self._pid != os.getpid():
                self._pid, self._pending = os.getpid(), None
                self._threads = ThreadPoolExecutor(1, thread_name_prefix=self._name)
            now = time.monotonic()
            old = self._pending is None or (self._pending.done() and now - self._began_s >= self._shared_s)
            if self._pending is None or old:
                self._began_s, self._pending = now, self._threads.submit(self._ask)
            return self._pending


class Readiness:
    """Whether this host can write; an answer that comes too late counts as not ready."""

    def __init__(self, settings: Settings) -> None:
        self._limit_s = settings.ready_limit_s
        limits = dict.fromkeys(("pool_wait_s", "query_limit_s", "commit_limit_s"), settings.ready_limit_s)
        self._database = Database(replace(settings, pool_size=PROBES, **limits))
        self._probes = OneAtATime("readiness", self._probe)

    def why_not(self) -> str | None:
        """None when it can write now, else the reason."""
        try:
            return self._probes.answer(self._limit_s)
        except TimeoutError:
            return f"the database did not answer within {self._limit_s} s"

    def close(self) -> None:
        """Close the probe's connections and end its thread."""
        self._probes.close()
        self._database.close()

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


HOW = """
    SELECT current_setting('synchronous_commit') AS level,
           current_setting('transaction_read_only') = 'on' AS read_only
"""


def unfit(how: dict) -> str | None:
    """Why an acknowledged message says nothing of real writes (it may be written in a read-only one)."""
    if how["read_only"]:
        return "the database is read-only"
    if how["level"] not in SYNCHRONOUS:
        return f"commits wait for no standby: synchronous_commit is {how['level']}"
    return None


@dataclass(frozen=True, slots=True)
class Commit:
    """What became of one commit; ``reason`` is None when it was acknowledged."""

    reason: str | None
    took_ms: int


class Commits:
    """Whether a commit is acknowledged now, by every standby that it has to wait for.

    It writes an empty message to the WAL and touches no table. It has one connection. While a commit
    waits, nobody begins another one: a stalled server must not fill up with probes. It may wait for
    twice as long as a caller does, so that one which is only slow is still heard of.
    """

    def __init__(self, settings: Settings) -> None:
        self._limit_s = settings.ready_limit_s
        limits = dict.fromkeys(("pool_wait_s", "query_limit_s"), settings.ready_limit_s)
        self._database = Database(
            replace(settings, pool_size=1, patience_s=0, commit_limit_s=2 * settings.ready_limit_s, **limits)
        )
        self._commits = OneAtATime("commits", self._commit, COMMITS_SHARED_S)

    def last(self) -> Commit:
        """The commit under way, or one that began a moment ago."""
        try:
            return self._commits.answer(self._limit_s)
        except TimeoutError:
            return Commit(f"no commit was acknowledged within {self._limit_s} s", round(self._limit_s * 1000))

    def close(self) -> None:
        self._commits.close()
        self._database.close()

    def _commit(self) -> Commit:
        def work(tx: Transaction) -> dict:
            return tx.one(HOW)

        began_s = time.monotonic()
        try:
            reason = unfit(self._database.write(work, barrier=lambda _: True))
        except AppError as error:
            reason = f"{error}: {error.detail}" if error.detail else str(error)
        return Commit(reason, round((time.monotonic() - began_s) * 1000))


@blueprint.get("/healthz/live")
def live() -> Response:
    return reply({"live": True})


@blueprint.get("/healthz/ready")
def ready() -> Response:
    reason = current_app.extensions["readiness"].why_not()
    if reason is None:
        return reply({"ready": True})
    return reply({"ready": False, "reason": reason}, 503)


@blueprint.get("/healthz/commit")
def commit() -> Response:
    """200 only if a synchronous commit through this host's pooler was acknowledged just now."""
    last = current_app.extensions["commits"].last()
    if last.reason is None:
        return reply({"committed": True, "took_ms": last.took_ms})
    return reply({"committed": False, "reason": last.reason}, 503)
