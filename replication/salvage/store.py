"""The evidence on disk: one folder a salvage, complete or absent, kept until newer ones push it out.

A folder is written under a hidden name, flushed, and renamed. Later files (rows, comparison, report)
each replace the old one in the same way. Only `manifest.json` says what there is.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from hanbat.errors import Exit, HanbatError

MANIFEST, RECORDS, COMPARISON, REPORT = "manifest.json", "records.json", "comparison.json", "report.txt"
CHUNK = 1 << 20


class UnknownSalvage(HanbatError):
    """No salvage has this ID on this machine."""

    code = 185
    hint = "hanbat salvage list"
    exit_status = Exit.USAGE


class SalvageDamaged(HanbatError):
    """A salvage's file is missing, cannot be read, or is not what its manifest says."""

    code = 186
    hint = "keep the folder as it is; the segments that still match their sha256 can be read by pg_waldump"


class Kind(StrEnum):
    """What a salvage holds; each kind is kept and counted by itself."""

    EMPTY = "empty"
    TRANSACTIONS = "transactions"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Segment:
    """One WAL segment that was kept."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of one tail. `None` is unknown, never zero."""

    id: str
    host: str
    cluster: str
    system: str
    made_at: str
    before: str  # the step that would have destroyed it
    leader: str | None
    timeline: int
    new_timeline: int | None
    parted_timeline: int | None
    parted_lsn: str | None
    end_lsn: str | None
    tail_bytes: int | None
    committed: int | None
    aborted: int | None
    first_commit_at: str | None
    last_commit_at: str | None
    segments: tuple[Segment, ...] = ()
    left_out: tuple[str, ...] = ()  # segments that were not kept
    decoded: str = "no"  # no need | under way | yes | partly | no
    records: int | None = None
    interrupted: int = 0  # attempts to decode that never ended
    notes: tuple[str, ...] = ()
    took_s: float = 0.0
    number: int = 0  # counts this machine's salvages: a clock may be wrong, and the ID is a time
    version: int = field(default=1)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def kind(self) -> Kind:
        if self.committed is None:
            return Kind.UNKNOWN
        return Kind.TRANSACTIONS if self.committed else Kind.EMPTY

    @property
    def empty(self) -> bool:
        """Whether it is known that nothing was left behind."""
        return self.committed == 0

    @property
    def order(self) -> tuple[int, str]:
        """Rises with each salvage; those from before there was a number are the oldest."""
        return (self.number, self.id)

    @property
    def place(self) -> tuple[object, ...]:
        """Where the tail begins: two looks at one tail have it in common."""
        return (self.system, self.timeline, self.parted_timeline, self.parted_lsn)

    @property
    def transactions(self) -> tuple[object, ...]:
        """What committed in the tail, which a checkpoint that is appended to it does not change."""
        return (self.committed, self.first_commit_at, self.last_commit_at)


def manifest_from(data: dict[str, Any]) -> Manifest:
    """Raises KeyError or TypeError for what is no manifest."""
    known = {one.name for one in fields(Manifest)}
    values = {name: value for name, value in data.items() if name in known}
    values["segments"] = tuple(Segment(**one) for one in data["segments"])
    values["left_out"], values["notes"] = tuple(data["left_out"]), tuple(data["notes"])
    return Manifest(**values)


def flush_folder(folder: Path) -> None:
    """Makes names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, text: str) -> None:
    """Replaces a file: complete or as it was."""
    hidden = path.with_name(f".{path.name}.new")
    with hidden.open("w", encoding="utf-8") as out:
        os.fchmod(out.fileno(), 0o600)
        if os.geteuid() == 0:  # a person's `salvage compare`: the file stays its owner's, postgres
            owner = path.parent.stat()
            os.fchown(out.fileno(), owner.st_uid, owner.st_gid)
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    hidden.replace(path)
    flush_folder(path.parent)


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class Copied:
    """What came of copying segments: those kept, those not and why."""

    kept: tuple[Segment, ...]
    left_out: tuple[str, ...]
    why: tuple[str, ...]


@dataclass(frozen=True)
class Store:
    """The folder of all salvages of this machine."""

    folder: Path

    def listed(self) -> list[Manifest]:
        """Oldest first. Raises SalvageDamaged for a folder whose manifest cannot be read."""
        if not self.folder.is_dir():
            return []
        names = [path.name for path in self.folder.iterdir() if not path.name.startswith(".")]
        return sorted((self.get(name) for name in names), key=lambda one: one.order)

    def readable(self) -> list[Manifest]:
        """Like `listed`, without the damaged ones: for a salvage that must go on."""
        found: list[Manifest] = []
        for path in self.folder.glob("[!.]*"):
            try:
                found.append(self.get(path.name))
            except HanbatError:
                continue
        return sorted(found, key=lambda one: one.order)

    def path(self, salvage: str) -> Path:
        """Folder of one salvage. Raises UnknownSalvage."""
        folder = self.folder / salvage
        if "/" in salvage or salvage.startswith(".") or not salvage or not folder.is_dir():
            raise UnknownSalvage(f"no salvage {salvage} in {self.folder}")
        return folder

    def get(self, salvage: str) -> Manifest:
        """Raises UnknownSalvage, SalvageDamaged."""
        data = self.read(salvage, MANIFEST)
        try:
            return manifest_from(data)
        except (KeyError, TypeError) as error:
            raise SalvageDamaged(f"{salvage}/{MANIFEST}: {error!r}") from error

    def read(self, salvage: str, name: str) -> Any:
        """One JSON file of a salvage; None for rows or a comparison that are not there (yet)."""
        path = self.path(salvage) / name
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            if name == MANIFEST:
                raise SalvageDamaged(f"{path} is missing") from error
            return None
        except (OSError, ValueError) as error:
            raise SalvageDamaged(f"{path}: {error}") from error

    def check(self, salvage: str) -> None:
        """Compares each kept segment with its manifest. Raises SalvageDamaged."""
        for segment in self.get(salvage).segments:
            path = self.path(salvage) / "wal" / segment.name
            try:
                with path.open("rb") as source:
                    found = hashlib.file_digest(source, "sha256").hexdigest()
            except OSError as error:
                raise SalvageDamaged(f"{path}: {error}") from error
            if found != segment.sha256:
                raise SalvageDamaged(f"{path} is not what was kept: its sha256 differs")

    def unused(self, salvage: str) -> str:
        """The ID, or with a number when another salvage of the same second has it."""
        names = (salvage, *(f"{salvage}-{number}" for number in range(2, 1000)))
        return next(name for name in names if not (self.folder / name).exists())

    def begin(self, salvage: str) -> Path:
        """A hidden folder to fill; `finish` makes it a salvage.

        Removes all that attempts before left: they hold the room that this one needs, and only Patroni's
        background thread, one action at a time, makes such folders.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in self.folder.glob(".half-*"):
            shutil.rmtree(old, ignore_errors=True)
        half = self.folder / f".half-{salvage}"
        half.mkdir(mode=0o700)
        return half

    def finish(self, half: Path, manifest: Manifest) -> Manifest:
        """From here on the salvage is there, complete, under the next number."""
        manifest = replace(manifest, number=max((one.number for one in self.readable()), default=0) + 1)
        write(half / MANIFEST, as_json(manifest.as_dict()))
        half.rename(self.folder / manifest.id)
        flush_folder(self.folder)
        return manifest

    def update(self, manifest: Manifest) -> None:
        write(self.path(manifest.id) / MANIFEST, as_json(manifest.as_dict()))

    def retire(self, keep_count: int) -> list[str]:
        """Removes the oldest beyond the count, of each kind; the names of those removed.

        Those where nothing was left behind, and those where that is unknown, are counted apart: they never
        push out one with rows.
        """
        gone: list[str] = []
        for kind in Kind:
            names = [one.id for one in self.readable() if one.kind is kind]
            for name in names[: max(len(names) - keep_count, 0)]:
                shutil.rmtree(self.folder / name)
                gone.append(name)
        return gone


def copy_segments(
    sources: Iterable[tuple[str, Path]],
    target: Path,
    *,
    limit_bytes: int,
    free_bytes: Callable[[], int],
    reserve_bytes: int,
    deadline: float,
    now: Callable[[], float],
) -> Copied:
    """Copies the files, in their order, as long as size, disk and time allow; says what it left out."""
    target.mkdir(mode=0o700, exist_ok=True)
    kept: list[Segment] = []
    left: list[str] = []
    why: list[str] = []
    total = 0
    for name, source in sources:
        try:
            size = source.stat().st_size
            if total + size > limit_bytes:
                raise OSError(f"the limit of {limit_bytes >> 20} MB is reached")
            if free_bytes() - size < reserve_bytes:
                raise OSError(f"less than {reserve_bytes >> 20} MB would be free on the disk")
            kept.append(_copy(source, target / name, deadline, now))
            total += size
        except OSError as error:
            (target / name).unlink(missing_ok=True)
            left.append(name)
            if str(error) not in why:
                why.append(str(error))
    flush_folder(target)
    return Copied(tuple(kept), tuple(left), tuple(why))


def _copy(source: Path, target: Path, deadline: float, now: Callable[[], float]) -> Segment:
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(CHUNK):
            if now() > deadline:
                raise OSError("the time was up")
            digest.update(chunk)
            size += writer.write(chunk)
        writer.flush()
        os.fsync(writer.fileno())
    target.chmod(0o600)
    return Segment(target.name, size, digest.hexdigest())
