"""`hanbat lab`: up, down, status, fault, heal, exec, env, open."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from hanbat.errors import Exit, UnknownName
from lab import commands, lifecycle
from lab.faults import FAULTS, POWER_CUT, heal_all, make_fault
from lab.identity import names_of, state_root
from lab.laboratory import Lab

POWER_ON = "power-on"
CLONE = Path(__file__).resolve().parent.parent
FORWARD = (
    'exec socat "TCP-LISTEN:$1,bind=127.0.0.1,fork,reuseaddr" '
    '"EXEC:ip netns exec $2 socat STDIO TCP\\\\:$3\\\\:80"'
)


def _progress(text: str) -> None:
    Console(stderr=True, highlight=False).print(text, markup=False)


def _json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def _print(data: object) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, indent=1))


@click.group()
@click.pass_context
def lab(context: click.Context) -> None:
    """The sites on this computer: real machines, a WAN between them, and faults."""
    sites: Path | None = context.obj
    context.obj = lambda: Lab.of_clone(CLONE, sites)


@lab.command()
@click.option("--keep", is_flag=True, help="Leave a failed attempt as it is, to look at.")
@_json_option
@click.pass_obj
def up(make: Callable[[], Lab], keep: bool, as_json: bool) -> None:
    """Bring the lab up, from nothing to a healthy service."""
    report = make().up(_progress, keep=keep)
    if as_json:
        row = {
            "already_up": report.already_up,
            "seconds": report.seconds,
            "total_seconds": round(report.total_s, 2),
        }
        _print({**row, "wan": report.wan, "image": report.image})
    elif report.already_up:
        click.echo("the lab is up already")
    else:
        click.echo(f"the lab is up: {report.total_s:.1f} s, WAN by {report.wan}")


@lab.command()
@click.option("--all-orphans", is_flag=True, help="Also remove labs whose clone is gone.")
def down(all_orphans: bool) -> None:
    """Remove everything of this lab: processes, mounts, namespaces, control groups, files."""
    # By the clone's path alone: it works with a broken sites.yml too.
    for names in [*(lifecycle.orphans(state_root()) if all_orphans else ()), names_of(CLONE)]:
        lifecycle.down(names, _progress)


@lab.command()
@_json_option
@click.pass_obj
def status(make: Callable[[], Lab], as_json: bool) -> int:
    """What runs, who is primary, which faults are injected. Exit status 3: the lab is not up."""
    lifecycle.require_root()
    found = make().status()
    if as_json:
        _print(found)
    else:
        _print_status(found)
    return Exit.DONE if found["up"] else Exit.NOT_READY


def _print_status(found: dict[str, Any]) -> None:
    if not found["up"]:
        click.echo(f"lab {found['identity']}: not up; leftovers: {found['leftovers']}")
        return
    click.echo(
        f"lab {found['identity']}: up, WAN by {found['wan']}, primary: {found['primary'] or 'unknown'}"
    )
    table = Table("host", "site", "runs", "ssh", "Patroni", "failed units")
    for name, row in found["hosts"].items():
        patroni = row["patroni"]
        runs = "frozen" if row["frozen"] else "yes" if row["running"] else "no"
        role = f"{patroni['role']}, {patroni['state']}" if patroni else ""
        failed = "unknown" if row["failed_units"] is None else ", ".join(row["failed_units"]) or "none"
        table.add_row(name, row["site"], runs, "yes" if row["ssh"] else "no", role, failed)
    Console().print(table)
    for site, seen in found["edges"].items():
        click.echo(f"edge of {site}: {seen}")
    for each in found["faults"]:
        click.echo(f"fault: {each['name']} {each['target']}")


@lab.command()
@click.argument("name", type=click.Choice([*FAULTS, POWER_ON]))
@click.argument("target")
@_json_option
@click.pass_obj
def fault(make: Callable[[], Lab], name: str, target: str, as_json: bool) -> None:
    """Inject a fault and prove that it acts.

    TARGET: power-cut HOST|SITE; freeze HOST; partition SITE-SITE, "SITE>SITE" (one way), SITE, SITE+clients,
    HOST; replication-cut SITE-SITE; flap SITE-SITE|SITE[:cut=,every=]; kill HOST:UNIT;
    wan all|SITE-SITE[:delay=,jitter=,loss=]; kill-process, stop-process HOST:PROGRAM; clock HOST;
    disk-full, disk-full-wal, disk-hang, disk-slow HOST. power-on HOST|SITE heals a power cut.
    docs/operating-the-lab.md has examples.
    """
    the_lab = make()
    the_lab.require_up()
    each = make_fault(the_lab, POWER_CUT if name == POWER_ON else name, target)
    if name == POWER_ON:
        each.heal()
    else:
        each.inject()
        each.prove()
    text = f"{target} has power" if name == POWER_ON else each.describe()
    if as_json:
        _print({"name": name, "target": target, "active": name != POWER_ON, "detail": text})
    else:
        click.echo(text)


@lab.command()
@click.argument("name", required=False)
@click.argument("target", required=False)
@click.option("--all", "every", is_flag=True, help="Heal every fault that is injected.")
@_json_option
@click.pass_obj
def heal(make: Callable[[], Lab], name: str | None, target: str | None, every: bool, as_json: bool) -> None:
    """Heal one fault, or all. Healing what is not injected does nothing."""
    the_lab = make()
    the_lab.require_up()
    if not every and not (name and target):
        raise UnknownName("name a fault and its target, or give --all")
    if every:
        chosen = heal_all(the_lab, _progress)
    else:
        chosen = [make_fault(the_lab, str(name), str(target))]
        chosen[0].heal()
        _progress(f"healed: {chosen[0].name} {chosen[0].target}")
    if as_json:
        _print({"healed": [{"name": each.name, "target": each.target} for each in chosen]})


@lab.command("exec", context_settings={"ignore_unknown_options": True})
@click.option("--host", help="Inside this machine; without it, on the client machine outside all sites.")
@click.option("--user", default="root", show_default=True, help="As this user of the machine.")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def execute(make: Callable[[], Lab], host: str | None, user: str, argv: tuple[str, ...]) -> None:
    """Run a command in a machine, or on the client machine: exec [--host HOST] -- COMMAND."""
    the_lab = make()
    the_lab.require_up()
    words = the_lab.machine(host).enter(argv, user=user) if host else the_lab.client_command(argv)
    sys.stdout.flush()
    os.execvp(words[0], words)


@lab.command()
@_json_option
@click.pass_obj
def env(make: Callable[[], Lab], as_json: bool) -> None:
    """Where everything is, for an outside client or test suite."""
    found = make().environment()
    if as_json:
        _print(found)
        return
    for name, row in found["sites"].items():
        click.echo(f"{name}: {row['role']}, edge {row['edge_url'] or 'none'}, active: {row['active']}")
    for name, row in found["hosts"].items():
        click.echo(f"{name}: {row['address']} at {row['site']}, {', '.join(row['roles'])}")


@lab.command("open")
@click.argument("site", required=False)
@click.option("--port", default=8080, show_default=True, help="Port on 127.0.0.1.")
@click.pass_obj
def open_edge(make: Callable[[], Lab], site: str | None, port: int) -> None:
    """Make a site's edge page reachable at 127.0.0.1 until Ctrl-C; default: the primary site's."""
    the_lab = make()
    the_lab.require_up()
    commands.require(["socat"])
    edges = {each.name: each.edge for each in the_lab.topology.sites if each.edge}
    chosen = site or next(iter(edges))
    if chosen not in edges:
        raise UnknownName(f"no site with an edge is called {chosen}", hint=f"sites: {', '.join(edges)}")
    _progress(f"http://127.0.0.1:{port} is the edge of {chosen}; Ctrl-C ends it")
    argv = ["sh", "-c", FORWARD, "open", str(port), the_lab.names.client, str(edges[chosen])]
    os.execvp(argv[0], argv)
