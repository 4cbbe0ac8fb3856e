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
from lab.drill.matrix_table import Row, not_run, row_of
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
            rows.append(_one(lab, name, seed, root, show, say, begun + asked.limit_s))
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


def _one(lab: Lab, name: str, seed: int, root: Path, show: Report, say: Say, end: float) -> Row:
    if time.monotonic() > end:
        return not_run(name, seed, "the time of the matrix was over")
    try:
        make_whole(lab, say)
    except HanbatError as error:
        return not_run(name, seed, f"no whole lab: [{error.code:03d}] {error}")
    evidence, result = run_drill(lab, name, seed, root, show, keep=True)
    say(f"evidence: {evidence.folder}")
    return row_of(result)


def make_whole(lab: Lab, say: Say) -> None:
    """Heals what is injected and waits; a lab that does not come back is taken down and made anew."""
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
            say(f"the lab did not come back by itself; making it anew. [{error.code:03d}] {error}")
            lab.down(say)
    if not lab.is_up():
        lab.up(say)
        say(f"{SETTLE_S:g} s of rest: what is measured is a service that runs, and not its first moments")
        time.sleep(SETTLE_S)
