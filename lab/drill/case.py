"""What the auditor judges: operations, what each database host holds, and what was expected.

All of it is plain data; every check is a pure function of one `Case`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from lab.drill.official import Official
from lab.drill.operations import Operation, Outcome

Row = Mapping[str, Any]

# Where the effect of an operation is written, beside its idempotency row. Other kinds (institution,
# company, contract steps) change tables that the audit reads through the idempotency row.
FACT_TABLES: dict[str, str] = {
    "tender": "tender",
    "canary": "canary",
    "bid": "bid",
    "opening": "opening",
    "award": "award",
    "contract": "contract",
    "claim": "claim",
    "payment": "payment",
    "subcontract_payment": "subcontract_payment",
}
# Read besides them: the answers that were given, and what an opening is computed from.
TABLES = (*FACT_TABLES.values(), "idempotency", "preliminary_price")
# Names of the database's own time in an answer, the first that is there.
DATABASE_TIMES = ("written_at", "received_at", "opened_at", "paid_at")


class CheckVerdict(StrEnum):
    """What a check says. Nothing examined is unknown, never passed."""

    PASSED = "passed"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: what kind, which operation or row, and the fact."""

    kind: str
    subject: str
    detail: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check. `examined` counts what it looked at."""

    name: str
    examined: int
    findings: tuple[Finding, ...] = ()
    note: str = ""
    # A finding of such a check says that the drill proves nothing, not that the service is wrong.
    only_doubt: bool = False

    @property
    def verdict(self) -> CheckVerdict:
        if self.findings:
            return CheckVerdict.UNKNOWN if self.only_doubt else CheckVerdict.FAILED
        return CheckVerdict.PASSED if self.examined else CheckVerdict.UNKNOWN


@dataclass(frozen=True, slots=True)
class HostSnapshot:
    """This run's rows on one database host, by table."""

    host: str
    tables: Mapping[str, tuple[Row, ...]]

    def rows(self, table: str) -> tuple[Row, ...]:
        """Raises KeyError for a table that was not read: not read is not empty."""
        return self.tables[table]


@dataclass(frozen=True, slots=True)
class CanaryPlan:
    """What one canary stream should have done. Times in seconds since the epoch."""

    stream: str
    rate_per_s: float
    start_at: float
    stop_at: float


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the scenario promised before it began, and what the published data say."""

    run: str  # every key of this run begins with it, and a colon
    hosts: tuple[str, ...]
    primary: str | None  # where the primary is when the snapshots are read; None: nowhere, or two
    official: Official
    official_tender: str | None  # its id in this run; None when it was never made
    rate_percent: str
    canaries: tuple[CanaryPlan, ...] = ()
    clock_tolerance_s: float = 0.5
    outage_limit_s: float = 60.0
    canary_gap_s: float = 1.0
    drained: bool = True  # the load stopped by itself: what it owed was paid, or tried for long enough


@dataclass(frozen=True)
class Case:
    """Everything that the audit sees. Hosts that could not be read are in `unread`, with the reason."""

    operations: tuple[Operation, ...]
    snapshots: tuple[HostSnapshot, ...]
    expect: Expectations
    unread: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def acknowledged(self) -> tuple[Operation, ...]:
        return tuple(op for op in self.operations if op.outcome is Outcome.ACKNOWLEDGED)

    @cached_property
    def unknown(self) -> tuple[Operation, ...]:
        return tuple(op for op in self.operations if op.outcome is Outcome.UNKNOWN)

    @cached_property
    def refused(self) -> tuple[Operation, ...]:
        return tuple(op for op in self.operations if op.outcome is Outcome.REFUSED)

    @cached_property
    def primary(self) -> HostSnapshot | None:
        """The snapshot of the host with the primary, the reference for all others; None if not read."""
        return next((snapshot for snapshot in self.snapshots if snapshot.host == self.expect.primary), None)

    @cached_property
    def by_key(self) -> dict[str, dict[str, dict[str, list[Row]]]]:
        """host -> table -> idempotency key -> rows."""
        index: dict[str, dict[str, dict[str, list[Row]]]] = {}
        for snapshot in self.snapshots:
            tables = index.setdefault(snapshot.host, {})
            for table, rows in snapshot.tables.items():
                keys = tables.setdefault(table, {})
                for row in rows:
                    keys.setdefault(str(row.get("request_key")), []).append(row)
        return index

    def rows_of(self, host: str, table: str, key: str) -> list[Row]:
        return self.by_key[host][table].get(key, [])

    def is_ours(self, key: str) -> bool:
        return key.startswith(self.expect.run + ":")

    def written(self, host: str, operation: Operation) -> bool:
        """Is an operation's effect on a host: its idempotency row and, where it has one, its fact row?"""
        table = FACT_TABLES.get(operation.kind)
        has_fact = table is None or bool(self.rows_of(host, table, operation.key))
        answers = self.rows_of(host, "idempotency", operation.key)
        return has_fact and any(200 <= int(row["status"]) < 300 for row in answers)

    def fact_rows(self, host: str) -> Iterator[tuple[str, Row]]:
        for table in FACT_TABLES.values():
            for rows in self.by_key[host].get(table, {}).values():
                for row in rows:
                    yield table, row
