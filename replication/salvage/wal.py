"""Where two histories of WAL part, which segments hold one's tail, and what `pg_waldump` says of it.

Pure functions of text and numbers; nothing here reads a disk or starts a program. The formats are
PostgreSQL's: history files (`access/transam/timeline.c`), page headers (`access/xlog_internal.h`),
and the lines of `pg_waldump` 13 to 16.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

PAGE = 8192
SHORT_HEADER, LONG_HEADER = 24, 40
ALIGN = 8
PAGE_HEADER = struct.Struct("=HHIQ")  # magic, info, timeline, address of the page

RECORD = re.compile(
    r"rmgr: (?P<rmgr>\S+)\s+len \(rec/tot\):\s*\d+/\s*(?P<total>\d+), tx:\s*(?P<xid>\d+), "
    r"lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+), prev \S+ desc: (?P<desc>.*)"
)
COMMIT = re.compile(r"COMMIT(?:_PREPARED (?P<prepared>\d+):)? (?P<at>\d{4}-\S+ [\d:.]+)")
SUBXACTS = re.compile(r"; subxacts: (?P<xids>[\d ]+)")
RELATION = re.compile(r"rel (?P<rel>\d+/\d+/\d+)")
STOPPED = re.compile(r"error in WAL record at (?P<lsn>[0-9A-F]+/[0-9A-F]+): (?P<why>.*)")
SWITCH = ("XLOG", "SWITCH")
CHANGES = {"UPDATE": "updated", "HOT_UPDATE": "updated", "DELETE": "deleted", "TRUNCATE": "truncated"}


def parse_lsn(text: str) -> int:
    """`16/B374D848` as a number. Raises ValueError."""
    high, slash, low = text.partition("/")
    if not slash:
        raise ValueError(f"{text!r} is no LSN")
    return (int(high, 16) << 32) + int(low, 16)


def format_lsn(lsn: int) -> str:
    """The number as PostgreSQL prints it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


@dataclass(frozen=True, slots=True)
class Stretch:
    """One timeline of a history, and where it ends; `None` for the last one, which goes on."""

    timeline: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Parting:
    """Where a host's history leaves another's: the last timeline in common, and the position there."""

    timeline: int
    lsn: int


class NotRelated(Exception):
    """Two histories have no timeline in common."""


def history(timeline: int, text: str) -> tuple[Stretch, ...]:
    """A server's timelines, oldest first, from its timeline and the text of its history file."""
    stretches: list[Stretch] = []
    for line in text.splitlines():
        words = line.split(None, 2)
        if len(words) >= 2 and not words[0].startswith("#"):
            stretches.append(Stretch(int(words[0]), parse_lsn(words[1])))
    return (*stretches, Stretch(timeline, None))


def parting(mine: Sequence[Stretch], theirs: Sequence[Stretch]) -> Parting | None:
    """Where my history leaves theirs; None when theirs goes on from all of mine, or the other way round.

    The same timeline at the end of both, or one side's last timeline followed further by the other
    only, parts where the shorter one *says* that it ends; my last timeline says nothing, so it parts
    at the end that theirs has for it. Raises NotRelated.
    """
    last: Parting | None = None
    for own, other in zip(mine, theirs, strict=False):
        if own.timeline != other.timeline:
            break
        ends = [end for end in (own.end, other.end) if end is not None]
        if not ends:
            return None  # the same timeline: nobody has left anybody
        last = Parting(own.timeline, min(ends))
        if own.end != other.end:
            return last
    if last is None:
        raise NotRelated(f"no common timeline: {[s.timeline for s in mine]}, {[s.timeline for s in theirs]}")
    return last


def timelines_from(mine: Sequence[Stretch], where: Parting) -> tuple[int, ...]:
    """My timelines that may hold WAL beyond the parting, oldest first."""
    return tuple(stretch.timeline for stretch in mine if stretch.timeline >= where.timeline)


def segment_name(timeline: int, number: int, size: int) -> str:
    """Name of a segment's file, e.g. `00000003000000000000000A`."""
    each = 0x100000000 // size
    return f"{timeline:08X}{number // each:08X}{number % each:08X}"


def segment_number(name: str, size: int) -> tuple[int, int] | None:
    """Timeline and number of a segment's file; None for any other name (history, partial, folder)."""
    if not re.fullmatch(r"[0-9A-F]{24}", name):
        return None
    each = 0x100000000 // size
    return int(name[:8], 16), int(name[8:16], 16) * each + int(name[16:], 16)


def first_segment(lsn: int, size: int) -> int:
    """The segment from which to read: a record that crosses `lsn` may begin just before it."""
    return max(lsn - 1, 0) // size


def is_written(first_bytes: bytes, number: int, size: int) -> bool:
    """Whether a segment's file holds the WAL of its name.

    PostgreSQL keeps old files under names of the future; their first page still has its old address.
    """
    if len(first_bytes) < PAGE_HEADER.size:
        return False
    _, _, _, address = PAGE_HEADER.unpack_from(first_bytes)
    return address == number * size


def tail_files(names: Iterable[str], timelines: Sequence[int], first: int, size: int) -> dict[int, str]:
    """For each segment number from `first` on, the file to read: that of the newest of my timelines.

    At a change of timeline PostgreSQL copies the segment, so the newest file holds what was before.
    """
    found: dict[int, tuple[int, str]] = {}
    for name in names:
        which = segment_number(name, size)
        if which is None or which[0] not in timelines or which[1] < first:
            continue
        timeline, number = which
        if number not in found or found[number][0] < timeline:
            found[number] = (timeline, name)
    return {number: found[number][1] for number in sorted(found)}


def record_end(start: int, total: int, size: int) -> int:
    """Where the next record may begin, after one of `total` bytes: page headers and alignment counted."""
    position, left = start, total
    while left > 0:
        if position % PAGE == 0:
            position += LONG_HEADER if position % size == 0 else SHORT_HEADER
        here = min(left, PAGE - position % PAGE)
        position, left = position + here, left - here
    return position + -position % ALIGN


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction that committed: its id, those of its subtransactions, when (UTC), and where."""

    xid: int
    subxids: tuple[int, ...]
    at: str
    end: int

    @property
    def xids(self) -> tuple[int, ...]:
        return (self.xid, *self.subxids)


@dataclass
class Tail:
    """What is beyond the parting: commits, aborts, and changes of rows by (transaction, file)."""

    commits: list[Commit] = field(default_factory=list[Commit])
    aborted: int = 0
    changes: dict[tuple[int, str, str], int] = field(default_factory=dict[tuple[int, str, str], int])

    def read(self, line: str, beyond: int, size: int) -> None:
        """Take one line of `pg_waldump` in. A record that only *ends* beyond the parting counts."""
        found = RECORD.match(line)
        if not found:
            return
        end = record_end(parse_lsn(found["lsn"]), int(found["total"]), size)
        if end <= beyond:
            return
        xid, desc = int(found["xid"]), found["desc"]
        if found["rmgr"] == "Transaction":
            self._transaction(xid, desc, end)
        elif found["rmgr"] == "Heap":
            kind, relation = CHANGES.get(desc.split(None, 1)[0].rstrip(",:")), RELATION.search(desc)
            if kind:
                key = (xid, relation["rel"] if relation else "", kind)
                self.changes[key] = self.changes.get(key, 0) + 1

    def _transaction(self, xid: int, desc: str, end: int) -> None:
        commit = COMMIT.match(desc)
        if commit:
            below = SUBXACTS.search(desc)
            subxids = tuple(int(word) for word in below["xids"].split()) if below else ()
            self.commits.append(Commit(int(commit["prepared"] or xid), subxids, commit["at"], end))
        elif desc.startswith("COMMIT"):
            raise ValueError(f"a commit of an unknown form: {desc[:120]}")
        elif desc.startswith("ABORT"):
            self.aborted += 1


def last_record(stderr: str) -> tuple[int, str] | None:
    """Start of the last record that `pg_waldump` could read, and why it stopped; None if it says neither."""
    for line in reversed(stderr.splitlines()):
        found = STOPPED.search(line)
        if found:
            return parse_lsn(found["lsn"]), found["why"]
    return None


def end_after(line: str, size: int) -> int | None:
    """Where WAL goes on after the record in one line of `pg_waldump`; None for any other line.

    After a switch (`pg_switch_wal`, a backup's end) that is the next segment: the rest of this one is empty.
    """
    found = RECORD.match(line)
    if found is None:
        return None
    end = record_end(parse_lsn(found["lsn"]), int(found["total"]), size)
    return end + -end % size if (found["rmgr"], found["desc"].strip()) == SWITCH else end
