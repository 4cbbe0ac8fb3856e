"""Is every acknowledged write there, everywhere, once, and nothing else?"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from lab.drill.audit_time import epoch
from lab.drill.case import TABLES, Case, Check, Finding
from lab.drill.operations import PASSING_STATUSES, Attempt, Operation, Outcome, error_code


def acknowledged_everywhere(case: Case) -> Check:
    """An acknowledged operation absent at the primary is *lost*; absent elsewhere, *missing_on_host*.

    When the primary was not read nothing is known of it: an operation that no other host has is *not_found*,
    and the check is in doubt in any case.
    """
    if case.primary is None:
        return _without_the_primary(case)
    findings: list[Finding] = []
    for operation in case.acknowledged:
        for host in case.expect.hosts:
            if host in case.by_key and not case.written(host, operation):
                kind = "lost" if host == case.expect.primary else "missing_on_host"
                findings.append(
                    Finding(kind, operation.key, f"{operation.kind} was acknowledged and is not there", host)
                )
    return Check("acknowledged_everywhere", len(case.acknowledged), tuple(findings))


def _without_the_primary(case: Case) -> Check:
    findings = tuple(
        Finding("not_found", op.key, f"{op.kind} was acknowledged and is on no host that was read")
        for op in case.acknowledged
        if not any(case.written(host, op) for host in case.by_key)
    )
    return Check("acknowledged_everywhere", 0, findings, "the primary was not read", only_doubt=True)


def same_answer(case: Case) -> Check:
    """Each host keeps the very answer that the client got, and a retried key got that answer and no refusal.

    A key that is written must be answered with what is stored. So a 4xx is a finding (*replay_refused*) when
    the request was sent after the key's row was made, and after an attempt that may have made it. One that
    came before is legitimate: a refusal is not stored, and the facts that it rested on may have changed (the
    opening was too early, and then it was not); so is one that overtook the attempt that wrote.
    """
    refused = (_refused_replay(case, operation) for operation in case.operations)
    findings = [finding for finding in refused if finding]
    examined = 0
    for operation in case.acknowledged:
        answers = {_canonical(a.response) for a in operation.attempts if a.outcome is Outcome.ACKNOWLEDGED}
        if len(answers) > 1:
            findings.append(
                Finding("answer_changed", operation.key, f"{len(answers)} different answers to one key")
            )
        for host in case.by_key:
            for row in case.rows_of(host, "idempotency", operation.key):
                examined += 1
                if _canonical(row["response"]) not in answers:
                    detail = f"{operation.kind}: the host keeps another answer than the client got"
                    findings.append(Finding("answer_differs", operation.key, detail, host))
    return Check("same_answer", examined, tuple(findings))


def _refused_replay(case: Case, operation: Operation) -> Finding | None:
    """The first refusal of a request that was owed the stored answer."""
    made = [
        (epoch(row["created_at"]), host)
        for host in case.by_key
        for row in case.rows_of(host, "idempotency", operation.key)
    ]
    if not made:
        return None
    made_at, host = min(made)
    for place, attempt in enumerate(operation.attempts):
        may_be_written = any(before.outcome is not Outcome.REFUSED for before in operation.attempts[:place])
        if may_be_written and attempt.sent_at > made_at and _refused_by_rule(attempt):
            said = f"{attempt.status} {error_code(attempt.response) or ''}".rstrip()
            detail = f"{operation.kind}: tried again, and refused ({said}) though its answer is stored"
            return Finding("replay_refused", operation.key, detail, host)
    return None


def _refused_by_rule(attempt: Attempt) -> bool:
    """A 4xx of the application to the request itself, not of an edge."""
    status, code = attempt.status or 0, error_code(attempt.response) or ""
    return 400 <= status < 500 and status not in PASSING_STATUSES and not code.startswith("edge:")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def no_phantom(case: Case) -> Check:
    """No row of this run that nobody sent, and none of an operation that was refused every time."""
    sent = {operation.key for operation in case.operations}
    refused = {operation.key for operation in case.refused}
    findings: list[Finding] = []
    examined = 0
    for host in case.by_key:
        rows = [*case.fact_rows(host), *(("idempotency", row) for row in _idempotency(case, host))]
        for table, row in rows:
            examined += 1
            key = str(row.get("request_key"))
            if key not in sent:
                findings.append(Finding("phantom", key, f"{table} row that nobody sent", host))
            elif key in refused and table != "idempotency":
                findings.append(
                    Finding("refused_but_written", key, f"{table} row of a refused operation", host)
                )
    return Check("no_phantom", examined, tuple(findings))


def _idempotency(case: Case, host: str) -> list[Any]:
    return [row for rows in case.by_key[host]["idempotency"].values() for row in rows]


def no_duplicate(case: Case) -> Check:
    """One key has one effect, and one canary sequence one row."""
    findings: list[Finding] = []
    examined = 0
    for host in case.by_key:
        effects = Counter(str(row.get("request_key")) for _, row in case.fact_rows(host))
        answers = Counter(str(row.get("request_key")) for row in _idempotency(case, host))
        numbers = Counter(
            (row["stream"], row["sequence"]) for rows in case.by_key[host]["canary"].values() for row in rows
        )
        examined += len(effects)
        findings += [
            Finding("duplicate", key, f"{n} effects of one key", host) for key, n in effects.items() if n > 1
        ]
        findings += [
            Finding("duplicate", key, f"{n} answers kept for one key", host)
            for key, n in answers.items()
            if n > 1
        ]
        findings += [
            Finding("duplicate", f"{stream}/{number}", f"{n} rows of one sequence", host)
            for (stream, number), n in numbers.items()
            if n > 1
        ]
    return Check("no_duplicate", examined, tuple(findings))


def hosts_agree(case: Case) -> Check:
    """Every row of this run is the same on every host that was read; in doubt without the primary."""
    findings: list[Finding] = []
    reference = case.primary
    if reference is None:
        return Check("hosts_agree", 0, note="the primary was not read")
    examined = 0
    for snapshot in case.snapshots:
        if snapshot.host == reference.host:
            continue
        for table in TABLES:
            ours = Counter(_canonical(dict(row)) for row in reference.rows(table))
            theirs = Counter(_canonical(dict(row)) for row in snapshot.rows(table))
            examined += ours.total()
            if ours != theirs:
                more, fewer = (theirs - ours).total(), (ours - theirs).total()
                detail = f"{more} rows that the primary does not have, {fewer} of the primary's are missing"
                findings.append(Finding("hosts_differ", table, detail, snapshot.host))
    return Check("hosts_agree", examined, tuple(findings))


def every_host_read(case: Case) -> Check:
    """The audit speaks only for hosts that were read: one that was not leaves doubt, and proves no loss."""
    missing = [host for host in case.expect.hosts if host not in case.by_key]
    findings = tuple(
        Finding("not_read", host, case.unread.get(host, "no snapshot of this host"), host) for host in missing
    )
    return Check("every_host_read", len(case.expect.hosts), findings, only_doubt=True)
