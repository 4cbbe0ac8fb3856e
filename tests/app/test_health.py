"""`/healthz/commit`: only a synchronous commit that was acknowledged just now is one."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from app.factory import create_app
from app.health import OneAtATime

from .test_database import eventually, isolated, waiting  # noqa: F401 (a fixture)

pytestmark = pytest.mark.postgres


@pytest.fixture
def quick(settings):
    """An application that waits for half a second."""
    app = create_app(replace(settings, ready_limit_s=0.5))
    yield app
    for name in ("commits", "readiness", "database"):
        app.extensions[name].close()


def messages(server) -> int:
    """How far the WAL has come: an empty message is a few bytes of it."""
    return server.sql("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0]


def test_a_commit_that_is_acknowledged(app, server):
    before = messages(server)
    answer = app.test_client().get("/healthz/commit")
    assert (answer.status_code, answer.json["committed"]) == (200, True)
    assert 0 <= answer.json["took_ms"] < 2000
    assert messages(server) > before


def test_without_the_sync_standby_nothing_is_acknowledged_and_probes_do_not_pile_up(quick, isolated):  # noqa: F811
    client = quick.test_client()
    for _ in range(3):
        began_s = time.monotonic()
        answer = client.get("/healthz/commit")
        assert time.monotonic() - began_s < 1.5
        assert answer.status_code == 503
        assert answer.json["committed"] is False
        assert len(waiting(isolated)) <= 2  # the one before may not know yet that its client is gone
    assert client.get("/healthz/ready").status_code == 200  # which is why `ready` does not say it


def test_a_commit_that_waits_for_nobody_is_none(quick, server):
    server.sql("ALTER ROLE procurement_app SET synchronous_commit = local")
    try:
        answer = quick.test_client().get("/healthz/commit")
        assert answer.status_code == 503
        assert "synchronous_commit is local" in answer.json["reason"]
    finally:
        server.sql("ALTER ROLE procurement_app RESET synchronous_commit")


def test_a_read_only_server_and_none_at_all(settings, quick, server):
    server.sql("ALTER ROLE procurement_app SET default_transaction_read_only = on")
    try:
        answer = quick.test_client().get("/healthz/commit")
        assert answer.status_code == 503
        assert "read-only" in answer.json["reason"]
    finally:
        server.sql("ALTER ROLE procurement_app RESET default_transaction_read_only")
    away = create_app(replace(settings, dsn="host=127.0.0.1 port=1 dbname=procurement"))
    answer = away.test_client().get("/healthz/commit")
    assert answer.status_code == 503
    assert "cannot be reached" in answer.json["reason"]
    away.extensions["commits"].close()


def test_callers_share_the_answer_under_way_and_one_of_a_moment_ago():
    asked, go = [], threading.Event()

    def ask() -> int:
        asked.append(time.monotonic())
        go.wait(5)
        return len(asked)

    one = OneAtATime("test", ask, shared_s=0.3)
    with ThreadPoolExecutor(4) as callers:
        answers = [callers.submit(one.answer, 5) for _ in range(4)]
        eventually(lambda: bool(asked))
        with pytest.raises(TimeoutError):
            one.answer(0.05)
        go.set()
        assert {answer.result(5) for answer in answers} == {1}
    while time.monotonic() - asked[0] < 0.25:
        assert one.answer(5) == 1
    time.sleep(0.35)
    assert one.answer(5) == 2
    one.close()
