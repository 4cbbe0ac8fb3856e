"""The benchmark's pure parts: variants, pgbench's words, spreads, tables."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from hanbat import topology_file
from lab.bench import outages
from lab.bench.cli import bench
from lab.bench.commits import Round, compared, parsed
from lab.bench.markdown import BEGIN, END, replaced, tables
from lab.bench.outages import Measured, as_dict, spreads
from lab.bench.variants import VARIANTS, laid_over, write

CLONE = Path(__file__).resolve().parents[2]
PGBENCH = """transaction type: /dev/stdin
number of clients: 16
number of transactions actually processed: 4711
number of failed transactions: {failed} (0.000%)
latency average = 8.126 ms
initial connection time = 20.5 ms
tps = 1968.4 (without initial connection time)
"""


@pytest.mark.parametrize("name", VARIANTS)
def test_each_variant_is_a_valid_topology(name: str, tmp_path: Path) -> None:
    topology = topology_file.load(write(VARIANTS[name], CLONE / "sites.yml", tmp_path))
    assert topology.failover.enabled == (name == "hanbat")
    assert topology.replication.ttl.total_seconds() == (30 if name == "patroni-default" else 20)


def test_laying_over_changes_neither_side() -> None:
    sites = {"cluster": "hanbat", "replication": {"mode": "max_availability"}}
    made = laid_over(sites, {"replication": {"ttl": "30s"}})
    assert made["replication"] == {"mode": "max_availability", "ttl": "30s"}
    assert sites["replication"] == {"mode": "max_availability"}


def test_what_pgbench_prints_is_read() -> None:
    assert parsed(PGBENCH.format(failed=0), 16, "local") == Round(16, "local", 1968.4, 8.126)


@pytest.mark.parametrize("text", ["", PGBENCH.format(failed=3), "tps = 5"])
def test_no_result_and_failed_transactions_are_errors(text: str) -> None:
    with pytest.raises(ValueError, match=r"no result|failed"):
        parsed(text, 16, "local")


def test_the_median_of_each_way() -> None:
    rounds = [Round(1, "zero_loss", tps, 5.0) for tps in (90, 100, 400)]
    rounds += [Round(1, "local", tps, 1.0) for tps in (500, 1000, 900)]
    (one,) = compared(rounds)
    assert (one.rounds, one.zero_loss_tps, one.local_tps) == (3, 100, 900)
    assert one.ratio == pytest.approx(1 / 9)


def row(rto: float | None, verdict: str = "passed", why: tuple[str, ...] = (), lost: int | None = 0):
    phases = {"detect_s": 1.0, "decide_s": 0.2, "promote_s": 0.2, "route_s": 0.1}
    return {
        "scenario": "host-loss", "seed": 1, "verdict": verdict, "rto_seconds": rto, "phases": phases,
        "acknowledged": 100, "lost": lost, "duplicated": 0, "why": list(why),
    }  # fmt: skip


def test_a_bad_run_is_counted_and_named() -> None:
    measured = [Measured("hanbat", row(rto)) for rto in (1.0, 1.2, 9.9)]
    measured.append(Measured("hanbat", row(None, "failed", ("no primary",))))
    (one,) = spreads(measured)
    assert (one.runs, one.measured, one.p50_s, one.max_s) == (4, 3, 1.2, 9.9)
    assert one.failed == ("no primary",)


def test_the_table_says_of_how_many_runs_and_no_phase_is_nothing() -> None:
    rows = [row(1.0), row(2.0), row(None, "failed")]
    for one in rows:
        one["phases"] = {"detect_s": 1.0, "decide_s": 0.0, "promote_s": None, "route_s": 0.1}
    result = {"started": "2026-11-22", "commit": "abc", "computer": {}, "commits": []}
    text = tables(result | as_dict([Measured("hanbat", one) for one in rows]))
    assert "| hanbat | 2 of 3 | 1.50 s | 2.00 s | 2.00 s | 1.00 s | < 0.2 s | not measured | 0.10 s |" in text


def test_a_sum_with_an_unknown_is_unknown() -> None:
    (one,) = spreads([Measured("hanbat", row(1.0)), Measured("hanbat", row(1.0, lost=None))])
    assert one.lost is None


def test_figures_go_between_their_lines_and_nowhere_else() -> None:
    result = {
        "started": "2026-11-22T00:00:00", "commit": "abc", "computer": {"cpus": 2}, "commits": [],
        **as_dict([Measured("hanbat", row(1.25))]),
    }  # fmt: skip
    text = replaced(f"before\n{BEGIN}\nold\n{END}\nafter\n", result)
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| host-loss | hanbat | 1 | 1.25 s |" in text
    with pytest.raises(ValueError, match="no lines"):
        replaced("nothing", result)


def test_the_document_has_a_place_for_figures() -> None:
    text = (CLONE / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert BEGIN in text
    assert END in text


def test_an_interrupted_benchmark_tells_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_off(*_: object) -> Iterator[Measured]:
        yield Measured("hanbat", row(1.5))
        raise KeyboardInterrupt

    monkeypatch.setattr(outages, "run", broken_off)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "evidence").mkdir()
    done = CliRunner().invoke(bench, ["failover", "--evidence", str(tmp_path / "evidence")])
    assert done.exit_code == 0, done.output
    assert "interrupted: the 1 drills until here count" in done.output
    (kept,) = (tmp_path / "evidence").glob("bench-*/benchmark.json")
    assert [one["rto_seconds"] for one in json.loads(kept.read_text())["runs"]] == [1.5]
