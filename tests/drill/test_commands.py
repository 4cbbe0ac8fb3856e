"""`hanbat drill` without a lab: list, report, and what it refuses; the evidence folder."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lab.drill.case import TABLES
from lab.drill.cli import drill, seeds_of
from lab.drill.errors import NoEvidence, UnknownScenario
from lab.drill.evidence import Evidence, find
from lab.drill.matrix_scenarios import MATRIX
from lab.drill.snapshot import query
from lab.drill.soak import SOAK

from .sample_evidence import write_sample


def test_list():
    shown = CliRunner().invoke(drill, ["list", "--json"], catch_exceptions=False)
    assert [scenario["name"] for scenario in json.loads(shown.output)] == ["site-loss", *MATRIX, SOAK.name]


def test_the_document_of_drills_is_what_the_code_says():
    shown = CliRunner().invoke(drill, ["list", "--markdown"], catch_exceptions=False)
    kept = (Path(__file__).parents[2] / "docs" / "drills.md").read_text(encoding="utf-8")
    assert shown.output == kept, "hanbat drill list --markdown > docs/drills.md"


@pytest.mark.parametrize(("text", "wanted"), [("7", (7,)), ("1-3", (1, 2, 3))])
def test_seeds(text: str, wanted: tuple[int, ...]):
    assert seeds_of(text) == wanted


@pytest.mark.parametrize("text", ["x", "3-1", "1-", "1-2-3", ""])
def test_seeds_that_are_none_are_refused(text: str):
    with pytest.raises(click.BadParameter):
        seeds_of(text)


def test_the_matrix_refuses_an_unknown_scenario_before_anything_is_made():
    with pytest.raises(UnknownScenario):
        CliRunner().invoke(drill, ["matrix", "host-loss", "flood"], catch_exceptions=False)


def test_an_unknown_scenario_is_refused():
    with pytest.raises(UnknownScenario):
        CliRunner().invoke(drill, ["run", "flood"], catch_exceptions=False)


def test_report_is_made_anew_from_the_evidence(tmp_path):
    evidence = write_sample(tmp_path)
    done = CliRunner().invoke(drill, ["report", "--evidence", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0
    assert (evidence.folder / "report.html").stat().st_size > 50_000


def test_the_folder_says_inconclusive_from_the_first_moment(tmp_path):
    evidence = Evidence.create(tmp_path, "run", {"verdict": "inconclusive"})
    assert find(tmp_path, None).read_json("result.json")["verdict"] == "inconclusive"
    evidence.write_json("result.json", {"verdict": "passed"})
    assert find(tmp_path, "run").read_json("result.json")["verdict"] == "passed"
    with pytest.raises(FileExistsError):
        Evidence.create(tmp_path, "run", {})


def test_no_evidence_is_an_error(tmp_path):
    with pytest.raises(NoEvidence):
        find(tmp_path, None)
    with pytest.raises(NoEvidence):
        find(tmp_path, "x")


def test_a_long_log_keeps_its_newest_part(tmp_path):
    evidence = Evidence.create(tmp_path, "run", {})
    evidence.write_log("a.log", "old\n" + "x" * 3_000_000 + "\nnew\n")
    kept = (evidence.folder / "logs" / "a.log").read_text()
    assert kept.endswith("new\n")
    assert len(kept) < 2_200_000


def test_the_snapshot_reads_every_table_once():
    script = query("rabc")
    assert "\\set prefix 'rabc:%'" in script
    assert all(script.count(f"'{table}', (select") == 1 for table in TABLES)
