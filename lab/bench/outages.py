"""Outages of the variants, in one run on one computer: each seed goes through all variants in turn."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.bench.variants import VARIANTS, Variant, write
from lab.drill.drill import Report
from lab.drill.matrix_run import Asked, run_matrix
from lab.drill.matrix_table import PHASES, median, percentile
from lab.laboratory import Lab

SCENARIOS = ("host-loss", "site-loss-quick")
SETTLE_S = 3.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Measured:
    """One drill of one variant."""

    variant: str
    row: Mapping[str, Any]


def run(
    clone: Path, sites: Path, seeds: Mapping[str, Sequence[int]], root: Path, show: Report, say: Say
) -> Iterator[Measured]:
    """Each drill when it is done. `seeds`: variant -> its seeds.

    Raises what the lab raises; a drill that fails is a row.
    """
    root.mkdir(parents=True, exist_ok=True)
    for seed in sorted({seed for given in seeds.values() for seed in given}):
        for name, variant in VARIANTS.items():
            if seed not in seeds.get(name, ()):
                continue
            say(f"--- seed {seed}: {variant.says}")
            yield from _one(clone, sites, variant, seed, root, show, say)
            time.sleep(SETTLE_S)


def _one(
    clone: Path, sites: Path, variant: Variant, seed: int, root: Path, show: Report, say: Say
) -> list[Measured]:
    lab = Lab.of_clone(clone, write(variant, sites, root))
    _, summary = run_matrix(lab, Asked(SCENARIOS, (seed,)), root, show, say, keep=False)
    return [Measured(variant.name, row) for row in summary["runs"]]


@dataclass(frozen=True, slots=True)
class Spread:
    """One variant in one scenario. Seconds; None: nothing was measured. `phases`: medians."""

    variant: str
    scenario: str
    runs: int
    measured: int  # of which so many have a figure
    p50_s: float | None
    p95_s: float | None
    max_s: float | None
    phases: dict[str, float | None]
    acknowledged: int | None
    lost: int | None
    duplicated: int | None
    failed: tuple[str, ...]  # why drills failed, for another reason than their duration too


def spreads(measured: Sequence[Measured]) -> tuple[Spread, ...]:
    """In the order of VARIANTS, scenario by scenario."""
    made = []
    for scenario in SCENARIOS:
        for name in VARIANTS:
            rows = [one.row for one in measured if (one.variant, one.row["scenario"]) == (name, scenario)]
            if rows:
                made.append(_spread(name, scenario, rows))
    return tuple(made)


def _spread(variant: str, scenario: str, rows: Sequence[Mapping[str, Any]]) -> Spread:
    known = [row["rto_seconds"] for row in rows if row["rto_seconds"] is not None]
    phases = {
        phase: median(value for row in rows if (value := (row["phases"] or {}).get(phase)) is not None)
        for phase in PHASES
    }
    return Spread(
        variant=variant,
        scenario=scenario,
        runs=len(rows),
        measured=len(known),
        p50_s=median(known),
        p95_s=percentile(known, 95),
        max_s=max(known, default=None),
        phases=phases,
        acknowledged=_sum(rows, "acknowledged"),
        lost=_sum(rows, "lost"),
        duplicated=_sum(rows, "duplicated"),
        failed=tuple(why for row in rows if row["verdict"] != "passed" for why in row["why"]),
    )


def _sum(rows: Sequence[Mapping[str, Any]], name: str) -> int | None:
    values = [row[name] for row in rows]
    return None if any(value is None for value in values) else sum(values)


def as_dict(measured: Sequence[Measured]) -> dict[str, Any]:
    """For the benchmark's JSON."""
    return {
        "runs": [{"variant": one.variant, **one.row} for one in measured],
        "spreads": [dataclasses.asdict(one) for one in spreads(measured)],
    }
