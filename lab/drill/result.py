"""`result.json`: the fields of design section 6, and what a person needs to judge and repeat the run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lab.drill.audit import NEVER_EVENTS, Audit
from lab.drill.case import CheckVerdict
from lab.drill.drill import Drill
from lab.drill.measure import Measured
from lab.drill.official import load_official
from lab.drill.scenario import Scenario
from lab.drill.verdict import Known, Verdict, verdict


def first_result(scenario: Scenario, run_id: str, seed: int, started: str) -> dict[str, Any]:
    """What stands in the folder until the drill has ended: the truth if it is killed."""
    return {
        "scenario": scenario.name,
        "run_id": run_id,
        "seed": seed,
        "verdict": Verdict.INCONCLUSIVE.value,
        "why": ["interrupted: the drill did not come to its end"],
        "started": started,
        "rto_seconds": None,
        "rpo_seconds": None,
        "rpo_records": None,
        "acknowledged": None,
        "lost": None,
        "unknown": None,
        "duplicated": None,
        "retried_unknown": None,
        "heal_outage_seconds": None,
        "timeline": [],
        "opening": None,
        "matrix": scenario.official_bidding_s == 0,
        "title": {"ko": scenario.title_ko, "en": scenario.title_en},
        "holds": {"ko": scenario.summary_ko, "en": scenario.summary_en},
    }


def known_of(drill: Drill, measured: Measured, service_failure: str | None, broken_off: str | None) -> Known:
    """What the verdict is made from."""
    audit = drill.audit
    checks = audit.checks if audit else ()
    return Known(
        audit=audit.verdict if audit else None,
        failed_checks=tuple(check.name for check in checks if check.verdict is CheckVerdict.FAILED),
        unknown_checks=tuple(check.name for check in checks if check.verdict is CheckVerdict.UNKNOWN),
        service_failure=service_failure,
        broken_off=broken_off,
        rto_seconds=measured.rto.seconds if measured.rto else None,
        rto_limit_s=drill.scenario.bounds.rto_s,
        scheduled_price=drill.opening["scheduled_price"] if drill.opening else None,
        published_price=load_official().scheduled_price,
    )


def result(drill: Drill, measured: Measured, known: Known, started: str) -> dict[str, Any]:
    """The whole of result.json, but for what the runner adds about the machine."""
    decided, why = verdict(known)
    audit = drill.audit
    objective = drill.lab.topology.objectives.rto.total_seconds()
    return {
        "scenario": drill.scenario.name,
        "run_id": drill.run_id,
        "seed": drill.seed,
        "verdict": decided.value,
        "why": list(why),
        "started": started,
        "rto_seconds": _round(known.rto_seconds),
        "rto_objective_seconds": objective,
        "rpo_seconds": rpo_seconds(audit, drill),
        "rpo_records": audit.lost if audit else None,
        "acknowledged": audit.acknowledged if audit else None,
        "lost": audit.lost if audit else None,
        "refused": audit.refused if audit else None,
        "unknown": audit.unknown if audit else None,
        "unknown_written": audit.unknown_written if audit else None,
        "unknown_not_written": audit.unknown_not_written if audit else None,
        "duplicated": audit.duplicated if audit else None,
        "retried_unknown": audit.retried_unknown if audit else None,
        "phantom": audit.phantom if audit else None,
        "heal_outage_seconds": _round(measured.heal_outage_s),
        "switchover_outage_seconds": _round(measured.switchover_outage_s),
        "phases": {name: _round(value) for name, value in asdict(measured.phases).items()}
        if measured.phases
        else None,
        "outages": {name: _round(gap.seconds) if gap else None for name, gap in measured.outages.items()},
        "cut_off_edges": {
            name: _round(gap.seconds) if gap else None for name, gap in measured.cut_off.items()
        },
        "outage_span": [_round(measured.rto.start_at), _round(measured.rto.end_at)] if measured.rto else None,
        "never_events": {name: audit.check(name).verdict.value for name in NEVER_EVENTS} if audit else None,
        "timeline": timeline(drill),
        "opening": opening(drill),
        "steps": {name: _round(value) for name, value in drill.steps.items()},
        "moments": {name: _round(value) for name, value in drill.moments.items()},
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def rpo_seconds(audit: Audit | None, drill: Drill) -> float | None:
    """Age at the fault of the oldest lost write; 0 when nothing was lost, None when nobody looked."""
    if audit is None or audit.lost is None or "fault" not in drill.moments:
        return None
    if not audit.lost:
        return 0.0
    lost = {
        finding.subject
        for finding in audit.check("acknowledged_everywhere").findings
        if finding.kind == "lost"
    }
    ended = [op.ended_at for op in drill.operations if op.key in lost and op.ended_at is not None]
    return _round(max(0.0, drill.moments["fault"] - min(ended))) if ended else None


def timeline(drill: Drill) -> list[dict[str, Any]]:
    """Events with seconds from the fault; from the start of the drill when there was no fault."""
    active = next((event.at for event in drill.events if event.event == "fault_active"), None)
    zero = active if active is not None else drill.clock.wall
    return [
        {"at": round(event.at - zero, 3), "event": event.event, "host": event.host, "detail": event.detail}
        for event in drill.events
    ]


def opening(drill: Drill) -> dict[str, Any] | None:
    """The official tender's opening, beside what was published."""
    if drill.opening is None:
        return None
    official = load_official()
    names = ("scheduled_price", "draw_counts", "drawn_numbers", "floor_price", "bids_count", "opened_at")
    ranking = drill.opening.get("ranking") or []
    return {
        "tender": official.number,
        **{name: drill.opening.get(name) for name in names},
        "winner": ranking[0] if ranking else None,
        "published": {
            "scheduled_price": official.scheduled_price,
            "draw_counts": list(official.counts),
            "drawn_numbers": list(official.drawn_numbers),
            "prices": list(official.prices),
        },
    }
