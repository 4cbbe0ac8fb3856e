"""`hanbat status`: one screen, on any machine that has the controllers' configuration."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click
import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from failover import config as configuration
from failover.assembly import Assembly
from failover.config import Config
from failover.etcd_dcs import EtcdDcs, NotAnswered
from failover.etcd_json import EtcdAnswerWrong
from failover.freshness import NEVER_MS
from failover.observer import PULSE_PERIOD_S, monotonic_ms
from failover.status import HostRow, Overview, overview
from hanbat.errors import Exit, HanbatError

LOOK_S = 0.8  # an observer whose pulse does not change for so long is shown as silent
WATCH_S = 1.0
COLOURS = {"yes": "green", "no": "red", "unknown": "yellow", "reachable": "green", "unreachable": "red"}


class NoControllerHere(HanbatError):
    """There is no readable configuration of a controller on this machine."""

    code = 160
    hint = "run it as root on a db or etcd host, there as /opt/hanbat/bin/hanbat status"
    exit_status = Exit.NOT_READY


def read_config(path: Path) -> Config:
    """Raises NoControllerHere."""
    try:
        return configuration.load(path)
    except (OSError, yaml.YAMLError, KeyError, ValueError) as error:
        raise NoControllerHere(f"{path}: {error}") from error


class Looker:
    """Reads etcd again and again, so that ages are known."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._dcs: EtcdDcs = config.dcs()
        self._assembly = Assembly(config.me, config.policy, config.hosts)

    def look(self) -> Overview:
        began = monotonic_ms()
        try:
            view = self._assembly.view(self._dcs.snapshot(), began, monotonic_ms())
        except (NotAnswered, EtcdAnswerWrong) as error:
            view = self._assembly.unseen(str(error), monotonic_ms())
        return overview(view, self._assembly.last_pulses(), self._config.cluster)

    def look_twice(self) -> Overview:
        """The first look only notes the sequence numbers; what has moved by the next is alive."""
        end = monotonic_ms() + int(LOOK_S * 1000)
        found = self.look()
        while monotonic_ms() < end:
            time.sleep(PULSE_PERIOD_S / 2)
            found = self.look()
            if not found.trouble and all(one["state"] == "fresh" for one in found.observers):
                break
        return found


@click.command()
@click.option("--watch", is_flag=True, help="Show it again every second until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=configuration.PATH,
    show_default=True,
    help="The controller's configuration.",
)
def status(watch: bool, as_json: bool, path: Path) -> int:
    """Sites, hosts, roles, lag, site-safe, who may take over and why not.

    Exit status: 0 the DCS was read, 5 it was not: what is shown is unknown.
    """
    looker = Looker(read_config(path))
    found = looker.look_twice()
    if as_json:
        click.echo(json.dumps(found.as_dict(), ensure_ascii=False, indent=1))
    elif watch:
        with Live(screen(found), refresh_per_second=4) as live:
            while True:
                time.sleep(WATCH_S)
                live.update(screen(looker.look()))
    else:
        Console().print(screen(found))
    return Exit.UNKNOWN if found.trouble else Exit.DONE


def screen(found: Overview) -> RenderableType:
    """The overview for a terminal."""
    lines = [Text.assemble(("cluster ", "dim"), (found.cluster, "bold"), ("  seen from ", "dim"), found.me)]
    if found.trouble:
        lines.append(Text(f"THE DCS WAS NOT SEEN: {found.trouble}", "bold red"))
    primary = f"{found.primary} at {found.active_site}" if found.primary else "unknown"
    lines.append(Text.assemble("primary: ", (primary, "bold"), f"   (DCS read took {found.dcs_age_ms} ms)"))
    lines.append(Text.assemble("site-safe: ", (found.site_safe, COLOURS[found.site_safe])))
    lines.append(Text(f"operation: {found.operation}"))
    lines += [Text(f"! {note}", "bold yellow") for note in found.notes]
    observers = "  ".join(
        f"{one['observer']} {one['state']} {_age(one['age_ms'])}" for one in found.observers
    )
    lines.append(Text(f"observers: {observers or 'none'}"))
    return Group(*lines, _table(found), *_reasons(found))


def _table(found: Overview) -> Table:
    titles = ("host", "site", "role", "seen", "sync", "received", "replayed", "age", "may take")
    table = Table(*titles, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in table.columns:
        column.no_wrap = True
    for row in found.hosts:
        able = sum(vote == "reachable" for vote in row.reach.values())
        reach = Text(f"{able}/{len(row.reach)}", "green" if able == len(row.reach) else "red")
        may = Text(row.may_take_over or "primary", COLOURS.get(row.may_take_over, ""))
        table.add_row(
            row.host, row.site, row.role, reach, "yes" if row.in_sync_set else "no",
            _lag(row, row.received_lag), _lag(row, row.replayed_lag), _age(row.age_ms), may,
        )  # fmt: skip
    return table


def _reasons(found: Overview) -> list[Text]:
    lines: list[Text] = []
    for row in found.hosts:
        missed = [f"{vote} from {site}" for site, vote in row.reach.items() if vote != "reachable"]
        if missed or row.why:
            lines.append(Text(f"{row.host}: {', '.join([*missed, *filter(None, [row.why])])}", "yellow"))
        lines += [Text(f"{row.host} {name}: {reason}", "yellow") for name, reason in row.against.items()]
    return lines


def _lag(row: HostRow, lag: int | None) -> str:
    if row.may_take_over == "":
        return ""
    return "unknown" if lag is None else f"{-lag} B"


def _age(age_ms: int | None) -> str:
    return "unknown" if age_ms is None or age_ms >= NEVER_MS else f"{age_ms / 1000:.1f} s"
