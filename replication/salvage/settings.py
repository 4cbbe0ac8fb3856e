"""Bounds of a salvage, and the words for what it finds: `/etc/hanbat/salvage.yml`.

The limits are data: type, default, range, unit and help in one place (`LIMITS`). A salvage must never
hold up a rejoin because of a bad file: what is wrong in it is told, and the default used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

PATH = Path("/etc/hanbat/salvage.yml")


@dataclass(frozen=True, slots=True)
class Limit:
    """One bound: its unit is the last word of its name."""

    name: str
    default: int
    low: int
    high: int
    help: str


LIMITS = (
    Limit("keep_count", 20, 1, 1000, "salvages kept of each kind: with transactions, without, unknown"),
    Limit("wal_mb", 1024, 16, 65536, "WAL copied of one tail at the most"),
    Limit("reserve_mb", 512, 0, 1048576, "free space that is left on the disk whatever the tail"),
    Limit("save_s", 60, 1, 3600, "time for reading and copying the tail"),
    Limit("decode_s", 60, 1, 3600, "time for the isolated server: start, read, stop"),
    Limit("records_count", 10000, 1, 1000000, "rows decoded at the most"),
    Limit("compare_s", 300, 1, 86400, "time after the rejoin within which the rows are looked up again"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Words:
    """What an operator calls the rows of one table, and the SQL that tells whose they are.

    `detail` is a query of one JSON object about the row `t`; the order of the tables is that of the report.
    `request` stands at the table of answered requests: the columns that make two requests the same.
    """

    table: str
    title: str
    detail: str = ""
    request: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """All that a salvage needs to be told."""

    folder: Path = Path("/var/lib/hanbat/salvage")
    keep_count: int = 20
    wal_mb: int = 1024
    reserve_mb: int = 512
    save_s: int = 60
    decode_s: int = 60
    records_count: int = 10000
    compare_s: int = 300
    bin_dir: Path = Path("/usr/lib/postgresql/15/bin")
    hosts: Mapping[str, str] = field(default_factory=dict[str, str])  # names by address
    tables: tuple[Words, ...] = ()
    complaints: tuple[str, ...] = field(default=())

    def words(self, table: str) -> Words:
        """The words for `schema.table`; its own name for one that nobody described."""
        for one in self.tables:
            if one.table == table:
                return one
        return Words(table, table.rpartition(".")[2].replace("_", " "))

    @property
    def requests(self) -> Words | None:
        """The table of answered requests; None when nobody named it."""
        return next((one for one in self.tables if one.request), None)

    def rank(self, table: str) -> int:
        """Place of a table in the report; those that nobody described come after the described ones."""
        names = [one.table for one in self.tables]
        return names.index(table) if table in names else len(names)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}


def parse(document: object) -> Settings:
    """Settings from the parsed file; `complaints` holds what was wrong and is not used."""
    complaints: list[str] = []
    data = _mapping(document)
    if not data:
        complaints.append("the file holds no settings")
    values: dict[str, int] = {}
    limits = _mapping(data.get("limits"))
    for limit in LIMITS:
        value = limits.get(limit.name, limit.default)
        if type(value) is not int or not limit.low <= value <= limit.high:
            complaints.append(f"{limit.name} is {value!r}, allowed is {limit.low} to {limit.high}")
            value = limit.default
        values[limit.name] = value
    folder, bin_dir = (str(data.get(name) or getattr(Settings, name)) for name in ("folder", "bin_dir"))
    hosts = {str(address): str(name) for address, name in _mapping(data.get("hosts")).items()}
    tables: list[Words] = []
    for one in cast(Sequence[object], data.get("tables") or ()):
        words = _words(one)
        if words:
            tables.append(words)
        else:
            complaints.append(f"no table and title, or request is no list: {one!r}")
    return Settings(
        folder=Path(folder), bin_dir=Path(bin_dir), hosts=hosts,
        tables=tuple(tables), complaints=tuple(complaints), **values,
    )  # fmt: skip


def _words(document: object) -> Words | None:
    row = _mapping(document)
    request = row.get("request", [])
    if "table" not in row or "title" not in row or not isinstance(request, list):
        return None
    columns = tuple(map(str, cast(Sequence[object], request)))
    return Words(str(row["table"]), str(row["title"]), str(row.get("detail") or "").strip(), columns)


def described_tables() -> tuple[Words, ...]:
    """The tables that `words.yml` describes, in the order of a report: for the renderer."""
    rows = yaml.safe_load(Path(__file__).with_name("words.yml").read_text(encoding="utf-8"))
    return tuple(words for words in map(_words, rows) if words)


def load(path: Path = PATH) -> Settings:
    """Settings from the file; the defaults, with the complaint, when it cannot be read."""
    try:
        return parse(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        return Settings(complaints=(f"{path}: {error}",))
