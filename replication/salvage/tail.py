"""Reads what a data directory has beyond the parting: control data, history, segments, commits.

Nothing is changed in the data directory. What cannot be read is told in `trouble`, and what is then not
known stays None.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from replication.salvage import wal
from replication.salvage.server import ProgramFailed, Programs


@dataclass(frozen=True, slots=True)
class Leader:
    """The new primary's history, as one of its servers tells it."""

    name: str
    timeline: int
    history: str


@dataclass(frozen=True, slots=True)
class Control:
    """What `pg_controldata` says of a data directory."""

    system: str
    state: str
    timeline: int
    redo: int
    end: int  # the WAL reaches at least so far
    segment_size: int
    text: str


def control(fields: Mapping[str, str]) -> Control:
    """Raises ValueError for a control file that says none of it.

    The timeline is chosen as PostgreSQL does (`access/transam/xlogrecovery.c`): a promotion has written the
    new one as that of the minimum recovery point long before its checkpoint has ended.
    """
    try:
        checkpoint = int(fields["Latest checkpoint's TimeLineID"])
        recovery = int(fields["Min recovery ending loc's timeline"])
        clean = fields["Database cluster state"] == "shut down"
        return Control(
            system=fields["Database system identifier"],
            state=fields["Database cluster state"],
            timeline=checkpoint if clean else max(checkpoint, recovery),
            redo=wal.parse_lsn(fields["Latest checkpoint's REDO location"]),
            end=max(
                wal.parse_lsn(fields["Latest checkpoint location"]),
                wal.parse_lsn(fields["Minimum recovery ending location"]),
            ),
            segment_size=int(fields["Bytes per WAL segment"]),
            text="\n".join(f"{name}: {value}" for name, value in fields.items()),
        )
    except KeyError as error:
        raise ValueError(f"pg_controldata does not tell {error}") from error


@dataclass(frozen=True, slots=True)
class Parted:
    """Where the two histories part; `known` is False when nobody could tell."""

    known: bool
    where: wal.Parting | None
    why: str = ""


def parted(mine: tuple[wal.Stretch, ...], leader: Leader | None) -> Parted:
    """The parting from the new primary; `where` is None when both are on one timeline."""
    if leader is None:
        return Parted(False, None, "the new primary's history could not be read")
    try:
        return Parted(True, wal.parting(mine, wal.history(leader.timeline, leader.history)))
    except (wal.NotRelated, ValueError) as error:
        return Parted(False, None, f"the new primary's history does not fit: {error}")


def own_history(data_dir: Path, timeline: int, leader: Leader | None) -> tuple[wal.Stretch, ...]:
    """This host's timelines; without its history file, as the new primary knows that timeline's past.

    Raises OSError or ValueError when neither tells.
    """
    if timeline == 1:
        return wal.history(1, "")
    try:
        text = (data_dir / "pg_wal" / f"{timeline:08X}.history").read_text(encoding="utf-8")
        return wal.history(timeline, text)
    except FileNotFoundError:
        theirs = wal.history(leader.timeline, leader.history) if leader else ()
        if timeline not in [stretch.timeline for stretch in theirs]:
            raise
        past = tuple(stretch for stretch in theirs if stretch.timeline < timeline)
        return (*past, wal.Stretch(timeline, None))


@dataclass
class Beyond:
    """What was found from `start` on; `whole` tells whether all of it could be read.

    `cut` tells that WAL is missing which a server would wait for. `names` are the segments to keep, what
    matters most first.
    """

    tail: wal.Tail
    files: dict[int, str]
    names: tuple[str, ...] = ()
    end: int | None = None
    cut: bool = False
    trouble: list[str] = field(default_factory=list[str])

    @property
    def whole(self) -> bool:
        return not self.trouble


def written_files(pg_wal: Path, timelines: tuple[int, ...], start: int, size: int) -> dict[int, str]:
    """Segments that hold WAL from `start` on, by number. Raises OSError."""
    first = wal.first_segment(start, size)
    found = wal.tail_files([path.name for path in pg_wal.iterdir()], timelines, first, size)
    return {number: name for number, name in found.items() if _is_written(pg_wal / name, number, size)}


def all_segments(pg_wal: Path, size: int) -> tuple[str, ...]:
    """All segments that hold WAL, of whatever timeline, newest first. Raises OSError."""
    found: list[tuple[int, int, str]] = []
    for path in pg_wal.iterdir():
        which = wal.segment_number(path.name, size)
        if which and _is_written(path, which[1], size):
            found.append((which[1], which[0], path.name))
    return tuple(name for _, _, name in sorted(found, reverse=True))


def _is_written(path: Path, number: int, size: int) -> bool:
    """Also for one that cannot be read: whoever reads or copies it next says so."""
    try:
        with path.open("rb") as segment:
            return wal.is_written(segment.read(wal.PAGE_HEADER.size), number, size)
    except OSError:
        return True


def beyond(
    programs: Programs, data_dir: Path, timelines: tuple[int, ...], start: int, known: Control, limit_s: float
) -> Beyond:
    """Reads the WAL from `start` to its end, within the limit. Never raises: see `trouble`."""
    found = Beyond(wal.Tail(), {})
    try:
        found.files = written_files(data_dir / "pg_wal", timelines, start, known.segment_size)
        found.names = tuple(found.files.values())
        numbers = _without_gap(found, start, known)
        if numbers:
            with _one_timeline(data_dir / "pg_wal", found.files, numbers, known) as folder:
                _scan(programs, folder, numbers[0] * known.segment_size, start, known, limit_s, found)
    except (OSError, ProgramFailed, ValueError) as error:
        found.trouble.append(f"the WAL could not be read: {error}")
    return found


def _without_gap(found: Beyond, start: int, known: Control) -> list[int]:
    """The segments that follow each other from the one of `start` on."""
    size = known.segment_size
    here = start // size
    if here not in found.files:
        if known.end > start:
            found.trouble.append(f"the segment of {wal.format_lsn(start)} is not there")
            found.cut = True
        return []
    first = min(found.files)
    numbers: list[int] = []
    for number in sorted(found.files):
        if number != first + len(numbers):
            found.trouble.append(f"the segment before {found.files[number]} is not there")
            found.cut = True
            break
        numbers.append(number)
    return numbers


@contextlib.contextmanager
def _one_timeline(pg_wal: Path, files: Mapping[int, str], numbers: list[int], known: Control):
    """A folder in which `pg_waldump` finds the segments under one timeline's names.

    One without WAL stands at the end: for a file that is not there pg_waldump waits 5 seconds. It has the
    last one's first page, because pg_waldump takes the segment size from any file, and a page with another
    segment's address ends the WAL.
    """
    folder = Path(tempfile.mkdtemp(prefix="hanbat-salvage-"))
    try:
        for number in numbers:
            name = wal.segment_name(known.timeline, number, known.segment_size)
            (folder / name).symlink_to(pg_wal / files[number])
        last = folder / wal.segment_name(known.timeline, numbers[-1] + 1, known.segment_size)
        with (pg_wal / files[numbers[-1]]).open("rb") as source, last.open("wb") as empty:
            empty.write(source.read(wal.PAGE))
            empty.truncate(known.segment_size)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _scan(
    programs: Programs, folder: Path, first: int, start: int, known: Control, limit_s: float, found: Beyond
) -> None:
    deadline = time.monotonic() + limit_s
    where = ("-p", folder, "-t", str(known.timeline))
    errors: list[str] = []
    words = (*where, "-s", wal.format_lsn(first), "-r", "Transaction", "-r", "Heap")
    for line in programs.lines("pg_waldump", *words, limit_s=limit_s, errors=errors):
        # Inserts are most of the lines, and tell nothing that the rows do not tell.
        if "desc: INSERT" not in line:
            found.tail.read(line, start, known.segment_size)
    last = wal.last_record("".join(errors))
    if last is None:
        found.trouble.append(f"pg_waldump does not tell where the WAL ends: {''.join(errors).strip()[-300:]}")
        return
    words = (*where, "-s", wal.format_lsn(last[0]), "-n", "1")
    line = programs.run("pg_waldump", *words, limit_s=deadline - time.monotonic())
    found.end = wal.end_after(line, known.segment_size)
    if found.end is None:
        found.trouble.append(f"the last record, at {wal.format_lsn(last[0])}, cannot be read")
        return
    if found.end < known.end:
        found.cut = True
        found.trouble.append(
            f"the WAL ends at {wal.format_lsn(found.end)} ({last[1]}), "
            f"but it had reached {wal.format_lsn(known.end)}"
        )
