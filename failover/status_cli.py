"""`hanbat status`: one screen, on any machine that has the controllers' configuration."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from failover.cli_options import config_option, json_option
from failover.clients_way import SILENT, UNKNOWN, EdgeRow, PoolerRow
from failover.dcs_members import MemberRow
from failover.freshness import NEVER_MS
from failover.gatekeeper_service import LEASE_TTL_S
from failover.looker import Looker, read_config
from failover.publication import EdgeState
from failover.status import HostRow, Overview, length
from failover.view import Reach
from hanbat.errors import Exit

WATCH_S = 1.0
AT_MOST = f" (at most {LEASE_TTL_S} s old)"
COLOURS = {"yes": "green", "no": "red", "unknown": "yellow", "reachable": "green", "unreachable": "red"}


@click.command()
@click.option("--watch", is_flag=True, help="Show it again every second until Ctrl-C.")
@json_option
@config_option
def status(watch: bool, as_json: bool, path: Path) -> int:
    """Sites, hosts, roles, lag, site-safe, who may take over and why not.

    Exit status: 0 the DCS was read, 5 it was not: what is shown is unknown. --watch ends with 0 at Ctrl-C.
    """
    looker = Looker(read_config(path))
    found = looker.look_twice()
    if as_json:
        click.echo(json.dumps(found.as_dict(), ensure_ascii=False, indent=1))
    elif watch:
        _watch(looker, found)
        return Exit.DONE
    else:
        Console().print(screen(found))
    return Exit.UNKNOWN if found.trouble else Exit.DONE


def _watch(looker: Looker, found: Overview) -> None:
    """Until Ctrl-C, which is its normal end."""
    with suppress(KeyboardInterrupt), Live(screen(found), refresh_per_second=4) as live:
        while True:
            time.sleep(WATCH_S)
            live.update(screen(looker.look()))


def screen(found: Overview) -> RenderableType:
    """The overview for a terminal: 80 columns, and 24 lines while little is wrong."""
    clock = time.strftime("%H:%M:%S")
    lines = [
        Text.assemble((found.cluster, "bold"), ("  seen from ", "dim"), found.me, ("  at ", "dim"), clock)
    ]
    if found.trouble:
        what = "THE CLUSTER CANNOT BE JUDGED" if found.hint else "THE DCS WAS NOT SEEN"
        lines.append(Text(f"{what}: {found.trouble}", "bold red"))
        lines += [Text(f"  {found.hint}", "red")] if found.hint else []
    primary = f"{found.primary} at {found.active_site}" if found.primary else "unknown"
    lines.append(Text.assemble("primary: ", (primary, "bold"), f"   (DCS read {found.dcs_age_ms} ms ago)"))
    lines.append(Text.assemble("site-safe: ", (found.site_safe, COLOURS[found.site_safe])))
    lines.append(Text(f"operation: {found.operation}"))
    lines += [Text(f"! {note}", "bold yellow") for note in found.notes]
    lines.append(_observers(found.observers))
    lines += [_member(row, len(found.sites)) for row in found.members]
    lines += [_edge(row, len(found.sites)) for row in found.edges]
    lines += _poolers(found.poolers)
    return Group(*lines, _table(found), *_reasons(found))


def _observers(rows: tuple[dict[str, Any], ...]) -> Text:
    whole = bool(rows) and all(one["state"] == "fresh" for one in rows)
    text = "  ".join(_observer(one) for one in rows) or "none"
    return Text(f"observers: {text}", "" if whole else "yellow")


def _observer(one: dict[str, Any]) -> str:
    words = [one["observer"], *([] if one["state"] == "fresh" else [one["state"]])]
    return " ".join(words if one["age_ms"] is None else [*words, _age(one["age_ms"])])


def _edge(row: EdgeRow, sites: int) -> Text:
    """From where a commit through this edge was acknowledged, and what the others were told."""
    able = [site for site, state in row.seen.items() if state is EdgeState.OK]
    words = ("commits", "no commit")
    return _from_sites(f"edge {row.site}", row, able, words, sites, f", {row.took_ms} ms")


def _member(row: MemberRow, sites: int) -> Text:
    """From where this member of the DCS answers and has a leader, and what the others were told."""
    able = [site for site, reach in row.seen.items() if reach is Reach.REACHABLE]
    return _from_sites(f"DCS member {row.name} ({row.site})", row, able, ("healthy", "not healthy"), sites)


def _from_sites(
    what: str, row: EdgeRow | MemberRow, able: list[str], words: tuple[str, str], sites: int, took: str = ""
) -> Text:
    """`able`: the sites that find it well. `words`: for well and for not. `sites`: that should say so."""
    age = f"{_age(row.age_ms)} ago"
    whole = bool(able) and len(able) == sites
    text = f"{what}: "
    if able:
        text += f"{words[0]} from {len(able)}/{sites} sites{took}, {age}"
    elif row.why:
        text += f"{words[1]} from {len(row.why)}/{sites} sites for {_age(row.failing_ms)}, {age}"
    else:
        text += UNKNOWN
    reasons: dict[str, list[str]] = {}
    for site, why in row.why.items():
        reasons.setdefault(why, []).append(site)
    text += "".join(f"; {', '.join(sites)}: {why}" for why, sites in reasons.items())
    return Text(text, "" if whole else "red" if row.why else "yellow")


def _poolers(rows: tuple[PoolerRow, ...]) -> list[Text]:
    """Poolers of one state and one aim share a line. A word is no older than the lease it stands under."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        said = row.state
        if row.state not in (SILENT, UNKNOWN):
            said += f" to {row.primary}" if row.primary else ", HAProxy's checks decide"
            said += f" for handover {row.handover}" if row.handover else ""
        groups.setdefault(said, []).append(row.host)
    plain = [said.startswith("open to ") for said in groups]
    return [
        Text(
            f"poolers {said}: {', '.join(hosts)}" + ("" if said in (SILENT, UNKNOWN) else AT_MOST),
            "" if fine else "yellow",
        )
        for (said, hosts), fine in zip(groups.items(), plain, strict=True)
    ]


def _table(found: Overview) -> Table:
    titles = ("host", "site", "role", "seen", "sync", "received", "replayed", "age", "may take")
    table = Table(*titles, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for column in table.columns:
        column.no_wrap = True
    for row in found.hosts:
        may = Text(row.may_take_over or "primary", COLOURS.get(row.may_take_over, ""))
        table.add_row(
            row.host, row.site, row.role, _seen(row), "yes" if row.in_sync_set else "no",
            _lag(row, row.received_lag), _lag(row, row.replayed_lag), _age(row.age_ms), may,
        )  # fmt: skip
    return table


def _seen(row: HostRow) -> Text:
    """From how many sites, of all that could tell. Nobody told anything: unknown, and not 0 of 0."""
    told = list(row.reach.values())
    able = told.count(Reach.REACHABLE)
    if able + told.count(Reach.UNREACHABLE) == 0:
        return Text("unknown", "yellow")
    colour = "green" if able == len(told) else "red" if Reach.UNREACHABLE in told else "yellow"
    return Text(f"{able}/{len(told)}", colour)


def _reasons(found: Overview) -> list[Text]:
    """What is wrong with which hosts, and what keeps which from taking over; the same reason once."""
    wrong: dict[str, list[str]] = {}
    against: dict[str, list[str]] = {}
    for row in found.hosts:
        said = [
            f"{vote} from {', '.join(site for site, one in row.reach.items() if one is vote)}"
            for vote in dict.fromkeys(row.reach.values())
            if vote is not Reach.REACHABLE
        ]
        said += [row.why] if row.why else []
        if row.patroni_mute_ms is not None:
            said.append(f"Patroni: {row.patroni} for {length(row.patroni_mute_ms)}")
        elif row.patroni == "stuck":
            said.append("Patroni: its loop is stuck")
        if said:
            wrong.setdefault("; ".join(said), []).append(row.host)
        for name, reason in row.against.items():
            against.setdefault(f"{name}: {reason}", []).append(row.host)
    lines = [f"{', '.join(hosts)}: {what}" for what, hosts in wrong.items()]
    return [Text(one, "yellow") for one in (*lines, *(f"{', '.join(h)} {why}" for why, h in against.items()))]


def _lag(row: HostRow, lag: int | None) -> str:
    if row.may_take_over == "":
        return ""
    return "unknown" if lag is None else f"{-lag} B"


def _age(age_ms: int | None) -> str:
    return "unknown" if age_ms is None or age_ms >= NEVER_MS else length(age_ms)
