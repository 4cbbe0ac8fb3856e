"""Is the chain of receipts whole: nothing inserted, dropped or changed?"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from lab.drill.case import Case, Check, Finding, HostSnapshot, Row


def receipt_hash(row: Row) -> str:
    """SHA-256 of a bid's lines, computed by the auditor itself (lines: `app.bids.receipt_hash`)."""
    received = (
        datetime.fromisoformat(str(row["received_at"])).astimezone(UTC).isoformat(timespec="microseconds")
    )
    lines = (
        row["previous_hash"],
        row["tender_id"],
        row["sequence"],
        row["company_id"],
        row["amount"],
        row["pick_a"],
        row["pick_b"],
        received,
        row["nonce"],
        row["receipt_number"],
    )
    return hashlib.sha256("\n".join(str(line) for line in lines).encode()).hexdigest()


def receipts_chained(case: Case) -> Check:
    """Each tender's receipts have no gap, name the hash of the one before, and hash to their own."""
    findings: list[Finding] = []
    examined = 0
    for snapshot in case.snapshots:
        starts = {str(row["id"]): str(row["chain_start"]) for row in snapshot.rows("tender")}
        for tender, rows in _by_tender(snapshot).items():
            examined += len(rows)
            findings += _broken_links(tender, starts.get(tender), rows, snapshot.host)
    return Check("receipts_chained", examined, tuple(findings))


def _by_tender(snapshot: HostSnapshot) -> dict[str, list[Row]]:
    by_tender: dict[str, list[Row]] = {}
    for row in sorted(snapshot.rows("bid"), key=lambda row: int(row["sequence"])):
        by_tender.setdefault(str(row["tender_id"]), []).append(row)
    return by_tender


def _broken_links(tender: str, start: str | None, rows: list[Row], host: str) -> list[Finding]:
    previous = start
    for place, row in enumerate(rows, start=1):
        fact = _broken(row, place, previous)
        if fact is not None:
            return [
                Finding("chain_broken", f"tender {tender}", f"receipt {row['receipt_number']} {fact}", host)
            ]
        previous = str(row["receipt_hash"])
    return []


def _broken(row: Row, place: int, previous: str | None) -> str | None:
    if int(row["sequence"]) != place:
        return f"has sequence {row['sequence']} and stands at place {place}"
    if row["previous_hash"] != previous:
        return "does not name the hash of the receipt before it"
    if row["receipt_hash"] != receipt_hash(row):
        return "does not hash to its own receipt"
    return None
