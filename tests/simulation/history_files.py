"""The history files in one server's pg_wal, in memory: what `mends.fresh_timeline` asks of a Path.

They decide which number PostgreSQL gives to the timeline that a promotion begins.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from functools import cache

from replication.mends.fresh_timeline import COMMENT


@cache
def _nowhere() -> int:
    """A descriptor that the real code may fsync."""
    return os.memfd_create("history")


class _Writing(io.StringIO):
    def __init__(self, file: File) -> None:
        super().__init__()
        self._file = file

    def fileno(self) -> int:
        return _nowhere()

    def close(self) -> None:
        if not self.closed:
            self._file.folder.texts[self._file.number] = self.getvalue()
        super().close()


@dataclass(frozen=True, slots=True)
class File:
    folder: Folder
    number: int

    @property
    def stem(self) -> str:
        return f"{self.number:08X}"

    @property
    def name(self) -> str:
        return f"{self.stem}.history"

    def __lt__(self, other: File) -> bool:
        return self.number < other.number

    def exists(self) -> bool:
        return self.number in self.folder.texts

    def open(self, mode: str, encoding: str) -> _Writing:
        if mode != "x" or self.exists():
            raise FileExistsError(self.name)
        return _Writing(self)

    def read_bytes(self) -> bytes:
        return self.folder.texts[self.number].encode()

    def unlink(self) -> None:
        del self.folder.texts[self.number]


class Folder:
    """`texts`: what stands in the file of each number. Timeline 1 has none."""

    def __init__(self) -> None:
        self.texts: dict[int, str] = {}

    def glob(self, pattern: str) -> list[File]:
        return [File(self, number) for number in self.texts]

    def __truediv__(self, name: str) -> File:
        return File(self, int(name.removesuffix(".history"), 16))

    def newest(self, timeline: int) -> int:
        """`findNewestTimeLine`: counts up from here, and stops at the first number without a file."""
        while timeline + 1 in self.texts:
            timeline += 1
        return timeline

    def begin(self, timeline: int, host: str) -> int:
        """A promotion's new timeline: its number; its file names where it came from. No two texts are one."""
        number = self.newest(timeline) + 1
        self.texts[number] = f"{timeline}\t{host}\tno recovery target specified\n"
        return number

    def parent(self, timeline: int) -> int:
        """Where a timeline came from, by the last line of its file."""
        text = self.texts.get(timeline, COMMENT)
        return 0 if text == COMMENT else int(text.split("\t", 1)[0])

    def fetch(self, other: Folder, timeline: int, until: int) -> bool:
        """`WalRcvFetchTimeLineHistoryFiles`: those that are missing here; False where the other has none."""
        for number in range(max(timeline, 2), until + 1):
            if number not in self.texts:
                if number not in other.texts:
                    return False
                self.texts[number] = other.texts[number]
        return True

    def leads_to(self, other: Folder, timeline: int, until: int) -> bool:
        """`rescanLatestTimeLine`: the newest here is the primary's, and not a comment in its place."""
        if timeline == until:
            return True
        return self.newest(timeline) == until and self.texts[until] == other.texts[until] != COMMENT
