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
