"""A kept member streams from the candidate as soon as the old primary has ended; in Patroni's functions."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import psycopg2
import pytest
from patroni.dcs import Cluster, Failover, Leader, Member
from patroni.ha import Ha

from replication.mends import parting as module
from replication.mends.kept_offer import Offer, Offers
from replication.mends.parting import NUDGE, STREAMS, Parting, look_for_the_end, nudged, until_parted

from .handover_parts import OFFER, SYNC, Candidate, Session

MEMBERS = [Member("1", name, None, {}) for name in ("dj-db1", "dj-db2", "gg-db1", "sj-db1")]


@pytest.fixture
def parting(monkeypatch: pytest.MonkeyPatch) -> Parting:
    """As after OFFER was read, at version 7; the wrapped functions are put back afterwards."""
    for name in ("touch_member", "_get_node_to_follow"):
        monkeypatch.setattr(Ha, name, getattr(Ha, name))
    made: list[Parting] = []

    def noted(offers: Offers) -> Parting:
        made.append(Parting(offers))
        return made[-1]

    monkeypatch.setattr(module, "Parting", noted)
    module.install(Offers())
    made[0].offers.note("7", OFFER)
    return made[0]


def follows(
    parting: Parting,
    monkeypatch: pytest.MonkeyPatch,
    holder: str | None,
    name: str = "dj-db2",
    parted: str | None = "7",
) -> Any:
    """Whom Patroni of `name` follows while the offer stands."""
    monkeypatch.setattr(Ha, "is_standby_cluster", lambda self: False)
    ha = Candidate()
    ha.state_handler.name = name
    ha.patroni = SimpleNamespace(nostream=False, replicatefrom=None)
    parting.parted = parted
    leader = Leader("5", "1", next(one for one in MEMBERS if one.name == holder)) if holder else None
    empty, offer = Cluster.empty()._asdict(), Failover("7", "dj-db1", "gg-db1", None)
    cluster = Cluster(**{**empty, "leader": leader, "members": MEMBERS, "failover": offer, "sync": SYNC})
    found = ha._get_node_to_follow(cluster)
    return found and found.name


@pytest.mark.parametrize(
    ("name", "holder", "followed"),
    [
        ("dj-db2", "dj-db1", "gg-db1"),
        ("dj-db2", None, "gg-db1"),
        ("dj-db2", "gg-db1", "gg-db1"),
        ("gg-db1", "dj-db1", "dj-db1"),
        ("dj-db1", None, None),
    ],
)
def test_a_kept_member_streams_from_the_candidate_while_the_offer_stands(
    parting: Parting, monkeypatch: pytest.MonkeyPatch, name: str, holder: str | None, followed: str | None
) -> None:
    assert follows(parting, monkeypatch, holder, name) == followed


def test_while_the_old_primary_streams_it_is_followed(
    parting: Parting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: commits that are under way wait for who has gone."""
    assert follows(parting, monkeypatch, "dj-db1", parted=None) == "dj-db1"
    assert follows(parting, monkeypatch, "dj-db1", parted="6") == "dj-db1"


def test_another_lock_holder_than_the_offers_is_followed(
    parting: Parting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: an offer of yesterday must not lead a standby away from the primary."""
    parting.offers.last = Offer("7", frozenset({"sj-db1"}))
    assert follows(parting, monkeypatch, "dj-db1", "sj-db1") == "gg-db1"
    assert follows(parting, monkeypatch, "dj-db2", "sj-db1") == "dj-db2"


class Waiting:
    """PostgreSQL of a kept member: whether something streams to it, at each look in turn; and a clock."""

    def __init__(self, *streams: bool) -> None:
        self.now, self.woken, self.looks = 0.0, 0, list(streams)
        self.session = Session(**{NUDGE: True, STREAMS: self.looks.pop(0)})

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.looks:
            self.session.answers[STREAMS] = self.looks.pop(0)

    def wakeup(self) -> None:
        self.woken += 1

    def look(self, parting: Parting, version: str = "7") -> None:
        until_parted(self.wakeup, parting, version, self.sleep, lambda: self.now, self.session.new)


def test_the_end_of_the_stream_is_looked_for_once(parting: Parting) -> None:
    ha, looks = Candidate(), list[Any]()
    ha.cluster.failover = Failover("7", "dj-db1", "gg-db1", None)
    ha.state_handler.name = "dj-db2"
    look_for_the_end(ha, parting, looks.append)
    look_for_the_end(ha, parting, looks.append)
    assert (len(looks), parting.parted) == (1, None)


def test_the_end_of_the_stream_wakes_patroni_and_the_candidates_is_waited_for(parting: Parting) -> None:
    waiting = Waiting(True, True, False, False, False, True)
    waiting.look(parting)
    assert (waiting.woken, parting.parted, waiting.looks) == (1, "7", [])
    assert waiting.session.closed


def test_who_is_not_led_to_the_candidate_is_nudged_so_often_and_no_more() -> None:
    waiting = Waiting(False)
    nudged(waiting.session.new(), waiting.sleep)
    assert waiting.now == pytest.approx(module.NUDGES * module.LOOK_S)


@pytest.mark.parametrize("name", ["dj-db1", "gg-db1", "sj-db1"])
def test_who_is_not_kept_looks_for_no_end(parting: Parting, name: str) -> None:
    ha, looks = Candidate(), list[Any]()
    ha.cluster.failover = Failover("7", "dj-db1", "gg-db1", None)
    ha.state_handler.name = name
    look_for_the_end(ha, parting, looks.append)
    assert looks == []


@pytest.mark.parametrize(("version", "limit_s"), [("6", 0.0), ("7", module.LIMIT_S)])
def test_the_look_ends_with_the_offer_and_in_any_case(parting: Parting, version: str, limit_s: float) -> None:
    waiting = Waiting(True)
    waiting.look(parting, version)
    assert (waiting.woken, parting.parted, waiting.session.closed) == (0, None, True)
    assert waiting.now == pytest.approx(limit_s, abs=0.1)


@pytest.mark.parametrize("failure", [psycopg2.OperationalError("gone"), TimeoutError("slow")])
def test_a_postgresql_that_does_not_answer_is_not_led_away(parting: Parting, failure: Exception) -> None:
    waiting = Waiting(True)
    waiting.session.answers[STREAMS] = failure
    waiting.look(parting)
    assert (waiting.woken, parting.parted, waiting.session.closed) == (0, None, True)
