"""The auditor: a pure function from one `Case` to checks, counts and a ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from lab.drill import audit_award, audit_money, audit_receipts, audit_records, audit_time
from lab.drill.case import Case, Check, CheckVerdict, Finding
from lab.drill.operations import Outcome

# In the order in which the report shows them. The names are stable: people search for them.
CHECKS: tuple[Callable[[Case], Check], ...] = (
    audit_records.every_host_read,
    audit_records.acknowledged_everywhere,
    audit_records.same_answer,
    audit_records.no_phantom,
    audit_records.no_duplicate,
    audit_records.hosts_agree,
    audit_receipts.receipts_chained,
    audit_award.official_as_published,
    audit_time.clock_goes_forward,
    audit_time.deadlines_kept,
    audit_time.canaries_never_stopped,
    audit_time.never_wholly_down,
    audit_award.awards_stand,
    audit_money.paid_once,
    audit_money.payments_not_delayed,
)
NEVER_EVENTS = ("never_wholly_down", "awards_stand", "payments_not_delayed")


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """One kind of operation. `on_hosts` counts the acknowledged ones found on each host."""

    kind: str
    acknowledged: int
    refused: int
    unknown: int
    unknown_written: int
    unknown_not_written: int
    unknown_unresolved: int
    on_hosts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Audit:
    """What the audit says. Counts are of operations, not of requests.

    `lost` is None when the primary was not read: nobody looked. `retried_unknown` were sent again after an
    attempt whose outcome was unknown: so many could have been duplicated.
    """

    checks: tuple[Check, ...]
    ledger: tuple[LedgerLine, ...]
    acknowledged: int
    refused: int
    unknown: int
    unknown_written: int
    unknown_not_written: int
    lost: int | None
    phantom: int
    duplicated: int
    retried_unknown: int

    @property
    def verdict(self) -> CheckVerdict:
        """Failed if a check failed, else unknown if one is unknown, else passed."""
        verdicts = {check.verdict for check in self.checks}
        for verdict in (CheckVerdict.FAILED, CheckVerdict.UNKNOWN):
            if verdict in verdicts:
                return verdict
        return CheckVerdict.PASSED

    def check(self, name: str) -> Check:
        """Raises StopIteration for a name that is no check."""
        return next(check for check in self.checks if check.name == name)

    def as_dict(self) -> dict[str, Any]:
        """For audit.json."""
        plain = asdict(self)
        for check, shown in zip(self.checks, plain["checks"], strict=True):
            shown["verdict"] = check.verdict.value
        return {"verdict": self.verdict.value, **plain}


def audit(case: Case, asked: tuple[Callable[[Case], Check], ...] = CHECKS) -> Audit:
    """Runs the checks asked for. Never raises for what it finds; raises KeyError for a table not read.

    A check that a scenario does not ask for is left out, not passed: 0 of 0 is unknown.
    """
    checks = tuple(check(case) for check in asked)
    ledger = tuple(_line(case, kind) for kind in sorted({op.kind for op in case.operations}))
    found = [finding for check in checks for finding in check.findings]
    return Audit(
        checks=checks,
        ledger=ledger,
        acknowledged=len(case.acknowledged),
        refused=len(case.refused),
        unknown=len(case.unknown),
        unknown_written=sum(line.unknown_written for line in ledger),
        unknown_not_written=sum(line.unknown_not_written for line in ledger),
        lost=_subjects(found, "lost") if case.primary else None,
        phantom=_subjects(found, "phantom", "refused_but_written"),
        duplicated=_subjects(found, "duplicate", "paid_twice"),
        retried_unknown=sum(op.retried_unknown for op in case.operations),
    )


def _subjects(findings: list[Finding], *kinds: str) -> int:
    return len({finding.subject for finding in findings if finding.kind in kinds})


def _line(case: Case, kind: str) -> LedgerLine:
    """One kind's line; unknown operations are resolved by looking at the primary."""
    mine = [op for op in case.operations if op.kind == kind]
    outcomes = Counter(op.outcome for op in mine)
    unknown = [op for op in mine if op.outcome is Outcome.UNKNOWN]
    reference = case.primary
    written = sum(case.written(reference.host, op) for op in unknown) if reference else 0
    acknowledged = [op for op in mine if op.outcome is Outcome.ACKNOWLEDGED]
    return LedgerLine(
        kind=kind,
        acknowledged=outcomes[Outcome.ACKNOWLEDGED],
        refused=outcomes[Outcome.REFUSED],
        unknown=outcomes[Outcome.UNKNOWN],
        unknown_written=written,
        unknown_not_written=len(unknown) - written if reference else 0,
        unknown_unresolved=0 if reference else len(unknown),
        on_hosts={host: sum(case.written(host, op) for op in acknowledged) for host in case.by_key},
    )
