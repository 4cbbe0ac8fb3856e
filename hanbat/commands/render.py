"""`hanbat render`: the complete file tree of one machine."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hanbat import rendering, secrets_file
from hanbat.errors import UnknownName
from hanbat.topology_file import load


@click.command()
@click.argument("host")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder to write the tree into.",
)
@click.option(
    "--secrets",
    "secrets_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The secrets file; made on first use. Default: secrets.yml beside sites.yml.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the list of files as JSON.")
@click.pass_obj
def render(sites: Path, host: str, out: Path, secrets_path: Path | None, as_json: bool) -> None:
    """Write every configuration file and unit of HOST below --out; twice gives the same bytes."""
    topology = load(sites)
    try:
        machine = topology.host(host)
    except KeyError:
        names = ", ".join(known.name for known in topology.hosts)
        raise UnknownName(f"{sites} has no host {host}", hint=f"hosts: {names}") from None
    path = secrets_path or sites.with_name("secrets.yml")
    secrets, created = secrets_file.load_or_create(path)
    if created:
        click.echo(f"made new secrets: {path} (keep it safe, never commit it)", err=True)
    files = rendering.tree(topology, machine, secrets)
    rendering.write(files, out)
    if as_json:
        click.echo(json.dumps({"host": host, "out": str(out), "files": [file.path for file in files]}))
    else:
        click.echo(f"{len(files)} files of {host} written to {out}")
