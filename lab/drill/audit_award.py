"""Does the opening stand: same everywhere, as acknowledged, as recomputed, as published?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.drill.audit_recomputation import recomputed
from lab.drill.case import Case, Check, Finding, HostSnapshot, Row
from lab.drill.recompute import draw_counts, drawn_numbers, floor_price, scheduled_price

# What an opening and an award may never differ in from the answer that was given.
OPENING_FIELDS = ("scheduled_price", "draw_counts", "drawn_numbers", "floor_price")
AWARD_FIELDS = ("bid_id", "amount")


def awards_stand(case: Case) -> Check:
    """Never-event 2: no opening or award that another host, the answer given, or its own bids contradict.

    Each is compared with the primary's, with what the client was told, and with the auditor's own computation
    from the bids, the numbers drawn and the preliminary prices of the same host.
    """
    findings: list[Finding] = []
    examined = 0
    answers = {op.key: op for op in case.acknowledged if op.kind in ("opening", "award")}
    for snapshot in case.snapshots:
        for table, fields in (("opening", OPENING_FIELDS), ("award", AWARD_FIELDS)):
            for row in snapshot.rows(table):
                examined += 1
                operation = answers.get(str(row.get("request_key")))
                if operation is not None:
                    what = "the answer that was given"
                    findings += _differences(row, operation.response, snapshot.host, what, fields)
            findings += _decided_again(snapshot, table)
        findings += recomputed(snapshot)
    findings += _between_hosts(case)
    return Check("awards_stand", examined, tuple(findings))


def _differences(
    row: Row, other: Mapping[str, Any], host: str, what: str, fields: tuple[str, ...] = OPENING_FIELDS
) -> list[Finding]:
    return [
        Finding(
            "award_changed",
            str(row.get("tender_id")),
            f"{name} is {row[name]}, {what} says {other[name]}",
            host,
        )
        for name in fields
        if name in row and name in other and _plain(row[name]) != _plain(other[name])
    ]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _decided_again(snapshot: HostSnapshot, table: str) -> list[Finding]:
    seen: set[str] = set()
    findings: list[Finding] = []
    for row in snapshot.rows(table):
        tender = str(row.get("tender_id"))
        if tender in seen:
            findings.append(
                Finding("award_changed", tender, f"two rows in {table} for one tender", snapshot.host)
            )
        seen.add(tender)
    return findings


def _between_hosts(case: Case) -> list[Finding]:
    reference = case.primary
    if reference is None:
        return []
    findings: list[Finding] = []
    for table in ("opening", "award"):
        decided = {str(row.get("tender_id")): row for row in reference.rows(table)}
        for snapshot in case.snapshots:
            for row in snapshot.rows(table):
                other = decided.get(str(row.get("tender_id")))
                if other is not None and dict(row) != dict(other):
                    subject = str(row.get("tender_id"))
                    findings.append(
                        Finding(
                            "award_changed", subject, f"{table} is not as on {reference.host}", snapshot.host
                        )
                    )
    return findings


def official_as_published(case: Case) -> Check:
    """The official opening on every host equals the published one and the auditor's own computation."""
    tender = case.expect.official_tender
    if tender is None:
        return Check("official_as_published", 0, note="the official tender was not made")
    findings: list[Finding] = []
    examined = 0
    for snapshot in case.snapshots:
        for row in snapshot.rows("opening"):
            if str(row.get("tender_id")) == tender:
                examined += 1
                findings += _official_differences(case, snapshot, row)
    return Check("official_as_published", examined, tuple(findings))


def _official_differences(case: Case, snapshot: HostSnapshot, row: Row) -> list[Finding]:
    official = case.expect.official
    bids = [bid for bid in snapshot.rows("bid") if str(bid["tender_id"]) == case.expect.official_tender]
    counts = draw_counts((bid["pick_a"], bid["pick_b"]) for bid in bids)
    computed = {
        "draw_counts": list(counts),
        "drawn_numbers": list(drawn_numbers(counts)),
        "scheduled_price": scheduled_price(official.prices, counts),
        "floor_price": floor_price(official.scheduled_price, case.expect.rate_percent),
    }
    published = {
        "draw_counts": list(official.counts),
        "drawn_numbers": list(official.drawn_numbers),
        "scheduled_price": official.scheduled_price,
    }
    return [
        *_differences(row, computed, snapshot.host, "the auditor's own computation"),
        *_differences(row, published, snapshot.host, "the published result"),
    ]
