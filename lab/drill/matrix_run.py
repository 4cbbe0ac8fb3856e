"""Runs many drills in one lab, one after the other; each finds the lab whole, or it is made anew."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hanbat.errors import HanbatError
from lab import health, record
from lab.drill import matrix_table
from lab.drill.drill import Report
from lab.drill.matrix_play import NOT_AT_HOME
from lab.drill.matrix_table import Row, broken, not_run, row_of
from lab.drill.runner import INTERRUPTED, run_drill
from lab.faults import heal_all
from lab.laboratory import Lab

HEALTHY_S = 60.0
SETTLE_S = 15.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be run: every scenario with every seed, `repeat` times."""

    names: tuple[str, ...]
    seeds: tuple[int, ...]
    repeat: int = 1
    limit_s: float = 6 * 3600.0  # no drill begins after this

    def runs(self) -> list[tuple[str, int]]:
        """Seeds alternate before scenarios do: a slow hour of the computer hits all scenarios."""
        return [(name, seed) for _ in range(self.repeat) for seed in self.seeds for name in self.names]


def run_matrix(
    lab: Lab, asked: Asked, root: Path, show: Report, say: Say, *, keep: bool
) -> tuple[Path, dict[str, Any]]:
    """Runs all; answers the file of the summary and its content. The lab is left as it was found."""
    started, begun = datetime.now(UTC), time.monotonic()
    ours = not lab.is_up()
    rows: list[Row] = []
    file = root.resolve() / f"matrix-{started:%Y%m%dT%H%M%SZ}.json"
    runs = asked.runs()
    try:
        for place, (name, seed) in enumerate(runs, start=1):
            say(f"[{place}/{len(runs)}] {name}, seed {seed}")
            left = _whole(lab, say)
            row, moved = _one(lab, name, seed, root, show, say, begun + asked.limit_s)
            if rows and (left or moved):
                rows[-1] = broken(rows[-1], left or "the primary moved again after it")
            rows.append(row)
            record.save(file, matrix_table.as_dict(rows, time.monotonic() - begun))
            say(matrix_table.text(rows[-1:]).splitlines()[-1])
            if any(INTERRUPTED in why for why in rows[-1].why):
                rows += [not_run(*left, INTERRUPTED) for left in runs[place:]]
                break
    finally:
        summary = matrix_table.as_dict(rows, time.monotonic() - begun)
        record.save(file, summary)
        if ours and not keep and lab.is_up():
            lab.down(say)
    return file, summary


def _one(lab: Lab, name: str, seed: int, root: Path, show: Report, say: Say, end: float) -> tuple[Row, bool]:
    """The drill, and whether the primary was not at home before it."""
    if time.monotonic() > end:
        return not_run(name, seed, "the time of the matrix was over"), False
    if not lab.is_up():
        return not_run(name, seed, "no whole lab"), False
    evidence, result = run_drill(lab, name, seed, root, show, keep=True)
    say(f"evidence: {evidence.folder}")
    return row_of(result), any(event["detail"] == NOT_AT_HOME for event in result["timeline"])


def _whole(lab: Lab, say: Say) -> str:
    """As `make_whole`, but without a lab when none can be made: then none is up."""
    try:
        return make_whole(lab, say)
    except HanbatError as error:
        say(f"no lab: [{error.code:03d}] {error}")
        return ""


def make_whole(lab: Lab, say: Say) -> str:
    """Heals what is injected and waits; a lab that does not come back is taken down and made anew.

    Answers why it had to be, "" when it had not. Raises HanbatError when it cannot be made.
    """
    trouble = ""
    if lab.is_up():
        try:
            heal_all(lab, lambda text: say(f"left by the drill before: {text}"))
            client = lab.names.client
            health.wait(
                lambda: health.conditions(lab.topology, client),
                limit_s=HEALTHY_S,
                explain=lambda hosts: f"look at: {', '.join(hosts)}",
                progress=say,
            )
        except HanbatError as error:
            trouble = f"the lab did not come back by itself: [{error.code:03d}] {str(error).splitlines()[0]}"
            say(f"{trouble}; making it anew")
            lab.down(say)
    if not lab.is_up():
        lab.up(say)
        say(f"{SETTLE_S:g} s of rest: what is measured is a service that runs, and not its first moments")
        time.sleep(SETTLE_S)
    return trouble
