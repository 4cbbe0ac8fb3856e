"""What the commands of this package have in common."""

from __future__ import annotations

from pathlib import Path

import click

from failover import config

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    default=config.PATH,
    show_default=True,
    help="The controller's configuration.",
)
