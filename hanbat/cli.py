"""The `hanbat` command: ties the packages together without importing them.

Each group of subcommands is named here as text and imported only when it is called, so that
`hanbat topology check` needs neither the lab nor PostgreSQL, and the ground floor imports nothing
of what stands on it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from hanbat import __version__
from hanbat.errors import Exit, HanbatError, render
from hanbat.telling import tell

COMMANDS = {
    "topology": "hanbat.commands.topology:topology",
    "render": "hanbat.commands.render:render",
    "errors": "hanbat.commands.errors:errors",
    "status": "failover.status_cli:status",
    "validate": "failover.switchover_cli:validate",
    "switchover": "failover.switchover_cli:switchover",
    "failback": "failover.switchover_cli:failback",
    "failover": "failover.failover_cli:failover",
    "hold": "failover.hold_cli:hold",
    "salvage": "replication.salvage.cli:salvage",
    "lab": "lab.cli:lab",
    "drill": "lab.drill.cli:drill",
    "bench": "lab.bench.cli:bench",
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hanbat")
@click.option(
    "--sites",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("sites.yml"),
    show_default=True,
    envvar="HANBAT_SITES",
    help="The file with the topology and all settings.",
)
@click.pass_context
def hanbat(ctx: click.Context, sites: Path) -> None:
    """Hanbat keeps a PostgreSQL-backed service running when a whole data centre is lost.

    \b
    Exit status: 0 done, 1 failed and nothing changed, 2 usage, 3 not ready,
    4 incomplete: act now, 5 unknown, 6 waiting for approval.

    Shell completion: eval "$(_HANBAT_COMPLETE=bash_source hanbat)"
    """
    ctx.obj = sites


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; errors become two lines on standard error and an exit status.

    With `--json` among the arguments the error is also printed as JSON on standard output.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status: Any = hanbat.main(words, prog_name="hanbat", standalone_mode=False)
    except HanbatError as error:
        tell(render(error), err=True)
        if "--json" in words:
            tell(json.dumps({"error": error.as_dict()}, ensure_ascii=False))
        sys.exit(error.exit_status)
    except click.exceptions.Abort:
        tell("interrupted", err=True)
        sys.exit(Exit.UNKNOWN)
    except click.ClickException as error:
        error.show()
        sys.exit(Exit.USAGE)
    sys.exit(status if isinstance(status, int) else Exit.DONE)
