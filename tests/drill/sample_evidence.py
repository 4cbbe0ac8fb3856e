"""An evidence folder made from the sample run, as a drill would leave it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from lab.drill.audit import NEVER_EVENTS, audit
from lab.drill.evidence import Evidence
from lab.drill.journal import attempts, records
from lab.drill.measure import measure
from lab.drill.official import load_official
from lab.drill.scenario import SITE_LOSS

from .sample import BACK_AT, LOAD_AT, RUN, STOP_AT, ZERO, sample_case, sample_run, write_journals

MOMENTS = {
    "load": LOAD_AT,
    "fault": ZERO,
    "deadline": ZERO + 34,
    "resumed": BACK_AT + 0.3,
    "opened": ZERO + 35.6,
    "heal": ZERO + 36.2,
    "rejoined": ZERO + 49.0,
    "switchover": ZERO + 52.0,
    "home": ZERO + 55.5,
    "stopped": STOP_AT,
}
TIMELINE = (
    (-8.0, "load_running", "", "canaries, bidders, lives of tenders, official tender"),
    (-5.6, "first_bids", "", "40 of the official bidders' bids received"),
    (-0.2, "steady", "dj-db1", "every standby streams, the sync set is whole"),
    (0.0, "fault_active", "daejeon", "power of site daejeon is cut"),
    (0.9, "fault_proved", "daejeon", "no database host of the site answers"),
    (22.7, "promoted", "gg-db1", "it says that it is the primary"),
    (23.7, "service_back", "gyeonggi", "23.7 s after the cut"),
    (25.1, "last_third", "gyeonggi", "20 bids received after the loss"),
    (35.6, "opened", "gg-db1", "scheduled price 1,773,240,950 won; awarded, contracted, paid"),
    (36.2, "healed", "daejeon", "power is on"),
    (49.0, "rejoined", "daejeon", "every standby streams, the sync set is whole"),
    (52.0, "switchover", "dj-db1", "planned, from gg-db1"),
    (55.5, "home", "dj-db1", "the primary is at home, every standby streams"),
    (62.0, "quiet", "", "load stopped; 9 whole lives of a tender"),
    (64.2, "audited", "", "0 lost"),
)


def write_sample(root: Path, name: str = "site-loss-20261118T114640Z-1") -> Evidence:
    """Writes journals, audit.json and result.json."""
    run, tender = sample_run()
    evidence = Evidence.create(root, name, {"verdict": "inconclusive"})
    write_journals(run, evidence.folder)
    case = sample_case(run, tender)
    judged = audit(case)
    evidence.write_json("audit.json", judged.as_dict())
    seen = measure(
        attempts(evidence.operations),
        list(records(evidence.probes)),
        MOMENTS,
        frozenset({"gg-db1"}),
        frozenset({"daejeon"}),
    )
    assert seen.rto is not None
    assert seen.phases is not None
    official = load_official()
    opened = next(
        row for row in run.tables["idempotency"] if row["request_key"] == f"{RUN}:official:opening"
    )["response"]
    topology = yaml.safe_load((Path(__file__).parents[2] / "sites.yml").read_text())
    result: dict[str, Any] = {
        "scenario": "site-loss",
        "run_id": name,
        "seed": 1,
        "verdict": "passed",
        "why": [],
        "started": "2026-11-18T11:46:40+00:00",
        "rto_seconds": round(seen.rto.seconds, 3),
        "rto_objective_seconds": 14400,
        "rpo_seconds": 0.0,
        "rpo_records": 0,
        "acknowledged": judged.acknowledged,
        "lost": judged.lost,
        "refused": judged.refused,
        "unknown": judged.unknown,
        "unknown_written": judged.unknown_written,
        "unknown_not_written": judged.unknown_not_written,
        "duplicated": judged.duplicated,
        "retried_unknown": judged.retried_unknown,
        "phantom": 0,
        "heal_outage_seconds": seen.heal_outage_s,
        "switchover_outage_seconds": seen.switchover_outage_s,
        "phases": {k: getattr(seen.phases, k) for k in ("detect_s", "decide_s", "promote_s", "route_s")},
        "outages": {k: gap and gap.seconds for k, gap in seen.outages.items()},
        "cut_off_edges": {k: gap and gap.seconds for k, gap in seen.cut_off.items()},
        "outage_span": [seen.rto.start_at, seen.rto.end_at],
        "never_events": {name: judged.check(name).verdict.value for name in NEVER_EVENTS},
        "timeline": [{"at": at, "event": e, "host": h, "detail": d} for at, e, h, d in TIMELINE],
        "opening": {
            "tender": official.number,
            **opened,
            "winner": opened["ranking"][0],
            "published": {
                "scheduled_price": official.scheduled_price,
                "draw_counts": list(official.counts),
                "drawn_numbers": list(official.drawn_numbers),
                "prices": list(official.prices),
            },
        },
        "steps": {
            "lab_up": 21.3,
            "steady": 11.9,
            "fault": 1.0,
            "takeover": 22.8,
            "last_third": 1.4,
            "opening": 10.5,
            "heal": 0.6,
            "rejoin": 12.8,
            "switchover": 6.5,
            "quiet": 1.1,
            "audit": 2.2,
            "logs": 0.8,
            "lab_down": 2.6,
        },
        "moments": MOMENTS,
        "topology": topology["sites"],
        "seconds": 101.2,
        "settings": {
            "scenario": SITE_LOSS.as_dict(),
            "load": {"canary_rate_per_s": 20.0, "bidder_rate_per_s": 4.0},
            "replication": {"mode": "max_availability", "ttl": "20s", "loop_wait": "1s"},
        },
        "computer": {
            "cpu": "AMD EPYC 7B13",
            "cpus": 2,
            "memory_gib": 7.8,
            "kernel": "6.1.0",
            "system": "Debian GNU/Linux 12",
            "python": "3.11.2",
            "load_average": [1.0, 0.5, 0.2],
            "wan": "wirefilter",
            "wan_settings": {"delay": "1500us", "bandwidth_mbit": 1000},
        },
        "versions": {"hanbat": "0.1.0", "commit": "0123456789ab", "patroni": "4.1.5", "postgresql": 15},
    }
    evidence.write_json("result.json", result)
    return evidence
