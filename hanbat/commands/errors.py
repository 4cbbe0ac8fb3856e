"""`hanbat errors`: what a code means."""

from __future__ import annotations

import click

from hanbat import error_reference
from hanbat.errors import UnknownName


@click.command()
@click.argument("code", type=int, required=False)
@click.option("--markdown", is_flag=True, help="Print the whole reference; docs/errors.md is this text.")
def errors(code: int | None, markdown: bool) -> None:
    """Explain an error CODE, or list all of them."""
    if markdown:
        click.echo(error_reference.markdown(), nl=False)
        return
    kinds = [kind for kind in error_reference.all_errors() if code in (None, kind.code)]
    if not kinds:
        raise UnknownName(f"no error carries the code {code}", hint="list them: hanbat errors")
    for kind in kinds:
        click.echo(f"[{kind.code:03d}] {kind.__name__}: {' '.join((kind.__doc__ or '').split())}")
        if kind.hint:
            click.echo(f"      {kind.hint}")
