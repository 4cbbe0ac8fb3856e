"""A line for a person, from a command that must come to its end also when nobody hears it.

A terminal that hung up answers a write with EIO, a pipe that nobody reads any more with EPIPE. Neither may
end a handover that is under way, nor change the exit status of one that is done.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

import click


def tell(text: str, *, err: bool = False) -> None:
    """Print a line on standard output, with `err` on standard error. A stream that is gone is no error.

    It leads nowhere from then on: what it still holds would make Python's last flush fail, and the exit
    status 120.
    """
    try:
        click.echo(text, err=err)
    except (OSError, ValueError):  # ValueError: it was closed
        _lead_nowhere(sys.stderr if err else sys.stdout)


def _lead_nowhere(stream: TextIO) -> None:
    """Also what is in its buffer. A stream without a file of the system's is left as it is."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
