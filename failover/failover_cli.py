"""`hanbat failover`: a person has the primary replaced; with the proof, or signing for what is lost."""

from __future__ import annotations

import getpass
import json
import time
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from failover import manual
from failover.cli_options import config_option, json_option
from failover.config import Config
from failover.decided import Act, DcsNotSeen, Seen
from failover.decision_support import promoting, support
from failover.etcd_dcs import EtcdDcs
from failover.figures import informed
from failover.guards import Held
from failover.looker import LOOK_S, Looker, read_config
from failover.manual import Plan
from failover.observer import PULSE_PERIOD_S
from failover.view import NotSeen, View
from hanbat.errors import Exit, HanbatError
from hanbat.telling import tell

MARKS = {Held.HOLDS: "[green]yes[/]", Held.FAILS: "[red]NO[/]", Held.UNKNOWN: "[yellow]unknown[/]"}


class NoSuchTarget(HanbatError):
    """`--to` names neither a site nor a database host."""

    code = 176
    exit_status = Exit.USAGE


class PrimaryAlive(HanbatError):
    """The primary is reached by somebody: it may acknowledge commits at this moment."""

    code = 177
    exit_status = Exit.NOT_READY


class NoProof(HanbatError):
    """It is not proved that the move loses nothing."""

    code = 178
    exit_status = Exit.NOT_READY


class Blocked(HanbatError):
    """The move cannot be made at all now, whoever signs."""

    code = 179
    hint = "see what stands in the way: hanbat status"
    exit_status = Exit.NOT_READY


class NotConfirmed(HanbatError):
    """A forced failover asks for the cluster's name."""

    code = 180
    hint = "give it with --confirm, or type it when asked"
    exit_status = Exit.USAGE


@click.command()
@click.option("--to", "target", required=True, help="A site or a database host.")
@click.option("--execute", is_flag=True, help="Do it; without this the plan is shown only.")
@click.option("--by", default=None, help="Who decides; the name that is written down. Default: who you are.")
@click.option("--accept-loss", is_flag=True, help="Also without proof: you sign for what is lost.")
@click.option("--confirm", default=None, metavar="CLUSTER", help="The cluster's name, for --accept-loss.")
@json_option
@config_option
def failover(
    target: str,
    execute: bool,
    by: str | None,
    accept_loss: bool,
    confirm: str | None,
    as_json: bool,
    path: Path,
) -> int:
    """Replace a primary that is lost; shows the plan, and does it with --execute.

    A candidate in the sync set has every acknowledged commit: then your word is an approval, and the
    controllers act. Without that proof only --accept-loss goes on, and your name is written down.

    Exit status: 0 done (or there already, or the plan is proved), 1 failed and nothing changed, 3 not
    ready, 4 incomplete: act now, 5 unknown, 6 all is proved and waits for your --execute.
    """
    config = read_config(path)
    looker, dcs = Looker(config), config.dcs()
    seen = look(config, looker, dcs, target, hurry=execute)
    if not as_json:
        show(seen.plan, Console(stderr=True, highlight=False, soft_wrap=True))
    status, result = Exit.DONE, "there already"
    if not seen.plan.already and not execute:
        status, result = planned(seen.plan)
    elif not seen.plan.already:
        name = by or getpass.getuser()
        refuse(seen.plan, accept_loss)
        act = Act(config, looker, dcs)
        if seen.plan.proved:
            act.approve(seen, name)
        else:
            confirmed(config.cluster, confirm)
            act.force(seen, name)
        result = "done"
    if as_json:
        tell(json.dumps({"plan": seen.plan.as_dict(), "result": result}, ensure_ascii=False, indent=1))
    else:
        tell(result)
    return status


def look(config: Config, looker: Looker, dcs: EtcdDcs, target: str, *, hurry: bool) -> Seen:
    """Looks until the move is proved, or for LOOK_S: ages are known from the second look on.

    `hurry`: of what is proved no more is asked than the proof.
    Raises DcsNotSeen or NoSuchTarget.
    """
    end = time.monotonic() + 2 * LOOK_S
    while True:
        view = looker.view()
        if not isinstance(view.dcs, NotSeen):
            try:
                plan = manual.assess(view, view.dcs, target, config.cluster)
            except KeyError as error:
                known = {host.name for host in config.hosts} | {host.site for host in config.hosts}
                hint = f"known are {', '.join(sorted(known))}"
                raise NoSuchTarget(
                    f"{target} is no site with a database, and no host of one", hint=hint
                ) from error
            if plan.already or plan.proved or time.monotonic() > end:
                view = view if hurry and plan.proved else informed(view, config, dcs)
                assert not isinstance(view.dcs, NotSeen)
                return Seen(view, view.dcs, replace(plan, support=told(view, plan)))
        elif time.monotonic() > end:
            raise DcsNotSeen(view.dcs.reason, hint=view.dcs.hint or None)
        time.sleep(PULSE_PERIOD_S / 2)


def told(view: View, plan: Plan) -> dict[str, str]:
    """What the person is told, in words, and of the candidate alone."""
    if plan.candidate == plan.old:
        return {"all": support(view)}
    mine = [promoting(one) for one in view.prospects if one.candidate == plan.candidate]
    unknown = f"nobody reaches {plan.candidate}: what its promotion would lose is unknown"
    return {"candidate": mine[0] if mine else unknown, "all": support(view)}


def planned(plan: Plan) -> tuple[Exit, str]:
    """What a plan that is not carried out comes to."""
    if plan.proved:
        return (Exit.WAITING if plan.waits else Exit.DONE), "proved to lose nothing; --execute does it"
    return Exit.NOT_READY, "blocked: see above" if plan.blocked else "not proved: see above"


def refuse(plan: Plan, accept_loss: bool) -> None:
    """Raises Blocked, PrimaryAlive or NoProof for what must not be done."""
    if plan.blocked:
        raise Blocked("; ".join(plan.blocked))
    if plan.proved or accept_loss:
        return
    sign = f"or sign for what is lost: --accept-loss --confirm {plan.cluster}"
    if plan.alive:
        reason = plan.guards["primary_unreachable"].reason
        hint = f"hand over without loss: hanbat switchover --to {plan.candidate}; {sign}"
        raise PrimaryAlive(f"{plan.old} is alive and may acknowledge commits ({reason})", hint=hint)
    missing = "; ".join(f"{name}: {reason}" for name, reason in plan.missing.items())
    raise NoProof(missing, hint=f"wait until it is proved; {sign}")


def confirmed(cluster: str, given: str | None) -> None:
    """Raises NotConfirmed."""
    typed = given
    if typed is None:
        typed = str(click.prompt("Commits may be lost. Type the cluster's name", err=True, default=""))
    if typed != cluster:
        raise NotConfirmed(f"{typed!r} is not the name of this cluster")


def show(plan: Plan, console: Console) -> None:
    """The plan for a terminal."""
    if plan.already:
        console.print(f"{plan.candidate} is the primary already")
        return
    console.print(f"cluster [bold]{plan.cluster}[/]: {plan.old} to [bold]{plan.candidate}[/] ({plan.kind})")
    for name, verdict in plan.guards.items():
        console.print(f"  {MARKS[verdict.held]} {name}: ", end="")
        console.print(verdict.reason, markup=False)
    for reason in plan.blocked:
        console.print(f"  blocked: {reason}", markup=False)
    for note in plan.notes:
        console.print(f"  note: {note}", markup=False)
    for text in plan.support.values():
        console.print(text, markup=False)
