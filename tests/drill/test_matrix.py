"""The fault matrix as data: its roles exist, its targets resolve, its choices come from the seed."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from hanbat import topology_file
from lab import cuts
from lab.drill import matrix, words
from lab.drill.audit import CHECKS
from lab.drill.matrix import Break, Mend, Switchover
from lab.drill.matrix_checks import EXPECTATIONS
from lab.drill.matrix_scenarios import MATRIX
from lab.drill.matrix_table import (
    Row,
    broken,
    median,
    not_run,
    percentile,
    row_of,
    spreads,
    summary,
    text,
    verdict_of,
)
from lab.drill.middle import MIDDLE_EXPECTATIONS
from lab.drill.verdict import Verdict

ROOT = Path(__file__).parents[2]
CAST = {
    "primary": ("dj-db1",),
    "in_site_standby": ("dj-db2",),
    "backup_db": ("gg-db1",),
    "home": ("daejeon",),
    "backup": ("gyeonggi",),
    "witness": ("sj-wt1",),
    "etcd_leader": ("sj-wt1",),
    "etcd_hosts": ("dj-db1", "gg-db1", "sj-wt1"),
    "db_hosts": ("dj-db1", "dj-db2", "gg-db1"),
    "sites": ("daejeon", "gyeonggi", "sejong"),
}
ASKED_BY_THE_ISSUE = set(
    """
    host-loss standby-loss backup-db-loss site-loss-quick site-isolated wan-cut witness-loss
    witness-then-site-loss etcd-leader-loss etcd-all-down asymmetric-cut-out asymmetric-cut-in replication-cut
    wan-flapping postgres-killed postgres-frozen patroni-killed patroni-frozen host-frozen double-fault
    stale-returns-first disk-full disk-full-wal disk-hang clock-jump everything-off wan-slow slow-backup-disk
    switchover switchover-candidate-dies switchover-new-primary-dies switchover-primary-dies
    switchover-wan-cut switchover-command-killed switchover-controller-killed second-loss
    """.split()  # noqa: SIM905
)
FOUND_SINCE = {"etcd-leader-frozen"}  # asked for by a review


def test_every_scenario_that_was_asked_for_is_there():
    assert set(MATRIX) == ASKED_BY_THE_ISSUE | FOUND_SINCE


def test_the_cast_plays_every_role():
    assert set(CAST) == set(matrix.ROLES)


@pytest.mark.parametrize("scenario", MATRIX.values(), ids=list(MATRIX))
def test_everything_that_a_scenario_names_exists(scenario):
    expect = scenario.expect
    assert scenario.steps
    assert scenario.title_ko
    assert scenario.summary_en
    assert matrix.resolve_all(expect.primary_at, CAST) <= set(CAST["db_hosts"])
    assert matrix.resolve_all(expect.no_way_in, CAST) <= set(CAST["sites"])
    assert set(expect.not_asked) <= {check.__name__ for check in CHECKS}
    low, high = expect.takeovers
    assert 0 <= low <= high
    stays = matrix.resolve_all(expect.primary_at, CAST) == {"dj-db1"}
    assert not (stays and low), "a takeover is expected and nobody may take over"
    for step in scenario.steps:
        if isinstance(step, Switchover):
            assert len(matrix.resolve(step.to, CAST)) == 1
        elif step.fault in ("power-cut", "partition", "freeze"):
            topology = topology_file.load(ROOT / "sites.yml")
            for target in matrix.resolve(step.target, CAST):
                cuts.parse(topology, target)


@pytest.mark.parametrize("scenario", MATRIX.values(), ids=list(MATRIX))
def test_what_is_mended_was_broken_before(scenario):
    broken = set()
    for step in scenario.steps:
        if isinstance(step, Break):
            broken.add((step.fault, step.target))
        elif isinstance(step, Mend):
            assert (step.fault, step.target) in broken


def test_an_unknown_role_is_an_error():
    with pytest.raises(KeyError):
        matrix.resolve("{primery}", CAST)


def test_a_role_of_many_hosts_makes_many_targets():
    assert matrix.resolve("{etcd_hosts}:etcd", CAST) == ("dj-db1:etcd", "gg-db1:etcd", "sj-wt1:etcd")
    assert matrix.resolve("{home}>{backup}", CAST) == ("daejeon>gyeonggi",)
    assert matrix.resolve("all", CAST) == ("all",)


def test_a_role_that_nobody_plays_is_an_error():
    with pytest.raises(KeyError):
        matrix.resolve("{witness}", {})


def test_the_seed_gives_the_pauses():
    steps = MATRIX["double-fault"].steps
    drawn = [matrix.pauses(steps, seed, "double-fault") for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    for pause, step in product(drawn[2][1:], steps[1:]):
        assert step.after_s[0] <= pause <= step.after_s[1]


def test_every_expectation_has_its_words():
    every = (*EXPECTATIONS, *MIDDLE_EXPECTATIONS)
    assert {expectation.__name__ for expectation in every} == set(words.EXPECTATIONS)


def test_a_scenario_can_be_written_down():
    for scenario in MATRIX.values():
        assert json.loads(json.dumps(scenario.as_dict()))["name"] == scenario.name


def row(name: str, verdict: str = "passed", rto: float | None = 2.0, lost: int | None = 0) -> Row:
    known = {"scenario": name, "seed": 1, "run_id": "r", "verdict": verdict, "why": ()}
    figures = {"rto_seconds": rto, "longest_stall_seconds": rto, "heal_outage_seconds": 0.1}
    counts = {"acknowledged": 900, "lost": lost, "unknown": 3, "duplicated": 0, "takeovers": 1}
    return row_of(known | figures | counts)


def test_percentiles_are_values_that_were_measured():
    assert percentile([5.0, 1.0, 3.0], 50) == 3.0
    assert percentile([float(n) for n in range(1, 21)], 95) == 19.0
    assert percentile([7.0], 95) == 7.0
    assert percentile([], 50) is None


def test_the_median_of_an_even_number_lies_between_the_middle_two():
    assert median([4.0, 1.0, 2.0, 9.0]) == 3.0
    assert median([5.0, 1.0, 3.0]) == 3.0
    assert median([]) is None


def test_the_spreads_say_of_how_many_runs_and_no_phase_is_nothing():
    phases = {"detect_s": 1.0, "decide_s": 0.0, "promote_s": 0.31, "route_s": None}
    rows = [replace(row("a", rto=rto), phases=phases) for rto in (1.0, 2.0, None)]
    still = replace(row("b"), rto_seconds=None, longest_stall_seconds=0.7)
    shown = spreads([*rows, still]).splitlines()
    cells = "| a | 3 of 3 | RTO | 2 of 3 | 1.50 | 2.00 | 2.00 | –, – | 0.10 | 1.00 / < 0.2 / 0.31 / – |"
    assert shown[2] == cells
    assert shown[3] == "| b | 1 of 1 | stall | 1 of 1 | 0.70 | 0.70 | 0.70 | –, – | 0.10 | – / – / – / – |"
    assert {line.count("|") for line in shown} == {11}


def test_a_drill_that_left_the_lab_broken_did_not_pass():
    left = broken(row("a"), "the lab did not come back")
    assert (left.verdict, left.why) == ("failed", ("the lab did not come back",))


def test_a_sum_over_what_is_not_known_is_not_known():
    made = summary([row("a", lost=0), row("a", lost=None), row("b", lost=2)])
    assert made["a"]["lost"] is None
    assert made["b"]["lost"] == 2


def test_the_spread_counts_only_what_was_measured():
    made = summary([row("a", rto=1.0), row("a", rto=None), row("a", rto=4.0)])["a"]
    assert made["rto_seconds"] == {"runs": 2, "p50": 2.5, "p95": 4.0, "max": 4.0}
    assert made["runs"] == 3


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        ([row("a"), row("b")], Verdict.PASSED),
        ([row("a"), row("b", "inconclusive")], Verdict.INCONCLUSIVE),
        ([row("a", "failed"), row("b", "inconclusive")], Verdict.FAILED),
        ([row("a"), not_run("b", 1, "no lab")], Verdict.INCONCLUSIVE),
        ([], Verdict.INCONCLUSIVE),
    ],
)
def test_the_verdict_of_many(rows, wanted):
    assert verdict_of(rows) is wanted


def test_the_table_shows_what_is_not_known_as_unknown():
    shown = text([row("host-loss"), not_run("wan-cut", 2, "no lab")]).splitlines()
    assert len(shown) == 3
    assert "not run" in shown[2]
    assert "?" in shown[2]
    assert shown[2].endswith("no lab")
