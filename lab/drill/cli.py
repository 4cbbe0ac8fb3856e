"""`hanbat drill`: list, run, report."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import click
from rich.console import Console

from hanbat.errors import NotRoot
from lab.drill import evidence as folders
from lab.drill.scenario import SCENARIOS
from lab.drill.verdict import EXIT_STATUS, Verdict

CLONE = Path(__file__).resolve().parents[2]
STYLES = {"fault_active": "bold red", "service_back": "bold green", "lab": "dim", "ended": "bold"}

evidence_option = click.option(
    "--evidence",
    "root",
    type=click.Path(path_type=Path),
    default=Path("evidence"),
    show_default=True,
    help="Folder of all runs' evidence.",
)


@click.group()
def drill() -> None:
    """Rehearse a disaster on the lab, audit every write, keep the evidence."""


@drill.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_command(as_json: bool) -> None:
    """Scenarios that can be run."""
    if as_json:
        click.echo(
            json.dumps([scenario.as_dict() for scenario in SCENARIOS.values()], ensure_ascii=False, indent=2)
        )
        return
    for scenario in SCENARIOS.values():
        click.echo(f"{scenario.name:14} {scenario.title_en} ({scenario.title_ko})")


@drill.command("run")
@click.argument("scenario")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=None,
    help="The same seed makes the same choices; printed when it is drawn.",
)
@click.option("--json", "as_json", is_flag=True, help="Print result.json on standard output.")
@click.option("--keep", is_flag=True, help="Leave the lab up afterwards.")
@evidence_option
@click.pass_context
def run_command(
    ctx: click.Context, scenario: str, seed: int | None, as_json: bool, keep: bool, root: Path
) -> None:
    """Run SCENARIO. Exit status: 0 passed, 1 failed, 5 inconclusive."""
    from lab.drill.runner import run_drill, scenario_named
    from lab.laboratory import Lab

    scenario_named(scenario)
    if os.geteuid() != 0:
        raise NotRoot("a drill makes machines and networks")
    chosen = random.SystemRandom().randrange(1, 1_000_000) if seed is None else seed
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"scenario {scenario}, seed {chosen}")

    def show(seconds: float, event: str, host: str, detail: str) -> None:
        style = STYLES.get(event, "")
        console.print(f"{seconds:7.1f} s  {event:20} {host:10} {detail}", style=style, markup=False)

    evidence, result = run_drill(Lab.of_clone(CLONE, sites_of(ctx)), scenario, chosen, root, show, keep=keep)
    _say(console, evidence, result)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=2, default=str))
    sys.exit(EXIT_STATUS[Verdict(result["verdict"])])


def sites_of(ctx: click.Context) -> Path | None:
    """The file given with `hanbat --sites`; None when this group was called without the `hanbat` command."""
    sites = ctx.find_object(Path)
    return sites if sites is not None and sites.exists() else None


def _say(console: Console, evidence: folders.Evidence, result: dict) -> None:
    colour = {"passed": "bold green", "failed": "bold red", "inconclusive": "bold yellow"}[result["verdict"]]
    console.print(f"verdict: {result['verdict']}", style=colour)
    for why in result["why"]:
        console.print(f"  {why}", markup=False)
    for name in (
        "rto_seconds",
        "rpo_seconds",
        "acknowledged",
        "lost",
        "unknown",
        "duplicated",
        "heal_outage_seconds",
    ):
        value = result.get(name)
        console.print(f"  {name}: {'unknown' if value is None else value}", markup=False)
    console.print(f"report: {evidence.folder / 'report.html'}", markup=False)


@drill.command("report")
@click.argument("run", required=False)
@evidence_option
def report_command(run: str | None, root: Path) -> None:
    """Make report.html of RUN anew from its evidence; of the newest run if none is named."""
    from lab.drill import report

    evidence = folders.find(root, run)
    evidence.write_text("report.html", report.render(report.read(evidence)))
    click.echo(str(evidence.folder / "report.html"))
