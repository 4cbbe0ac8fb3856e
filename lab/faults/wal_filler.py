"""Keeps a WAL volume full. Run on its own: FILE LIMIT_S. The file stays; whoever heals removes it.

PostgreSQL gives segments that it needs no more the names of future ones, and would go on for a long time with
these on a full volume. They are taken, too. Which they are, their first page tells: it still has its old
address. The one after the newest segment is left, because PostgreSQL may be about to open it: a file that it
writes to must never be taken.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from lab.faults.disk_filler import fill
from replication.salvage import wal

PAUSE_S = 0.02
FOLDERS = "*/*"  # of a version and a cluster (replication.layout.wal_dir)


def ready(segments: Iterable[tuple[Path, int, bool]]) -> list[Path]:
    """Of segments, with number and whether it is written: those held ready, but for the next one."""
    known = list(segments)
    newest = max((number for _, number, written in known if written), default=None)
    if newest is None:
        return []
    return [path for path, number, written in known if not written and number > newest + 1]


def held_ready(mount: Path) -> list[Path]:
    """The files of a WAL volume that PostgreSQL holds ready for later, but for the next one."""
    return [path for folder in mount.glob(FOLDERS) if folder.is_dir() for path in ready(_segments(folder))]


def _segments(folder: Path) -> Iterator[tuple[Path, int, bool]]:
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # PostgreSQL removed or renamed it just now
            size = path.stat().st_size
            which = wal.segment_number(path.name, size) if size >= wal.PAGE else None
            if which is not None:
                with path.open("rb") as segment:
                    first = segment.read(wal.PAGE_HEADER.size)
                yield path, which[1], wal.is_written(first, which[1], size)


def main() -> None:
    file, end = Path(sys.argv[1]), time.monotonic() + float(sys.argv[2])
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    while time.monotonic() < end:
        for path in held_ready(file.parent):
            path.unlink(missing_ok=True)
        if os.fstatvfs(descriptor).f_bavail:
            fill(descriptor)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
