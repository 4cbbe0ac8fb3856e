"""People are called once for one trouble, and not for one that is over in a second."""

from __future__ import annotations

import pytest

from failover.effects import PATIENCE_MS, QUIET_MS, Journal


class Clock:
    now_ms = 0

    def __call__(self) -> int:
        return self.now_ms


def said(caplog: pytest.LogCaptureFixture, text: str, at_ms: list[int]) -> list[int]:
    clock, found = Clock(), list[int]()
    journal = Journal(clock)
    for moment in at_ms:
        clock.now_ms = moment
        caplog.clear()
        journal.tell(text, urgent=True)
        found += [moment] if caplog.records else []
    return found


def test_what_happens_once_is_told_at_once(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog, "takeover 4 ended in taken: x", [0, 100]) == [0]


def test_a_missing_proof_is_told_when_it_stays_away(caplog: pytest.LogCaptureFixture) -> None:
    moments = list(range(0, 10_000, 100))
    assert said(caplog, "no proof: x", moments) == [PATIENCE_MS, PATIENCE_MS + QUIET_MS]
    assert said(caplog, "held: x", moments) == [PATIENCE_MS, PATIENCE_MS + QUIET_MS]
    assert said(caplog, "block period: x", moments) == [PATIENCE_MS, PATIENCE_MS + QUIET_MS]


def test_and_not_when_it_comes_within_a_second(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog, "no proof: x", [0, 500, 1000, 9000, 9500]) == []
