"""What is known of a lab across processes: its record, its lock, and the journal of injected faults.

Everything that a lab makes carries its identity in its name or path, so the record needs to say only
that a lab of this identity was begun, for which clone, and since which boot of the computer. It is
written to disk before the first thing is made.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from lab.errors import LabBusy, UnreadableState
from lab.identity import RUN_ROOT, Names


def boot_id() -> str:
    """Changes with every boot of the computer: namespaces and mounts of an earlier one are gone."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()


def save(path: Path, data: object) -> None:
    """Write JSON so that a crash leaves the old text or the new, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with draft.open("w", encoding="utf-8") as stream:
        json.dump(data, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    draft.rename(path)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableState(f"{path}: {error}") from error


@dataclass(frozen=True, slots=True)
class Record:
    """One lab. `up` is true from the moment that it was healthy."""

    identity: str
    clone: str
    sites_file: str
    boot: str
    image: str = ""
    wan: str = ""
    up: bool = False
    seconds: dict[str, float] = field(default_factory=dict)

    def write(self, names: Names) -> None:
        save(names.record, asdict(self))


def read(names: Names) -> Record | None:
    """The record of a lab; None when no lab was begun. Raises UnreadableState."""
    if not names.record.exists():
        return None
    data = _load(names.record)
    try:
        return Record(**data)
    except TypeError as error:
        raise UnreadableState(f"{names.record}: {error}") from error


@contextlib.contextmanager
def locked(names: Names, *, limit_s: float = 0.0) -> Iterator[None]:
    """One `up` or `down` of a lab at a time. Raises LabBusy when the lock is not free in time.

    The lock's file is removed at the end, so a lock counts only while the path still is that file.
    """
    end = time.monotonic() + limit_s
    while True:
        RUN_ROOT.mkdir(parents=True, exist_ok=True)
        stream = names.lock.open("w")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if names.lock.exists() and os.fstat(stream.fileno()).st_ino == names.lock.stat().st_ino:
                break
        except (BlockingIOError, FileNotFoundError):
            pass
        stream.close()
        if time.monotonic() > end:
            raise LabBusy(f"another command works on the lab {names.identity}")
        time.sleep(0.1)
    try:
        yield
    finally:
        names.lock.unlink(missing_ok=True)
        stream.close()
        with contextlib.suppress(OSError):
            RUN_ROOT.rmdir()  # only if no other lab has something there


@dataclass(frozen=True, slots=True)
class Injected:
    """One fault that was injected and not healed. `facts` is what its proof and its cure need."""

    name: str
    target: str
    at: float  # seconds since the epoch
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.target


class FaultJournal:
    """The faults of a lab, in the order of their injection; shared by all processes."""

    def __init__(self, names: Names) -> None:
        self._file = names.state / "faults.json"
        self._lock = names.state / "faults.lock"

    def read(self) -> tuple[Injected, ...]:
        """Raises UnreadableState."""
        if not self._file.exists():
            return ()
        try:
            return tuple(Injected(**row) for row in _load(self._file))
        except TypeError as error:
            raise UnreadableState(f"{self._file}: {error}") from error

    @contextlib.contextmanager
    def change(self) -> Iterator[FaultJournal]:
        """Hold the journal while faults and the network's cuts are changed together."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self

    def add(self, fault: Injected) -> None:
        """Twice is the same as once; new facts replace the old, the time stays."""
        rows = {row.key: row for row in self.read()}
        old = rows.get(fault.key)
        rows[fault.key] = replace(fault, at=old.at) if old else fault
        self._save(rows)

    def drop(self, key: tuple[str, str]) -> None:
        rows = {row.key: row for row in self.read()}
        if rows.pop(key, None):
            self._save(rows)

    def find(self, key: tuple[str, str]) -> Injected | None:
        return next((row for row in self.read() if row.key == key), None)

    def _save(self, rows: dict[tuple[str, str], Injected]) -> None:
        save(self._file, [asdict(row) for row in rows.values()])
