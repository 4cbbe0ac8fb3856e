"""Ages by one's own clock."""

from __future__ import annotations

from failover.freshness import NEVER_MS, Freshness


def test_the_first_word_may_be_the_last_of_a_dead_observer() -> None:
    seen = Freshness()
    seen.note("gg/1", 41, 1000)
    assert seen.since_advance_ms("gg/1", 1000) == NEVER_MS
    seen.note("gg/1", 42, 1300)
    assert seen.since_advance_ms("gg/1", 1500) == 200


def test_a_number_read_again_is_not_news() -> None:
    seen = Freshness()
    for now in (0, 300, 600):
        seen.note("gg/1", 1 if now == 0 else 2, now)
    assert seen.since_advance_ms("gg/1", 1000) == 700


def test_a_change_counts_from_when_it_was_first_read() -> None:
    seen = Freshness()
    assert seen.since_change_ms("operation", 50) == 0
    seen.note("operation", 9, 100)
    assert seen.since_change_ms("operation", 350) == 250


def test_a_sleeper_finds_everything_old() -> None:
    seen = Freshness()
    seen.note("gg/1", 1, 0)
    seen.note("gg/1", 2, 100)
    assert seen.since_advance_ms("gg/1", 60_100) == 60_000


def test_what_changed_while_nothing_was_read_may_be_old() -> None:
    """An observer publishes once more, and dies with etcd's majority; when it is back, that word is read."""
    seen = Freshness()
    seen.note("gg/1", 1, 0)
    seen.note("gg/1", 2, 300)
    seen.doubt()
    seen.note("gg/1", 3, 50_000)
    assert seen.since_advance_ms("gg/1", 50_000) == NEVER_MS
    assert seen.since_change_ms("gg/1", 50_200) == 200
    seen.note("gg/1", 4, 50_300)
    assert seen.since_advance_ms("gg/1", 50_300) == 0


def test_a_number_that_stood_through_a_break_is_news_when_it_advances() -> None:
    seen = Freshness()
    seen.note("gg/1", 1, 0)
    seen.note("gg/1", 2, 300)
    seen.doubt()
    seen.note("gg/1", 2, 50_000)
    assert seen.since_advance_ms("gg/1", 50_000) == NEVER_MS
    seen.note("gg/1", 3, 50_300)
    assert seen.since_advance_ms("gg/1", 50_300) == 0
