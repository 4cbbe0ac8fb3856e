"""Is everybody paid, once, and in time?"""

from __future__ import annotations

from collections import Counter

from lab.drill.case import Case, Check, Finding
from lab.drill.operations import Operation, Outcome


def paid_once(case: Case) -> Check:
    """One payment a claim, one subcontract payment a payment and subcontract, on every host."""
    findings: list[Finding] = []
    examined = 0
    for snapshot in case.snapshots:
        payments = Counter(str(row["claim_id"]) for row in snapshot.rows("payment"))
        passed_on = Counter(
            (str(row["payment_id"]), str(row["subcontract_id"]))
            for row in snapshot.rows("subcontract_payment")
        )
        examined += payments.total() + passed_on.total()
        findings += [
            Finding("paid_twice", f"claim {claim}", f"{n} payments of one claim", snapshot.host)
            for claim, n in payments.items()
            if n > 1
        ]
        findings += [
            Finding(
                "paid_twice",
                f"payment {payment}, subcontract {part}",
                f"{n} payments passed on",
                snapshot.host,
            )
            for (payment, part), n in passed_on.items()
            if n > 1
        ]
    return Check("paid_once", examined, tuple(findings))


def payments_not_delayed(case: Case) -> Check:
    """Never-event 3: no payment late, none that was tried and never made."""
    findings: list[Finding] = []
    examined = 0
    for operation in case.operations:
        if operation.kind not in ("payment", "subcontract_payment"):
            continue
        examined += 1
        late = _late(operation)
        if late:
            findings.append(Finding("payment_delayed", operation.key, late))
        elif operation.outcome is not Outcome.ACKNOWLEDGED and not _written_at_primary(case, operation):
            detail = f"{operation.kind} was tried {len(operation.attempts)} times and not made"
            findings.append(Finding("payment_delayed", operation.key, detail))
    return Check("payments_not_delayed", examined, tuple(findings))


def _late(operation: Operation) -> str | None:
    answer = operation.response
    if operation.outcome is not Outcome.ACKNOWLEDGED or not isinstance(answer, dict):
        return None
    days = answer.get("late_days") or 0
    return f"{days} days late" if int(days) > 0 else None


def _written_at_primary(case: Case, operation: Operation) -> bool:
    return case.primary is not None and case.written(case.primary.host, operation)
