"""`result.json` of a matrix drill: the fields of every drill, and each expectation with what was seen."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from lab.drill import matrix, middle
from lab.drill.case import CheckVerdict
from lab.drill.drill import Drill
from lab.drill.journal import records
from lab.drill.matrix import MatrixScenario
from lab.drill.matrix_checks import Held, Wanted, as_plain, judge, reasons
from lab.drill.matrix_facts import Facts, facts
from lab.drill.matrix_unprotected import Interval, intervals
from lab.drill.measure import Measured, measure
from lab.drill.result import known_of, result
from lab.drill.verdict import Known


def result_of(drill: Drill, broken_off: str | None, started: str) -> dict[str, Any]:
    """Measures and judges. What was not reached is not judged, and the drill is then not passed."""
    scenario = drill.scenario
    assert isinstance(scenario, MatrixScenario)
    attempts, probes = drill.attempts(), list(records(drill.evidence.probes))
    closed = matrix.resolve_all(scenario.expect.no_way_in, drill.cast) if drill.cast else frozenset()
    old = drill.cast.get("primary", ("",))[0]
    back_s = scenario.expect.way_back_s
    seen = facts(attempts, probes, drill.moments, old, drill.served_under, closed, back_s)
    seen = replace(seen, unprotected=_unprotected(drill, old)) if seen and old else seen
    measured = measure(
        attempts,
        probes,
        _moments(drill),
        frozenset(drill.cast.get("db_hosts", ())) - {old},
        closed,
    )
    held = _held(drill, seen)
    known = _known(drill, measured, held, broken_off)
    moved = bool(seen and seen.takeovers)
    plain = result(drill, measured, known, started)
    return plain | {
        "matrix": True,
        "title": {"ko": scenario.title_ko, "en": scenario.title_en},
        "holds": {"ko": scenario.summary_ko, "en": scenario.summary_en},
        "rto_seconds": plain["rto_seconds"] if moved or scenario.expect.outage_expected else None,
        "phases": plain["phases"] if moved and not scenario.expect.outage_expected else None,
        "expectations": as_plain(held),
        "in_the_middle": middle.as_plain(drill.middle) if drill.middle else None,
        "roles": {role: list(hosts) for role, hosts in drill.cast.items()},
        **_figures(seen),
        **({"heal_outage_seconds": None} if scenario.expect.outage_expected else {}),
    }


def _unprotected(drill: Drill, primary: str) -> tuple[Interval, ...] | None:
    """The primary's record of this drill; None when it was not read or cannot be."""
    try:
        text = drill.evidence.unprotected(primary).read_text(encoding="utf-8")
        return intervals(text, drill.moments.get("load", drill.clock.wall))
    except (OSError, ValueError, KeyError):
        return None


def _moments(drill: Drill) -> dict[str, float]:
    """For the phases the last blow counts; where only the heal brings the service back, so does that."""
    moments = dict(drill.moments)
    scenario = drill.scenario
    assert isinstance(scenario, MatrixScenario)
    if "struck" in moments and not scenario.expect.outage_expected:
        moments["fault"] = moments["struck"]
    if scenario.expect.outage_expected:
        moments.pop("heal", None)
    return moments


def _held(drill: Drill, seen: Facts | None) -> tuple[Held, ...]:
    scenario = drill.scenario
    assert isinstance(scenario, MatrixScenario)
    if seen is None or not drill.cast:
        return ()
    allowed = matrix.resolve_all(scenario.expect.primary_at, drill.cast)
    leaving = matrix.resolve_all(scenario.expect.leaves_sync, drill.cast)
    return (*judge(seen, Wanted(scenario.expect, allowed, leaving)), *_middle(drill))


def _middle(drill: Drill) -> tuple[Held, ...]:
    """What is asked of a fault in the middle of a switchover; a middle that nobody looked at is in doubt."""
    scenario = drill.scenario
    assert isinstance(scenario, MatrixScenario)
    if not any(isinstance(step, matrix.Break) and step.once for step in scenario.steps):
        return ()
    if drill.middle is None:
        return (Held("struck_in_the_middle", CheckVerdict.UNKNOWN, "in the middle", "nobody looked"),)
    return middle.judge(drill.middle, scenario.expect)


def _known(drill: Drill, measured: Measured, held: tuple[Held, ...], broken_off: str | None) -> Known:
    return replace(
        known_of(drill, measured, "; ".join(drill.failures) or None, broken_off),
        asked=frozenset(),
        broken=reasons(held, CheckVerdict.FAILED),
        doubtful=(*reasons(held, CheckVerdict.UNKNOWN), *(() if held else ("no expectation was judged",))),
    )


def _figures(seen: Facts | None) -> dict[str, Any]:
    if seen is None:
        return {"takeovers": None, "operations": None, "longest_stall_seconds": None}
    return {
        "takeovers": seen.takeovers,
        "operations": seen.operations,
        "longest_stall_seconds": _round(seen.stall.seconds if seen.stall else None),
        "stall_span": [seen.stall.start_at, seen.stall.end_at] if seen.stall else None,
        "return_seconds": _round(seen.return_s),
        "heal_outage_seconds": _round(seen.heal_outage_s),
        "heal_requests": seen.heal_requests,
        "heal_failed_requests": len(seen.heal_failed),
        "failed_requests": len(seen.failed),
        "failed_later_requests": len(seen.failed_later),
        "outage_seconds": _round(seen.outage.seconds if seen.outage else None),
        "slowest_request_seconds": _round(seen.slowest_s),
        "slowest_wait_seconds": _round(seen.slowest_wait_s),
        "way_home": asdict(seen.way_home) if seen.way_home else None,
        "primary_under": seen.under,
        "unprotected": None if seen.unprotected is None else [asdict(each) for each in seen.unprotected],
        "inside": asdict(seen.inside) if seen.inside else None,
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
