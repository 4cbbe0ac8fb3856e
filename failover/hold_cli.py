"""`hanbat hold`: a person asks the controllers to keep still, until the hold is cleared."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from failover.cli_options import config_option, json_option
from failover.decided import DcsNotSeen
from failover.etcd_dcs import EtcdDcs, LeaseGone, NotAnswered
from failover.etcd_json import Entry, EtcdAnswerWrong
from failover.hold import Asked, decode, encode, told
from failover.looker import read_config
from failover.transaction import HOLD, Delete, Put, Transaction, absent, unchanged
from hanbat.errors import Exit, HanbatError


class HoldSetAlready(HanbatError):
    """Somebody has asked the controllers to keep still; a hold is not written over."""

    code = 161
    hint = "ask who set it; then hanbat hold clear"


class HoldChanged(HanbatError):
    """The hold was cleared or set anew by somebody else in this moment; nothing was changed here."""

    code = 162
    hint = "look again: hanbat hold show"


def put(asked: Asked) -> Transaction:
    """If there is none. Without a lease: it stands until it is cleared."""
    return Transaction((absent(HOLD),), (Put(HOLD, encode(asked)),))


def cleared(revision: int) -> Transaction:
    """If it is still the one that was read."""
    return Transaction((unchanged(HOLD, revision),), (Delete(HOLD),))


def standing(dcs: EtcdDcs) -> Entry | None:
    """The hold, None when there is none. Raises DcsNotSeen."""
    try:
        return dcs.snapshot().get(HOLD)
    except (NotAnswered, EtcdAnswerWrong) as error:
        raise DcsNotSeen(str(error)) from error


def written(dcs: EtcdDcs, transaction: Transaction) -> bool:
    """Whether it was carried out. Raises DcsNotSeen when that is not known."""
    try:
        return dcs.write(transaction) is not None
    except (NotAnswered, EtcdAnswerWrong, LeaseGone) as error:
        raise DcsNotSeen(f"the change may have been made: {error}", hint=HoldChanged.hint) from error


@click.group()
def hold() -> None:
    """Ask the controllers to keep still: no takeover, no switchover, until it is cleared."""


@hold.command("set")
@click.option("--by", required=True, help="Who asks; the name that is written down.")
@click.option("--reason", default="", help="Why; others read it before they clear the hold.")
@json_option
@config_option
def set_hold(by: str, reason: str, as_json: bool, path: Path) -> int:
    """Set the hold. A takeover that has taken the lock already is carried through.

    Exit status: 0 set, 1 another one stands, 5 unknown.
    """
    dcs = read_config(path).dcs()
    if not by.strip():
        raise click.BadParameter("a name is needed", param_hint="--by")
    asked = Asked(by.strip(), reason.strip(), datetime.now(UTC).isoformat(timespec="seconds"))
    if not written(dcs, put(asked)):
        entry = standing(dcs)
        if entry is None:
            raise HoldChanged("a hold stood in this moment, and is gone")
        raise HoldSetAlready(told(entry.value))
    _show(asked, "set: the controllers keep still until hanbat hold clear", as_json)
    return Exit.DONE


@hold.command("clear")
@json_option
@config_option
def clear_hold(as_json: bool, path: Path) -> int:
    """Clear the hold, whoever set it. That there is none is no error.

    Exit status: 0 there is none any more, 1 it changed in this moment, 5 unknown.
    """
    dcs = read_config(path).dcs()
    entry = standing(dcs)
    if entry is not None and not written(dcs, cleared(entry.revision)):
        raise HoldChanged("the hold changed in this moment")
    _show(None, "no hold was set" if entry is None else f"cleared; {told(entry.value)} until now", as_json)
    return Exit.DONE


@hold.command("show")
@json_option
@config_option
def show_hold(as_json: bool, path: Path) -> int:
    """Whether a hold is set, by whom, since when and why.

    Exit status: 0 told, 5 unknown.
    """
    entry = standing(read_config(path).dcs())
    _show(decode(entry.value) if entry else None, told(entry.value) if entry else "no hold is set", as_json)
    return Exit.DONE


def _show(asked: Asked | None, text: str, as_json: bool) -> None:
    """`asked`: what stands now."""
    if as_json:
        found = {"hold": asdict(asked) if asked else None}
        click.echo(json.dumps(found, ensure_ascii=False, indent=1))
    else:
        click.echo(text)
