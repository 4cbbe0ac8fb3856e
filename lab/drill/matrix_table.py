"""Many drills as one table and one summary. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from lab.drill import words
from lab.drill.verdict import Verdict

FIGURES = (
    "rto_seconds",
    "outage_seconds",
    "longest_stall_seconds",
    "slowest_wait_seconds",
    "slowest_request_seconds",
    "heal_outage_seconds",
    "switchover_outage_seconds",
)
PHASES = ("detect_s", "decide_s", "promote_s", "route_s")
COUNTS = ("lost", "unknown", "duplicated", "takeovers", "failed_later_requests", "heal_failed_requests")
NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Row:
    """One drill. None is not known, or does not apply.

    `outage_seconds`: of the slowest client stream, over all blows of the fault; `rto_seconds`: of the last.
    """

    scenario: str
    seed: int
    run_id: str
    verdict: str
    rto_seconds: float | None
    outage_seconds: float | None
    longest_stall_seconds: float | None
    slowest_wait_seconds: float | None
    slowest_request_seconds: float | None
    heal_outage_seconds: float | None
    switchover_outage_seconds: float | None
    acknowledged: int | None
    lost: int | None
    unknown: int | None
    duplicated: int | None
    takeovers: int | None
    failed_later_requests: int | None
    heal_failed_requests: int | None
    phases: Mapping[str, float | None] | None
    why: tuple[str, ...]


def row_of(result: Mapping[str, Any]) -> Row:
    """The row of one result.json."""
    figures = {name: result.get(name) for name in (*FIGURES, "acknowledged", *COUNTS, "phases")}
    return Row(
        scenario=result["scenario"],
        seed=result["seed"],
        run_id=result["run_id"],
        verdict=result["verdict"],
        why=tuple(result["why"]),
        **figures,
    )


def not_run(scenario: str, seed: int, why: str) -> Row:
    """A drill that was asked for and could not be run: that is no pass."""
    empty = dict.fromkeys((*FIGURES, "acknowledged", *COUNTS, "phases"))
    return Row(scenario=scenario, seed=seed, run_id="", verdict=NOT_RUN, why=(why,), **empty)


def broken(row: Row, why: str) -> Row:
    """A drill behind which the lab was not whole: whatever it said, it did not pass."""
    return replace(row, verdict=Verdict.FAILED.value, why=(*row.why, why))


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Nearest rank: a value that was measured; None of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)] if ordered else None


def median(values: Iterable[float]) -> float | None:
    """The middle, between the two middle ones of an even number; None of none."""
    known = list(values)
    return statistics.median(known) if known else None


def _spread(values: Iterable[float | None]) -> dict[str, float | int | None]:
    known = [value for value in values if value is not None]
    return {
        "runs": len(known),
        "p50": _round(median(known)),
        "p95": percentile(known, 95),
        "max": max(known, default=None),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Per scenario, in the order of the first run: verdicts, spreads of the figures, sums of the counts."""
    made: dict[str, Any] = {}
    for name in dict.fromkeys(row.scenario for row in rows):
        mine = [row for row in rows if row.scenario == name]
        made[name] = {
            "runs": len(mine),
            "verdicts": {word: sum(row.verdict == word for row in mine) for word in _words(mine)},
            **{figure: _spread(getattr(row, figure) for row in mine) for figure in FIGURES},
            "phases": {
                phase: _spread((row.phases or {}).get(phase) for row in mine if row.phases)
                for phase in PHASES
            },
            **{count: _sum(getattr(row, count) for row in mine) for count in COUNTS},
        }
    return made


def _words(rows: Sequence[Row]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(row.verdict for row in rows))


def _sum(values: Iterable[int | None]) -> int | None:
    """None when one of them is not known: a sum over some is not the sum."""
    known = list(values)
    return None if any(value is None for value in known) else sum(value or 0 for value in known)


def verdict_of(rows: Sequence[Row]) -> Verdict:
    """Failed if one failed, inconclusive if one did not pass or none was run."""
    words = {row.verdict for row in rows}
    if Verdict.FAILED in words:
        return Verdict.FAILED
    return Verdict.PASSED if words == {Verdict.PASSED.value} else Verdict.INCONCLUSIVE


def as_dict(rows: Sequence[Row], seconds: float) -> dict[str, Any]:
    """For matrix-*.json."""
    return {
        "verdict": verdict_of(rows).value,
        "seconds": round(seconds, 1),
        "runs": [asdict(row) | {"why": list(row.why)} for row in rows],
        "scenarios": summary(rows),
    }


HEADS = (
    "scenario",
    "seed",
    "verdict",
    "RTO",
    "stall",
    "wait",
    "lost",
    "unkn",
    "dup",
    "heal",
    "takeovers",
    "why not passed",
)
RIGHT = frozenset({"seed", "RTO", "stall", "wait", "lost", "unkn", "dup", "heal", "takeovers"})


def text(rows: Sequence[Row]) -> str:
    """The table for people."""
    lines = [HEADS, *(_cells(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(HEADS) - 1)]
    return "\n".join(_line(line, widths) for line in lines)


SPREAD_HEADS = (
    "scenario",
    "passed",
    "figure, s",
    "n",
    "p50",
    "p95",
    "max",
    "one client's longest wait: p50, max",
    "gap at the heal: max",
    "detect / decide / promote / route, p50",
)


def spreads(rows: Sequence[Row]) -> str:
    """What clients waited, scenario by scenario, in Markdown: RTO where the primary moved, else the stall."""
    lines = [f"| {' | '.join(SPREAD_HEADS)} |", "|---" * len(SPREAD_HEADS) + "|"]
    for name, one in summary(rows).items():
        figure, word = one["rto_seconds"], "RTO"
        if not figure["runs"]:
            figure, word = one["longest_stall_seconds"], "stall"
        shown = (words.seconds(figure[key], 2) for key in ("p50", "p95", "max"))
        phases = " / ".join(words.phase(one["phases"][phase]["p50"]) for phase in PHASES)
        wait, heal = one["slowest_wait_seconds"], words.seconds(one["heal_outage_seconds"]["max"], 2)
        waits = f"{words.seconds(wait['p50'], 2)}, {words.seconds(wait['max'], 2)}"
        passed = f"{one['verdicts'].get(Verdict.PASSED, 0)} of {one['runs']}"
        cells = (name, passed, word, f"{figure['runs']} of {one['runs']}", *shown, waits, heal, phases)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    figures = [row.rto_seconds, row.longest_stall_seconds, row.slowest_wait_seconds, row.heal_outage_seconds]
    rto, stall, wait, heal = ("-" if value is None else f"{value:.2f}" for value in figures)
    counts = ["?" if value is None else str(value) for value in (row.lost, row.unknown, row.duplicated)]
    takeovers = "?" if row.takeovers is None else str(row.takeovers)
    return (
        row.scenario,
        str(row.seed),
        row.verdict,
        rto,
        stall,
        wait,
        *counts,
        heal,
        takeovers,
        "; ".join(row.why),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = [
        cell.rjust(width) if head in RIGHT else cell.ljust(width)
        for cell, width, head in zip(cells, widths, HEADS, strict=False)
    ]
    return "  ".join([*shown, cells[-1]]).rstrip()
