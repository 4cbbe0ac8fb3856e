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
from lab.drill import catalogue_text
from lab.drill import evidence as folders
from lab.drill.catalogue import SCENARIOS, scenario_named
from lab.drill.drill import Report
from lab.drill.matrix_scenarios import MATRIX
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
@click.option("--markdown", is_flag=True, help="Print docs/drills.md.")
def list_command(as_json: bool, markdown: bool) -> None:
    """Scenarios that can be run, and what each must hold."""
    if markdown:
        click.echo(catalogue_text.markdown(SCENARIOS.values()), nl=False)
        return
    if as_json:
        click.echo(
            json.dumps([scenario.as_dict() for scenario in SCENARIOS.values()], ensure_ascii=False, indent=2)
        )
        return
    for scenario in SCENARIOS.values():
        click.echo(f"{scenario.name:25} {scenario.title_en} · {scenario.title_ko}")
        click.echo(f"{'':25} {scenario.summary_en} · {scenario.summary_ko}")


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
    from lab.drill.runner import run_drill
    from lab.laboratory import Lab

    scenario_named(scenario)
    if os.geteuid() != 0:
        raise NotRoot("a drill makes machines and networks")
    chosen = random.SystemRandom().randrange(1, 1_000_000) if seed is None else seed
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"scenario {scenario}, seed {chosen}")
    lab = Lab.of_clone(CLONE, sites_of(ctx))
    evidence, result = run_drill(lab, scenario, chosen, root, _shower(console), keep=keep)
    _say(console, evidence, result)
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=2, default=str))
    sys.exit(EXIT_STATUS[Verdict(result["verdict"])])


def _shower(console: Console) -> Report:
    """Shows each event of a drill as it happens."""

    def show(seconds: float, event: str, host: str, detail: str) -> None:
        style = STYLES.get(event, "")
        console.print(f"{seconds:7.1f} s  {event:20} {host:10} {detail}", style=style, markup=False)

    return show


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
        "retried_unknown",
        "heal_outage_seconds",
        "longest_stall_seconds",
        "slowest_wait_seconds",
        "takeovers",
    ):
        if name not in result:
            continue
        value = result.get(name)
        console.print(f"  {name}: {'unknown' if value is None else value}", markup=False)
    console.print(f"report: {evidence.folder / 'report.html'}", markup=False)


@drill.command("matrix")
@click.argument("names", nargs=-1)
@click.option(
    "--seeds", default="1", show_default=True, help="One seed, or a range A-B: each scenario with each."
)
@click.option(
    "--repeat", type=click.IntRange(1), default=1, show_default=True, help="All of it so many times."
)
@click.option(
    "--limit", "limit_s", type=float, default=21600.0, show_default=True, help="No drill begins later, s."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary on standard output as JSON.")
@click.option("--keep", is_flag=True, help="Leave the lab up afterwards.")
@evidence_option
@click.pass_context
def matrix_command(
    ctx: click.Context,
    names: tuple[str, ...],
    seeds: str,
    repeat: int,
    limit_s: float,
    as_json: bool,
    keep: bool,
    root: Path,
) -> None:
    """Run the scenarios NAMES in one lab, one after the other; without names, the whole fault matrix.

    Exit status: 0 all passed, 1 one failed, 5 else.
    """
    from lab.drill import matrix_table
    from lab.drill.matrix_run import Asked, run_matrix
    from lab.laboratory import Lab

    for name in names:
        scenario_named(name)
    asked = Asked(names or tuple(MATRIX), seeds_of(seeds), repeat, limit_s)
    if os.geteuid() != 0:
        raise NotRoot("a drill makes machines and networks")
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    file, summary = run_matrix(
        Lab.of_clone(CLONE, sites_of(ctx)),
        asked,
        root,
        _shower(console),
        lambda text: console.print(text, markup=False),
        keep=keep,
    )
    rows = [matrix_table.row_of(run) for run in summary["runs"]]
    table = f"{matrix_table.text(rows)}\n\n{matrix_table.spreads(rows)}"
    click.echo(json.dumps(summary, ensure_ascii=False, indent=2) if as_json else table)
    console.print(f"verdict: {summary['verdict']}; summary: {file}", markup=False)
    sys.exit(EXIT_STATUS[Verdict(summary["verdict"])])


@drill.command("table")
@click.argument("summaries", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def table_command(summaries: tuple[Path, ...]) -> None:
    """The drills of several SUMMARIES (matrix-*.json) as one table, those that did not pass included."""
    from lab.drill import matrix_table

    rows = [
        matrix_table.row_of(run) for file in summaries for run in json.loads(file.read_text("utf-8"))["runs"]
    ]
    click.echo(f"{matrix_table.text(rows)}\n\n{matrix_table.spreads(rows)}")


def seeds_of(text: str) -> tuple[int, ...]:
    """`7` or `1-20`. Raises click.BadParameter."""
    first, dash, last = text.partition("-")
    try:
        low, high = int(first), int(last if dash else first)
    except ValueError:
        raise click.BadParameter(f"{text} is neither a seed nor a range A-B") from None
    if low > high:
        raise click.BadParameter(f"{text}: the first seed is greater than the last")
    return tuple(range(low, high + 1))


@drill.command("report")
@click.argument("run", required=False)
@evidence_option
def report_command(run: str | None, root: Path) -> None:
    """Make report.html of RUN anew from its evidence; of the newest run if none is named."""
    from lab.drill import report

    evidence = folders.find(root, run)
    evidence.write_text("report.html", report.render(report.read(evidence)))
    click.echo(str(evidence.folder / "report.html"))
