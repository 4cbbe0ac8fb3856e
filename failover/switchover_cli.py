"""`hanbat validate`, `hanbat switchover`, `hanbat failback`: the planned way, on a db or etcd host."""

from __future__ import annotations

import json
import signal
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from failover.cli_options import config_option, json_option
from failover.config import Config
from failover.handover import poolers_of
from failover.looker import LOOK_S, Looker, read_config
from failover.observer import PULSE_PERIOD_S
from failover.preflight import Preflight, Weight, preflight
from failover.switchover import End, Moment, Result, Switchover
from failover.switchover_means import RealMeans
from failover.view import NotSeen, View
from hanbat.errors import Exit
from hanbat.telling import tell

EXITS = {
    End.DONE: Exit.DONE,
    End.UNCHANGED: Exit.FAILED,
    End.INCOMPLETE: Exit.INCOMPLETE,
    End.UNKNOWN: Exit.UNKNOWN,
}

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Command = Callable[..., Any]


def _options(command: Command) -> Command:
    for option in (
        json_option,
        click.option(
            "--without", multiple=True, help="An application host that is off: its pooler is not waited for."
        ),
        config_option,
    ):
        command = option(command)
    return command


execute_option = click.option("--execute", is_flag=True, help="Do it; without this the plan is shown only.")


@click.command()
@click.option("--to", "target", help="A site or a host; the primary site when the primary is elsewhere.")
@_options
def validate(target: str | None, as_json: bool, without: tuple[str, ...], path: Path) -> int:
    """May the primary be handed over now? Every reason why not, with its remedy.

    Exit status: 0 ready (or there already), 3 not ready.
    """
    config = read_config(path)
    looker = Looker(config)
    found = judge(config, looker, target or _default(config, looker), without)
    if as_json:
        click.echo(json.dumps(found.as_dict(), ensure_ascii=False, indent=1))
    else:
        _show(found, without)
    return Exit.DONE if found.ready else Exit.NOT_READY


@click.command()
@click.option("--to", "target", required=True, help="A site or a host.")
@execute_option
@_options
def switchover(target: str, execute: bool, as_json: bool, without: tuple[str, ...], path: Path) -> int:
    """Hand the primary over as planned, with new transactions held. Without --execute: the plan only.

    Ctrl-C or SIGTERM takes it back while that is possible, and tells who is primary.

    Exit status: 0 done, 1 failed and nothing changed, 3 not ready, 4 incomplete, 5 unknown.
    """
    config = read_config(path)
    return _switch(config, target, execute, as_json, without)


@click.command()
@execute_option
@_options
def failback(execute: bool, as_json: bool, without: tuple[str, ...], path: Path) -> int:
    """Hand the primary back to the primary site, as `hanbat switchover` does."""
    config = read_config(path)
    return _switch(config, config.home, execute, as_json, without)


def _default(config: Config, looker: Looker) -> str:
    """Without a target: home, or away from there when the primary is at home."""
    found = looker.look()
    if found.active_site != config.home:
        return config.home
    return next((host.site for host in config.hosts if host.site != config.home), config.home)


def judge(config: Config, looker: Looker, target: str, without: tuple[str, ...]) -> Preflight:
    """Looks until nothing stands in the way, or for LOOK_S: ages are known from the second look on.

    The first look in which etcd answered is what the candidate has to come up to.
    """
    end = time.monotonic() + 2 * LOOK_S
    before: View | None = None
    while True:
        view = looker.view()
        words = poolers_of(looker.found, config.poolers)
        heard = {host: word for host, word in words.items() if host not in without}
        found = preflight(view, target, heard, looker.last_pulses(), config.member_sites, before)
        if found.ready or time.monotonic() > end:
            return found
        if before is None and not isinstance(view.dcs, NotSeen):
            before = view
        time.sleep(PULSE_PERIOD_S / 2)


def _show(found: Preflight, without: tuple[str, ...]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    if found.already_there:
        console.print(f"{found.old} is the primary already", markup=False)
    elif found.candidate:
        console.print(f"plan: {found.old} hands over to {found.candidate} ({found.kind})", markup=False)
        if without:
            console.print(f"not held: {', '.join(without)}", markup=False)
    for one in found.reasons:
        style = "red" if one.weight is Weight.STOP else "yellow"
        console.print(f"{one.weight}: {one.code}: {one.fact}", style=style, markup=False)
        console.print(f"  {one.remedy}", markup=False)
    console.print("ready" if found.ready else "not ready", style="bold")


def _switch(config: Config, target: str, execute: bool, as_json: bool, without: tuple[str, ...]) -> int:
    looker = Looker(config)
    found = judge(config, looker, target, without)
    if not found.ready or found.already_there or not execute:
        if as_json:
            click.echo(json.dumps({"preflight": found.as_dict()}, ensure_ascii=False, indent=1))
        else:
            _show(found, without)
            if found.ready and not found.already_there:
                click.echo("nothing was done; --execute does it")
        return Exit.DONE if found.ready else Exit.NOT_READY
    result = _execute(config, looker, found, without)
    if as_json:
        text = {"preflight": found.as_dict(), "result": result.as_dict()}
        tell(json.dumps(text, ensure_ascii=False, indent=1))
    else:
        held = "" if result.held_s is None else f"; new transactions waited for at most {result.held_s:.2f} s"
        tell(f"{result.end}: the primary is {result.primary or 'unknown'}{held}")
        if result.reason:
            tell(result.reason)
    return EXITS[result.end]


def _execute(config: Config, looker: Looker, found: Preflight, without: tuple[str, ...]) -> Result:
    assert found.old is not None
    assert found.candidate is not None

    def say(moment: Moment) -> None:
        tell(f"{moment.at_s:7.2f} s  {moment.event:12} {moment.detail}", err=True)

    means = RealMeans(config, looker)
    steps = Switchover(
        means, uuid.uuid4().hex[:12], found.old, found.candidate, time.monotonic, means.wait, time.sleep,
        without=frozenset(without), say=say,
    )  # fmt: skip
    try:
        with ended_by_signals():
            return steps.run()
    finally:
        means.release()
        means.close()


@contextmanager
def ended_by_signals() -> Generator[None]:
    """The first Ctrl-C, SIGTERM or SIGHUP raises KeyboardInterrupt with the signal's name.

    Later ones are not obeyed: taking back and telling is bounded in time. A signal that was ignored before
    (nohup) stays so.
    """
    heard = False

    def end(number: int, frame: object) -> None:
        nonlocal heard
        if not heard:
            heard = True
            raise KeyboardInterrupt(f"interrupted by {signal.Signals(number).name}")

    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
