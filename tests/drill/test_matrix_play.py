"""The end of a matrix drill, with made-up steps: what is owed there fails it and leaves it not in doubt."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lab.drill import matrix_play
from lab.drill.clock import Clock
from lab.drill.drill import Drill
from lab.drill.errors import WaitedTooLong
from lab.drill.matrix_scenarios import MATRIX


class FakeLoad:
    """A load that has so many lives done when it is asked, and then stops."""

    def __init__(self, lives_done: int) -> None:
        self._seen: Any = SimpleNamespace(status={"lives_done": lives_done})

    def wait(self, ok: Any, *, what: str, limit_s: float) -> float:
        if not ok(self._seen):
            raise WaitedTooLong(f"{what}: not within {limit_s:g} s")
        return 1.0

    def do(self, command: str, *, limit_s: float) -> dict[str, Any]:
        return {"stopped_at": 1.0, "lives_done": 0}


@pytest.mark.parametrize("lives", [0, 1])
def test_no_whole_life_of_a_tender_fails_the_drill_and_it_is_audited(monkeypatch, lives):
    audited: list[Drill] = []
    for step in ("steady", "under_fault", "rejoin", "go_home"):
        monkeypatch.setattr(matrix_play, step, lambda *given: None)
    monkeypatch.setattr(matrix_play, "judge", lambda drill, load: audited.append(drill))
    nothing: Any = None
    drill = Drill(
        nothing, MATRIX["backup-db-loss"], "r", 1, Clock.anchored_now(), nothing, nothing, lambda *line: None
    )
    load: Any = FakeLoad(lives)
    matrix_play.play(drill, load)
    assert [("a whole life of a tender" in failure) for failure in drill.failures] == [True] * (lives == 0)
    assert audited == [drill]
    assert drill.moments["stopped"] == 1.0
