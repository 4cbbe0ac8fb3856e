"""Does time only go forward, did the load run all the time, was the service ever wholly down?"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from lab.drill.case import DATABASE_TIMES, CanaryPlan, Case, Check, Finding
from lab.drill.operations import Operation
from lab.drill.rto import longest_gap


def database_time(operation: Operation) -> float | None:
    """The database's own time in an answer, in seconds since the epoch; None when the answer has none."""
    if not isinstance(operation.response, dict):
        return None
    text = next((operation.response[name] for name in DATABASE_TIMES if operation.response.get(name)), None)
    return None if text is None else epoch(text)


def epoch(text: object) -> float:
    """Seconds since the epoch of a time as the database writes it."""
    return datetime.fromisoformat(str(text)).timestamp()


def clock_goes_forward(case: Case) -> Check:
    """A write sent after another was acknowledged carries no earlier time, and each lies in its own request.

    All machines of the lab share one clock with the client, so both must hold within the tolerance.
    """
    tolerance = case.expect.clock_tolerance_s
    stamped = [
        (op, at)
        for op in case.acknowledged
        if (at := database_time(op)) is not None and op.ended_at is not None
    ]
    findings = [
        Finding("stale_clock", op.key, f"database time is {_off(op, at):+.3f} s outside its request")
        for op, at in stamped
        if abs(_off(op, at)) > tolerance
    ]
    latest: tuple[float, Operation] | None = None
    ended = iter(sorted(stamped, key=lambda pair: pair[0].ended_at or 0.0))
    following = next(ended, None)
    for operation, at in sorted(stamped, key=lambda pair: pair[0].sent_at):
        while following is not None and (following[0].ended_at or 0.0) < operation.sent_at:
            if latest is None or following[1] > latest[0]:
                latest = (following[1], following[0])
            following = next(ended, None)
        if latest is not None and at < latest[0] - tolerance:
            back_s, earlier = latest[0] - at, latest[1].key
            detail = f"database time is {back_s:.3f} s before that of {earlier}, acknowledged earlier"
            findings.append(Finding("stale_clock", operation.key, detail))
    return Check("clock_goes_forward", len(stamped), tuple(findings))


def _off(operation: Operation, at: float) -> float:
    """Seconds by which a database time lies outside its request: below 0 before, above 0 after."""
    if at < operation.sent_at:
        return at - operation.sent_at
    return max(0.0, at - (operation.ended_at or at))


def deadlines_kept(case: Case) -> Check:
    """No bid was received after its tender's deadline, by the database's clock."""
    findings: list[Finding] = []
    examined = 0
    for snapshot in case.snapshots:
        deadlines = {str(row["id"]): epoch(row["deadline"]) for row in snapshot.rows("tender")}
        for row in snapshot.rows("bid"):
            deadline = deadlines.get(str(row["tender_id"]))
            if deadline is None:  # a bid without its tender: the check of hosts and phantoms names it
                continue
            examined += 1
            received = epoch(row["received_at"])
            if received > deadline:
                detail = f"received {received - deadline:.3f} s after the deadline"
                findings.append(Finding("bid_after_deadline", str(row["request_key"]), detail, snapshot.host))
    return Check("deadlines_kept", examined, tuple(findings))


def canaries_never_stopped(case: Case) -> Check:
    """A canary that stopped sending measures nothing: that leaves doubt, it is never a pass."""
    findings: list[Finding] = []
    for plan in case.expect.canaries:
        sent = sorted(
            op.sent_at for op in case.operations if op.stream == plan.stream and op.kind == "canary"
        )
        findings += _silences(plan, sent, case.expect.canary_gap_s)
    return Check("canaries_never_stopped", len(case.expect.canaries), tuple(findings), only_doubt=True)


def _silences(plan: CanaryPlan, sent: list[float], gap_s: float) -> list[Finding]:
    moments = [plan.start_at, *(at for at in sent if plan.start_at <= at <= plan.stop_at), plan.stop_at]
    return [
        Finding(
            "canary_stopped",
            plan.stream,
            f"sent nothing for {after - before:.1f} s, {before - plan.start_at:.1f} s after its start",
        )
        for before, after in pairwise(moments)
        if after - before > gap_s
    ]


def never_wholly_down(case: Case) -> Check:
    """Never-event 1: no stretch without a single acknowledgement, at any edge, longer than the limit."""
    plans = case.expect.canaries
    if not plans or not case.operations:
        return Check("never_wholly_down", 0, note="nothing was sent")
    start, stop = min(plan.start_at for plan in plans), max(plan.stop_at for plan in plans)
    ended = [op.ended_at for op in case.acknowledged if op.ended_at is not None]
    gap = longest_gap(ended, start, stop)
    findings: tuple[Finding, ...] = ()
    if gap.seconds > case.expect.outage_limit_s:
        detail = f"no acknowledgement for {gap.seconds:.1f} s, the limit is {case.expect.outage_limit_s:g} s"
        findings = (Finding("wholly_down", "service", detail),)
    return Check(
        "never_wholly_down",
        len(ended),
        findings,
        note=f"longest stretch without an acknowledgement: {gap.seconds:.1f} s",
    )
