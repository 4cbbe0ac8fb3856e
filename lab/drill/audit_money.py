"""Is everybody paid, once, and in time?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lab.drill.case import Case, Check, Finding, HostSnapshot
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
    """Never-event 3: no payment is late, none was tried and not made, no acknowledged claim lacks one.

    To an acknowledged claim belong its payment and at least one subcontract payment of that, at the primary.
    When the load was broken off, or the primary was not read, only a late payment proves anything; without
    one the check is in doubt.
    """
    tried = [each for each in case.operations if each.kind in ("payment", "subcontract_payment")]
    late = [Finding("payment_delayed", each.key, said) for each in tried if (said := _late(each)) is not None]
    if case.primary is None or not case.expect.drained:
        why = "the primary was not read" if case.primary is None else "the load was broken off"
        return Check("payments_not_delayed", len(late), tuple(late), f"{why}: what was not paid is not known")
    claims = [each for each in case.acknowledged if each.kind == "claim"]
    findings = (*late, *_not_made(case, case.primary, tried), *_unpaid(case.primary, claims))
    return Check("payments_not_delayed", len(tried) + len(claims), findings)


def _not_made(case: Case, primary: HostSnapshot, tried: Sequence[Operation]) -> list[Finding]:
    return [
        Finding("payment_delayed", each.key, f"{each.kind} was tried {len(each.attempts)} times and not made")
        for each in tried
        if each.outcome is not Outcome.ACKNOWLEDGED and not case.written(primary.host, each)
    ]


def _unpaid(primary: HostSnapshot, claims: Sequence[Operation]) -> list[Finding]:
    payments = {str(row["claim_id"]): str(row["id"]) for row in primary.rows("payment")}
    passed_on = {str(row["payment_id"]) for row in primary.rows("subcontract_payment")}
    findings = []
    for claim in claims:
        payment = payments.get(str(claim.response["id"]))
        if payment is None:
            findings.append(
                Finding("payment_missing", claim.key, "the claim was acknowledged and is not paid")
            )
        elif payment not in passed_on:
            detail = "the claim is paid, and nothing was passed on to the subcontractor"
            findings.append(Finding("payment_missing", claim.key, detail))
    return findings


def _late(operation: Operation) -> str | None:
    answer = operation.response
    if operation.outcome is not Outcome.ACKNOWLEDGED or not isinstance(answer, dict):
        return None
    days = answer.get("late_days") or 0
    return f"{days} days late" if int(days) > 0 else None
