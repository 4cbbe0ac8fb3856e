"""WAL that no data directory points to is set aside before a data directory is made anew.

`initdb` and `pg_basebackup` refuse a `--waldir` that holds something. Patroni 4.1 empties it only by way of
the data directory's link: `remove_data_directory` follows `pg_wal`. Where that link is gone and the WAL is
not, every clone fails, for ever. So it is after somebody has removed the data directory by hand, after the
data volume was replaced or has lost its last writes in a power cut (two volumes, two journals), and when
pg_basebackup is killed while it tidies up after itself: the data directory first.

It may be all that is left of a lost data volume, so it is renamed, never removed; the log says to what. A
directory that *is* linked is Patroni's to remove, after the salvage (`salvage_hook`) has looked at it.

Two functions are wrapped, `Bootstrap.clone` and `Bootstrap._initdb`. Nothing here can keep them from running.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from replication.mends.wrapping import known

logger = logging.getLogger(__name__)

SIGNATURES = {"clone": ("self", "clone_member", "clone_from_leader"), "_initdb": ("self", "config")}


def wal_dir(document: Mapping[str, Any]) -> Path | None:
    """The `waldir` that patroni.yml gives to pg_basebackup; None when it gives none."""
    options = cast(list[Any], document.get("postgresql", {}).get("basebackup") or [])
    for option in options:
        if isinstance(option, dict) and "waldir" in option:
            return Path(cast(dict[str, str], option)["waldir"])
    return None


def is_stray(data_dir: Path, wal: Path) -> bool:
    """Whether there is WAL that the data directory's `pg_wal` does not point to. Raises OSError."""
    if not wal.is_dir() or not any(wal.iterdir()):
        return False
    link = data_dir / "pg_wal"
    return not (link.is_symlink() and link.resolve() == wal.resolve())


def set_aside(data_dir: Path, wal: Path, now: datetime) -> Path | None:
    """Rename stray WAL; the new path, None when there was none. Raises OSError, as for a mount point."""
    if not is_stray(data_dir, wal):
        return None
    return wal.rename(wal.with_name(f"{wal.name}.stray-{now:%Y%m%dT%H%M%S.%fZ}"))


def before(original: Callable[..., bool], wal: Path) -> Callable[..., bool]:
    """In the place of a function that makes a data directory: first set aside what would stop it."""

    @functools.wraps(original)  # whoever wraps it next looks at its parameters
    def make(self: Any, *words: Any, **more: Any) -> bool:
        try:
            path = set_aside(Path(self._postgresql.data_dir), wal, datetime.now(UTC))
            if path is not None:
                logger.error("%s held WAL of no data directory; it is now %s, and yours to remove", wal, path)
        except OSError as error:
            logger.error("WAL in %s belongs to no data directory and cannot be set aside: %s", wal, error)
        return original(self, *words, **more)

    return make


def install(wal: Path | None) -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `bootstrap` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.postgresql.bootstrap import Bootstrap  # pyright: ignore[reportMissingTypeStubs]

    if wal is None:
        return
    originals = {name: known(Bootstrap, name, parameters) for name, parameters in SIGNATURES.items()}
    for name, original in originals.items():
        setattr(Bootstrap, name, before(original, wal))
