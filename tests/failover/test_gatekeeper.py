"""What a gatekeeper closes, opens and holds, by value."""

from __future__ import annotations

from dataclasses import replace

from failover.gatekeeper import ARRIVAL_MS, BLIND_MS, OPEN_ALL, Hold, Sight, Steering, holding, steering
from failover.handover import Handover, Pooler, PoolerState, decode_handover, decode_pooler, encode

HOSTS = frozenset({"dj-db1", "dj-db2", "gg-db1"})
AT_HOME = Steering("dj-db1", frozenset({"dj-db2", "gg-db1"}))
HANDOVER = Handover("h1", "dj-db1", "gg-db1", limit_ms=9000)


def sight(holder: str | None = "dj-db1", handover: Handover | None = None, at_ms: int = 0) -> Sight:
    return Sight(holder, handover, at_ms)


def test_only_the_holder_of_the_lock_is_open():
    assert steering(sight(), HOSTS, OPEN_ALL, 100) == AT_HOME


def test_the_first_holder_is_open_at_once():
    """Clients may be at work there; nothing has moved."""
    assert not steering(sight(), HOSTS, OPEN_ALL, 100).arriving
    assert not AT_HOME.arriving


def test_a_new_holder_closes_the_old_primary_and_is_let_in_when_it_accepts_writes():
    """Planted: were it open at once, clients would be sent away by a server that still recovers."""
    after = steering(sight("gg-db1"), HOSTS, AT_HOME, 100, arrived="dj-db1")
    assert after == Steering("gg-db1", HOSTS, 100)
    assert after.arriving
    assert steering(sight("gg-db1"), HOSTS, after, 400, arrived=None) == after
    arrived = steering(sight("gg-db1"), HOSTS, after, 500, arrived="gg-db1")
    assert arrived == Steering("gg-db1", frozenset({"dj-db1", "dj-db2"}), 100)
    assert steering(sight("gg-db1"), HOSTS, arrived, 600, arrived="gg-db1") == arrived


def test_a_holder_that_does_not_arrive_is_left_to_haproxys_checks():
    after = steering(sight("gg-db1", at_ms=5000), HOSTS, AT_HOME, 100)
    late = steering(sight("gg-db1", at_ms=5000), HOSTS, after, 100 + ARRIVAL_MS)
    assert late == Steering("gg-db1", frozenset({"dj-db1", "dj-db2"}), 100)


def test_a_holder_that_comes_home_again_arrives_anew():
    away = Steering("gg-db1", frozenset({"dj-db1", "dj-db2"}), 100)
    assert steering(sight("dj-db1"), HOSTS, away, 900, arrived="gg-db1") == Steering("dj-db1", HOSTS, 900)


def test_a_free_lock_changes_nothing():
    """Between two holders there is nobody to open; opening the others would only mislead clients."""
    assert steering(sight(None), HOSTS, AT_HOME, 100) == AT_HOME


def test_blind_for_long_means_all_open():
    """Without etcd HAProxy's own checks must be able to find a primary."""
    assert steering(sight(), HOSTS, AT_HOME, BLIND_MS) == AT_HOME
    assert steering(sight(), HOSTS, AT_HOME, BLIND_MS + 1) == OPEN_ALL
    assert steering(None, HOSTS, AT_HOME, 0) == OPEN_ALL


def test_a_holder_that_is_not_in_the_topology_closes_nobody():
    assert steering(sight("stranger"), HOSTS, AT_HOME, 100) == OPEN_ALL


def test_a_hold_is_obeyed_from_when_it_is_seen():
    assert holding(sight(handover=HANDOVER), None, frozenset(), 500, AT_HOME) == Hold("h1", 500)


def test_a_hold_ends_when_it_is_gone_from_etcd():
    assert holding(sight(), Hold("h1", 500), frozenset(), 600, AT_HOME) is None


def test_a_hold_ends_at_its_limit_though_etcd_still_has_it():
    before = Hold("h1", 500)
    assert holding(sight(handover=HANDOVER), before, frozenset(), 9499, AT_HOME) == before
    assert holding(sight(handover=HANDOVER), before, frozenset(), 9500, AT_HOME) is None


def test_a_spent_hold_is_never_obeyed_again():
    assert holding(sight(handover=HANDOVER), None, frozenset({"h1"}), 20_000, AT_HOME) is None


def test_another_hold_ends_the_first():
    """It is let go first: the next turn obeys the new one, with a limit of its own."""
    assert holding(sight(handover=HANDOVER), Hold("h0", 100), frozenset(), 600, AT_HOME) is None


def test_new_transactions_wait_while_a_new_holder_is_promoted():
    arriving = Steering("dj-db2", HOSTS, 300)
    begun = holding(sight("dj-db2"), None, frozenset(), 310, arriving)
    assert begun is not None
    assert holding(sight("dj-db2"), begun, frozenset(), 400, arriving) == begun
    assert holding(sight("dj-db2"), begun, frozenset(), 500, replace(arriving, closed=frozenset())) is None
    again = Steering("dj-db1", HOSTS, 900)
    assert holding(sight("dj-db1"), begun, frozenset(), 900, again) is None  # another arrival: anew


def test_what_is_written_is_read():
    word = Pooler("dj-app1", PoolerState.HELD, "h1", "dj-db1")
    assert decode_pooler(encode(word)) == word
    assert decode_handover(encode(HANDOVER)) == HANDOVER


def test_a_hold_ends_as_soon_as_the_candidate_has_arrived():
    """The process that asked for it need not say so; the old primary, still open, ends nothing."""
    before = Hold("h1", 500)
    there = Steering("gg-db1", frozenset({"dj-db1", "dj-db2"}), 700)
    assert holding(sight("gg-db1", HANDOVER), before, frozenset(), 900, there) is None
    assert holding(sight("dj-db1", HANDOVER), before, frozenset(), 900, AT_HOME) == before
    assert (
        holding(sight("gg-db1", HANDOVER), before, frozenset(), 900, replace(there, closed=HOSTS)) == before
    )
    assert holding(sight("gg-db1", HANDOVER), None, frozenset(), 950, there) is None
