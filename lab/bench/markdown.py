"""The tables of docs/benchmarks.md, from measured figures. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.drill import words

BEGIN = "<!-- figures: written by make bench-failover -->"
END = "<!-- end of figures -->"


def tables(result: Mapping[str, Any]) -> str:
    """Everything between BEGIN and END."""
    return "\n".join([BEGIN, _where(result), *_outages(result), *_commits(result), END])


def replaced(document: str, result: Mapping[str, Any]) -> str:
    """The document with new figures. Raises ValueError when it has no place for them."""
    if BEGIN not in document or END not in document:
        raise ValueError(f"no lines {BEGIN} and {END} in the document")
    before, _, rest = document.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + tables(result) + after


def _where(result: Mapping[str, Any]) -> str:
    computer = result["computer"]
    words = ", ".join(f"{name} {value}" for name, value in computer.items() if not isinstance(value, dict))
    return f"\nMeasured {result['started'][:10]}, commit {str(result['commit'])[:10]}; {words}.\n"


def _outages(result: Mapping[str, Any]) -> list[str]:
    lines = [
        "| scenario | variant | n | p50 | p95 | max | detect | decide | promote | route "
        "| acknowledged | lost | duplicated |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in result["spreads"]:
        phases = [one["phases"][name] for name in ("detect_s", "decide_s", "promote_s", "route_s")]
        figures = [_seconds(value) for value in (one["p50_s"], one["p95_s"], one["max_s"])]
        figures += [_phase(value) for value in phases]
        counts = [_count(one[name]) for name in ("acknowledged", "lost", "duplicated")]
        cells = [one["scenario"], one["variant"], _number(one), *figures, *counts]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _commits(result: Mapping[str, Any]) -> list[str]:
    if not result.get("commits"):
        return []
    lines = [
        "",
        "| clients | zero loss, commits/s | local, commits/s | ratio | zero loss, ms | local, ms | rounds |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in result["commits"]:
        cells = [
            str(one["clients"]),
            f"{one['zero_loss_tps']:.0f}",
            f"{one['local_tps']:.0f}",
            f"{one['zero_loss_tps'] / one['local_tps']:.2f}",
            f"{one['zero_loss_ms']:.2f}",
            f"{one['local_ms']:.2f}",
            str(one["rounds"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _number(one: Mapping[str, Any]) -> str:
    """How many runs the figures are of, and of how many, where that is not all."""
    measured = one.get("measured", one["runs"])
    return str(measured) if measured == one["runs"] else f"{measured} of {one['runs']}"


def _phase(value: float | None) -> str:
    return "not measured" if value is None else f"{words.phase(value)} s"


def _seconds(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f} s"


def _count(value: int | None) -> str:
    return "unknown" if value is None else f"{value:,}"
