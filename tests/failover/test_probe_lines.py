"""A lost packet is not a silent host: against a real server, behind a port that can hold answers back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import psycopg2
import pytest

from failover.observer import monotonic_ms
from failover.probe_lines import Lines, Patience, Row, Silent

from ..replication.salvage_servers import free_port
from .held_lines import Held, held
from .probed_server import own_folder, primary, sql

pytestmark = pytest.mark.postgres

QUERY = "SELECT nextval('asked')"


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with own_folder() as folder, primary(folder) as number:
        sql(number, "CREATE SEQUENCE asked")
        yield number


@pytest.fixture
def way(server: int) -> Iterator[Held]:
    with held(server) as made:
        yield made


def lines(
    way: Held, patience: Patience | None = None, *, warm: int = 4, user: str = "hanbat_observer"
) -> Lines:
    """Asked often enough that its spare connection is there."""
    dsn = f"host=127.0.0.1 port={way.port} user={user} dbname=postgres"
    made = Lines(dsn, QUERY, monotonic_ms, patience or Patience())
    for _ in range(warm):
        made.ask()
        time.sleep(0.05)
    return made


def timed(asked: Lines) -> tuple[Row | None, int]:
    """The answer, or None; and how long it took in ms."""
    began = monotonic_ms()
    try:
        row = asked.ask()
    except Silent:
        row = None
    return row, monotonic_ms() - began


ONE = Patience(spare=1, most=1)  # what an observer had before: the planted bug of these tests


def test_two_connections_are_kept_and_take_turns(way: Held) -> None:
    asked = lines(way, warm=10)
    assert way.made == 2
    asked.close()


def test_a_lost_answer_is_asked_for_again_beside_it(way: Held) -> None:
    asked = lines(way)
    way.hold(0)
    for _ in range(4):  # also when it is the silent one's turn
        row, took = timed(asked)
        assert row is not None
        assert took < Patience().answer_ms
    asked.close()


def test_with_one_connection_it_would_be_silence(way: Held) -> None:
    asked = lines(way, ONE)
    way.hold(0)
    assert timed(asked)[0] is None
    asked.close()


def test_an_answer_that_is_late_counts(way: Held) -> None:
    """A lost packet on every connection: TCP sends it again, and nobody has to log in anew."""
    asked = lines(way)
    way.hold()
    assert timed(asked)[0] is None
    threading.Timer(0.1, way.let_go).start()
    row, took = timed(asked)
    assert row is not None
    assert took < 300
    asked.close()


def test_a_late_answer_to_an_older_question_does_not_count(way: Held) -> None:
    asked = lines(way)
    way.hold(0)
    seen = [asked.ask()[0] for _ in range(3)]
    way.let_go()
    time.sleep(0.1)  # the answer that was held back is there now, and older than what has been told
    seen += [asked.ask()[0] for _ in range(6)]
    assert seen == sorted(seen)
    asked.close()


def test_an_answer_that_is_too_late_does_not_count(way: Held) -> None:
    """An observer that slept, or a line that woke: what is told is of now."""
    asked = lines(way, Patience(kept_ms=400))
    before = asked.ask()[0]
    way.hold()
    assert timed(asked)[0] is None
    time.sleep(0.5)
    way.let_go()
    time.sleep(0.1)  # up to two answers wait
    row = asked.ask()
    assert row[0] > before + 2
    asked.close()


def test_a_silent_host_costs_few_connections_and_each_question_ends_in_time(way: Held) -> None:
    asked = lines(way)
    way.hold()
    for _ in range(6):
        row, took = timed(asked)
        assert row is None
        assert took <= Patience().connect_ms + 300
        assert len(way.open) <= Patience().most
    assert way.made <= 2 + 2 * 6
    asked.close()


def test_after_a_silence_the_first_answer_comes_at_once(way: Held) -> None:
    asked = lines(way)
    way.hold()
    for _ in range(4):
        assert timed(asked)[0] is None
    way.let_go()
    row, took = timed(asked)
    assert row is not None
    assert took < Patience().answer_ms
    asked.close()


def test_a_connection_that_the_server_ended_is_told_once(server: int, way: Held) -> None:
    asked = lines(way)
    sql(server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    with pytest.raises(psycopg2.OperationalError, match=r"terminating connection|closed the connection"):
        asked.ask()
    asked.close()
    assert timed(asked)[0] is not None
    asked.close()


def test_a_refusal_is_told_at_once() -> None:
    asked = Lines(f"host=127.0.0.1 port={free_port()}", QUERY, monotonic_ms, Patience())
    for _ in range(2):
        began = monotonic_ms()
        with pytest.raises(psycopg2.OperationalError, match="refused"):
            asked.ask()
        assert monotonic_ms() - began < 300


def test_a_spare_that_cannot_be_made_is_no_failure(server: int, way: Held) -> None:
    sql(server, "CREATE ROLE poor LOGIN CONNECTION LIMIT 1", "GRANT USAGE ON SEQUENCE asked TO poor")
    asked = lines(way, warm=1, user="poor")
    for _ in range(4):
        assert timed(asked)[0] is not None
        time.sleep(0.05)
    assert way.made == 2  # a server that is full is not asked for more eight times a second
    asked.close()


def test_a_server_that_refuses_is_tried_with_each_question(server: int, way: Held) -> None:
    """Nothing else works: the first login that is let in counts."""
    asked = lines(way, warm=0, user="nobody")
    for tried in range(1, 4):
        with pytest.raises(psycopg2.OperationalError, match="does not exist"):
            asked.ask()
        assert way.made == tried
    sql(server, "CREATE ROLE nobody LOGIN", "GRANT USAGE ON SEQUENCE asked TO nobody")
    assert timed(asked)[0] is not None
    asked.close()
