"""`hanbat salvage`: what returning hosts had alone. On a db host, as root or postgres."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from hanbat.errors import Exit, HanbatError
from replication.salvage import keeping
from replication.salvage.compare import Local
from replication.salvage.report import Verdict, report, verdict
from replication.salvage.server import Programs
from replication.salvage.settings import PATH, Settings, load
from replication.salvage.store import COMPARISON, RECORDS, Manifest, Store

COMPARE_S = 5.0
STATUS = {
    Verdict.NOTHING: Exit.DONE,
    Verdict.PRESENT: Exit.DONE,
    Verdict.MISSING: Exit.INCOMPLETE,
    Verdict.UNKNOWN: Exit.UNKNOWN,
}


class NoSalvagesHere(HanbatError):
    """This machine is no db host, or its salvages may not be read by this user."""

    code = 188
    hint = "run it as root on a db host, there as /opt/hanbat/bin/hanbat salvage list"
    exit_status = Exit.NOT_READY


def _settings(path: Path) -> Settings:
    """Raises NoSalvagesHere."""
    found = load(path)
    if not path.exists() or not found.folder.is_dir() or not os.access(found.folder, os.R_OK | os.X_OK):
        raise NoSalvagesHere(f"no readable folder {found.folder} ({path})")
    return found


def _told(store: Store, manifest: Manifest) -> dict[str, Any]:
    comparison = store.read(manifest.id, COMPARISON)
    return {**manifest.as_dict(), "verdict": verdict(manifest, comparison).name.lower()}


def _json(value: object) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=1))


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
config = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=PATH,
    show_default=True,
    help="The rendered settings.",
)


@click.group()
def salvage() -> None:
    """What returning hosts had that the new primary did not: which bids, which payments."""


@salvage.command("list")
@as_json
@config
def list_salvages(as_json: bool, path: Path) -> int:
    """All salvages kept on this host, oldest first."""
    store = Store(_settings(path).folder)
    rows = [_told(store, manifest) for manifest in store.listed()]
    if as_json:
        _json(rows)
        return Exit.DONE
    for row in rows:
        committed = "unknown" if row["committed"] is None else row["committed"]
        records = "unknown" if row["records"] is None and row["committed"] != 0 else row["records"] or 0
        click.echo(
            f"{row['id']}  transactions {committed}  rows {records}  {Verdict[row['verdict'].upper()]}"
        )
    if not rows:
        click.echo("none: this host was never rewound or cloned anew since it has the salvage")
    return Exit.DONE


@salvage.command("show")
@click.argument("salvage_id", metavar="ID")
@as_json
@config
def show(salvage_id: str, as_json: bool, path: Path) -> int:
    """The report of one salvage; checks the kept WAL against its sha256 first.

    Exit status: 0 nothing was left behind, or the new primary has all rows; 4 rows are missing there: act
    now; 5 unknown.
    """
    store = Store(_settings(path).folder)
    store.check(salvage_id)
    manifest = store.get(salvage_id)
    decoded, comparison = store.read(salvage_id, RECORDS), store.read(salvage_id, COMPARISON)
    if as_json:
        _json({**_told(store, manifest), "decoded_rows": decoded, "comparison": comparison})
    else:
        click.echo(report(manifest, decoded, comparison), nl=False)
    return STATUS[verdict(manifest, comparison)]


@salvage.command("compare")
@click.argument("salvage_id", metavar="ID")
@as_json
@config
def compare(salvage_id: str, as_json: bool, path: Path) -> int:
    """Look the rows up again on the new primary, as this host has replayed it. Changes the report only."""
    settings = _settings(path)
    store = Store(settings.folder)
    prefix = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
    local = Local(Programs(settings.bin_dir, prefix))
    found = keeping.look_up(store, salvage_id, local, settings, COMPARE_S)
    if as_json:
        _json({**_told(store, store.get(salvage_id)), "comparison": store.read(salvage_id, COMPARISON)})
    else:
        click.echo(f"{salvage_id}: {found}")
    return STATUS[found]
