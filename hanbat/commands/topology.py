"""`hanbat topology`: check `sites.yml`, show it, and print the settings' reference."""

from __future__ import annotations

import json
from pathlib import Path

import click

from hanbat import settings_reference
from hanbat.topology_file import load


@click.group()
def topology() -> None:
    """Check and show sites.yml, the one source of topology and settings."""


@topology.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_obj
def check(sites: Path, file: Path | None, as_json: bool) -> None:
    """Say that FILE (default: --sites) is valid, or name every problem: line, key, value, remedy."""
    path = file or sites
    model = load(path)
    if as_json:
        click.echo(json.dumps({"file": str(path), "valid": True, "cluster": model.cluster}))
    else:
        click.echo(f"{path} is valid: {len(model.sites)} sites, {len(model.hosts)} hosts")


@topology.command()
@click.option("--json", "as_json", is_flag=True, help="Print the whole model, defaults included, as JSON.")
@click.pass_obj
def show(sites: Path, as_json: bool) -> None:
    """Print the sites and hosts, or with --json every setting in force."""
    model = load(sites)
    if as_json:
        click.echo(model.model_dump_json(indent=1))
        return
    for site in model.sites:
        click.echo(f"{site.name} {site.title} ({site.role}, capacity {site.capacity} %, {site.subnet})")
        for host in site.hosts:
            click.echo(f"  {host.name:<12} {host.address!s:<15} {', '.join(host.roles)}")


@topology.command()
def settings() -> None:
    """Print the reference of all settings, as Markdown; docs/settings.md is this text."""
    click.echo(settings_reference.markdown(), nl=False)
