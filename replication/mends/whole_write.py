"""A file of settings is written whole or not at all, and names that were not written count as not told.

Patroni 4.1 truncates `postgresql.conf` and writes it anew in place. A checkpointer that is late with an
earlier signal and reads just then finds no `synchronous_standby_names`: it lets every waiting commit go,
while `/sync` goes on naming those who have it not. The file is empty for some tenths of a millisecond;
without room on the disk, for as long as that lasts. And the names count as told before they are written:
after a write that failed no later loop tells them again, and commits wait for a host that is gone.

Two functions of `ConfigHandler` are wrapped. `config_writer`: a draft beside the file takes its place. After
a power cut that is the old one or the new one (on a file system that orders the two, as ext4 does), and
Patroni writes it anew before it starts PostgreSQL. `set_synchronous_standby_names`: when it raises, what was
told before stands.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from replication.mends.wrapping import wrap

NAMES = "synchronous_standby_names"
DRAFT = ".hanbat-draft"

Writer = Callable[[Any, str], AbstractContextManager[Any]]


def config_writer(original: Writer) -> Writer:
    """In the place of the function of that name, which it calls for the draft."""

    @contextlib.contextmanager
    def writes(self: Any, filename: str) -> Generator[Any]:
        draft = Path(filename + DRAFT)
        try:
            with original(self, str(draft)) as writer:
                yield writer
            draft.replace(filename)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise

    return writes


def told(original: Callable[[Any, str | None], Any]) -> Callable[[Any, str | None], Any]:
    """In the place of `ConfigHandler.set_synchronous_standby_names`, which it calls."""

    def set_synchronous_standby_names(self: Any, value: str | None) -> Any:
        before = self._server_parameters.get(NAMES)
        try:
            return original(self, value)
        except BaseException:
            if before is None:
                self._server_parameters.pop(NAMES, None)
            else:
                self._server_parameters[NAMES] = before
            raise

    return set_synchronous_standby_names


def install() -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `config` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.postgresql.config import ConfigHandler  # pyright: ignore[reportMissingTypeStubs]

    wrap(ConfigHandler, "config_writer", ("self", "filename"), config_writer)
    wrap(ConfigHandler, "set_synchronous_standby_names", ("self", "value"), told)
