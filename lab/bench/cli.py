"""`hanbat bench`: failover, beside Patroni alone; and what zero loss costs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from hanbat.errors import NotRoot
from lab.bench import commits, markdown, outages
from lab.drill import computer
from lab.laboratory import Lab

CLONE = Path(__file__).resolve().parents[2]
DOCUMENT = CLONE / "docs" / "benchmarks.md"


@click.group()
def bench() -> None:
    """Measure on the lab; docs/benchmarks.md has the figures of the last run that was kept."""


@bench.command("failover")
@click.option("--runs", default=10, show_default=True, type=click.IntRange(1, 100), help="Runs of Hanbat.")
@click.option(
    "--patroni-runs", default=3, show_default=True, type=click.IntRange(0, 100), help="Runs of each Patroni."
)
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(0, 50), help="Rounds of commits.")
@click.option("--seconds", default=5, show_default=True, type=click.IntRange(1, 60), help="Of each round.")
@click.option("--write", is_flag=True, help="Write the figures into docs/benchmarks.md.")
@click.option(
    "--evidence", "root", type=click.Path(path_type=Path), default=Path("evidence"), show_default=True
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def failover(
    runs: int, patroni_runs: int, rounds: int, seconds: int, write: bool, root: Path, as_json: bool
) -> None:
    """Host loss and site loss: Patroni with defaults, Patroni tuned, Hanbat; then commits a second.

    Ctrl-C ends it; what was measured until then is kept, and told.
    """
    if os.geteuid() != 0:
        raise NotRoot("a benchmark makes machines and networks")
    console = Console(stderr=True, highlight=False, soft_wrap=True)

    def say(text: str) -> None:
        console.print(text, markup=False)

    def show(seconds: float, event: str, host: str, detail: str) -> None:
        say(f"{seconds:7.1f} s  {event:20} {host:10} {detail}")

    started = datetime.now(UTC)
    root = root.resolve() / f"bench-{started:%Y%m%dT%H%M%SZ}"
    sites = CLONE / "sites.yml"
    seeds = {"hanbat": range(1, runs + 1)}
    seeds |= {name: range(1, patroni_runs + 1) for name in ("patroni-default", "patroni-tuned")}
    measured: list[outages.Measured] = []
    try:
        measured.extend(outages.run(CLONE, sites, seeds, root, show, say))
    except KeyboardInterrupt:
        if not measured:
            raise
        say(f"interrupted: the {len(measured)} drills until here count; no commits are measured")
        rounds = 0
    result: dict[str, Any] = {
        "started": started.isoformat(),
        "commit": computer.commit_of(CLONE),
        "computer": computer.computer(),
        **outages.as_dict(measured),
        "commits": [],
    }
    _keep(root, result)  # also when what follows fails
    if rounds:
        result["commits"] = [asdict(one) for one in _commits(sites, rounds, seconds, say)]
        _keep(root, result)
    if write:
        text = markdown.replaced(DOCUMENT.read_text(encoding="utf-8"), result)
        DOCUMENT.write_text(text, encoding="utf-8")
    click.echo(json.dumps(result, indent=1, ensure_ascii=False) if as_json else markdown.tables(result))


def _keep(root: Path, result: dict[str, Any]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    (root / "benchmark.json").write_text(json.dumps(result, indent=1, ensure_ascii=False), encoding="utf-8")


def _commits(sites: Path, rounds: int, seconds: int, say: Any) -> tuple[commits.Compared, ...]:
    lab = Lab.of_clone(CLONE, sites)
    ours = not lab.is_up()
    lab.up(say)
    try:
        primary = commits.primary_of(lab)
        return commits.compared(commits.measure(lab, primary, rounds=rounds, seconds=seconds, say=say))
    finally:
        if ours:
            lab.down(say)
