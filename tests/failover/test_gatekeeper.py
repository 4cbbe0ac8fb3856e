"""What a gatekeeper closes, opens and holds, by value."""

from __future__ import annotations

from failover.gatekeeper import BLIND_MS, OPEN_ALL, Hold, Sight, Steering, holding, steering
from failover.handover import Handover, Pooler, PoolerState, decode_handover, decode_pooler, encode

HOSTS = frozenset({"dj-db1", "dj-db2", "gg-db1"})
AT_HOME = Steering("dj-db1", frozenset({"dj-db2", "gg-db1"}))
HANDOVER = Handover("h1", "dj-db1", "gg-db1", limit_ms=9000)


def sight(holder: str | None = "dj-db1", handover: Handover | None = None, at_ms: int = 0) -> Sight:
    return Sight(holder, handover, at_ms)


def test_only_the_holder_of_the_lock_is_open():
    assert steering(sight(), HOSTS, OPEN_ALL, 100) == AT_HOME


def test_a_new_holder_closes_the_old_primary():
    after = steering(sight("gg-db1"), HOSTS, AT_HOME, 100)
    assert after == Steering("gg-db1", frozenset({"dj-db1", "dj-db2"}))


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
    assert holding(sight(handover=HANDOVER), None, frozenset(), 500) == Hold("h1", 500)


def test_a_hold_ends_when_it_is_gone_from_etcd():
    assert holding(sight(), Hold("h1", 500), frozenset(), 600) is None


def test_a_hold_ends_at_its_limit_though_etcd_still_has_it():
    before = Hold("h1", 500)
    assert holding(sight(handover=HANDOVER), before, frozenset(), 9499) == before
    assert holding(sight(handover=HANDOVER), before, frozenset(), 9500) is None


def test_a_spent_hold_is_never_obeyed_again():
    assert holding(sight(handover=HANDOVER), None, frozenset({"h1"}), 20_000) is None


def test_another_hold_ends_the_first():
    """It is let go first: the next turn obeys the new one, with a limit of its own."""
    assert holding(sight(handover=HANDOVER), Hold("h0", 100), frozenset(), 600) is None


def test_what_is_written_is_read():
    word = Pooler("dj-app1", PoolerState.HELD, "h1", "dj-db1")
    assert decode_pooler(encode(word)) == word
    assert decode_handover(encode(HANDOVER)) == HANDOVER


def test_a_hold_ends_as_soon_as_the_candidate_has_arrived():
    """The process that asked for it need not say so; the old primary, still believed, ends nothing."""
    before = Hold("h1", 500)
    assert holding(sight("gg-db1", HANDOVER), before, frozenset(), 900, "gg-db1") is None
    assert holding(sight("dj-db1", HANDOVER), before, frozenset(), 900, "dj-db1") == before
    assert holding(sight("gg-db1", HANDOVER), before, frozenset(), 900, None) == before
