"""The report and its charts: self-contained, complete, honest about what is not known."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.drill import charts, report, series, svg, words
from lab.drill.audit import CHECKS
from lab.drill.evidence import Evidence
from lab.drill.matrix_scenarios import MATRIX
from lab.drill.operations import Attempt, Outcome
from lab.drill.result import first_result
from lab.drill.rto import Reign
from lab.drill.scenario import SITE_LOSS

from .sample_evidence import write_sample

AXIS = charts.Axis(
    -5, 60, (0, 23), (charts.Mark(0, "차단", "cut", "fault"), charts.Mark(59, "끝", "end", "plain"))
)


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    evidence = write_sample(tmp_path_factory.mktemp("evidence"))
    return report.render(report.read(evidence))


def test_it_loads_nothing_from_anywhere(page):
    assert not re.findall(r"(?:src|href)\s*=", page)
    assert "<script" not in page
    assert re.findall(r"url\(|@import", page) == []
    assert set(re.findall(r"https?://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}


def test_it_says_what_a_person_came_for(page):
    for text in ("1,773,240,950", "대전 전원 상실", "합격", "passed", "hanbat drill run site-loss --seed 1"):
        assert text in page
    for ko, _ in words.NEVER.values():
        assert ko in page


def test_every_chart_is_well_formed_and_has_a_name(page):
    drawn = re.findall(r"<svg class=\"chart\".*?</svg>|<svg [^>]*class=\"chart\".*?</svg>", page, re.S)
    assert len(drawn) >= 6
    for one in drawn:
        root = ElementTree.fromstring(one)
        assert root.find("{http://www.w3.org/2000/svg}title") is not None


def test_what_etcd_tells_of_the_lock_is_no_role_of_the_host_it_was_asked_at(page):
    lanes = page[page.index("which host was the primary when") :]
    lanes = lanes[: lanes.index("</svg>")]
    assert 'class="role dcs"' not in lanes
    assert lanes.count('class="role primary"') == 3  # home, the backup, home again


def test_a_killed_drill_still_has_a_report(tmp_path):
    first = first_result(SITE_LOSS, "x", 1, "2026-11-18T11:46:40+00:00")
    evidence = Evidence.create(tmp_path, "x", first)
    page = report.render(report.read(evidence))
    assert "판정 불가" in page
    assert "interrupted" in page


MATRIX_FIELDS = {
    "scenario": "wan-cut",
    "matrix": True,
    "title": {"ko": "회선 단절", "en": "WAN cut"},
    "holds": {"ko": "움직이지 않는다", "en": "nothing moves"},
    "rto_seconds": None,
    "phases": None,
    "opening": None,
    "outage_span": None,
    "longest_stall_seconds": 4.54,
    "stall_span": None,
    "expectations": [
        {"name": "outage_within_limit", "verdict": "passed", "wanted": "5 s", "seen": "4.54 s"},
        {"name": "cancelled_commits", "verdict": "unknown", "wanted": "at least 1", "seen": "0"},
    ],
}


def test_a_drill_of_the_matrix_shows_its_expectations_and_no_tender(tmp_path):
    evidence = write_sample(tmp_path, "wan-cut-1")
    audited = evidence.read_json("audit.json")
    audited["checks"] = [check for check in audited["checks"] if check["name"] != "official_as_published"]
    evidence.write_json("audit.json", audited)
    evidence.write_json("result.json", evidence.read_json("result.json") | MATRIX_FIELDS)
    page = report.render(report.read(evidence))
    for text in (
        "WAN cut",
        "outage of the slowest client stream 4.5 s",
        "4.54 s",
        "nothing moves",
        "확인 불가",
        "longest stall",
    ):
        assert text in page
    assert "The official tender, opened at the backup" not in page
    assert "power cut" not in page


def test_a_killed_drill_of_the_matrix_still_has_a_report(tmp_path):
    first = first_result(MATRIX["wan-cut"], "y", 1, "2026-11-18T11:46:40+00:00")
    page = report.render(report.read(Evidence.create(tmp_path, "y", first)))
    assert "판정 불가" in page
    assert "전원 상실" not in page


def test_names_from_outside_are_escaped(tmp_path):
    first = first_result(SITE_LOSS, "x", 1, "2026-11-18T11:46:40+00:00") | {
        "why": ["<script>alert(1)</script>"]
    }
    page = report.render(report.read(Evidence.create(tmp_path, "x", first)))
    assert "<script>" not in page


def test_every_check_and_step_has_its_words():
    assert {check.__name__ for check in CHECKS} == set(words.CHECKS)


@pytest.mark.parametrize(
    ("found", "ko", "en"),
    [
        ({"duplicated": 0, "retried_unknown": 1234}, "다시 보낸 것 1,234건", "1,234 were sent again"),
        ({"duplicated": 2}, "중복 2건", "2 duplicated"),
        ({"duplicated": None, "retried_unknown": None}, "중복 모름", "not known"),
    ],
)
def test_of_how_many_none_was_duplicated(found, ko, en):
    said = words.duplicates(found)
    assert ko in said[0]
    assert en in said[1]


def test_headline_never_claims_what_is_not_known():
    assert "손실 0건" not in words.headline({"rto_seconds": 20.0, "acknowledged": None, "lost": None})[0]
    assert "보증할 수 없습니다" in words.headline({"rto_seconds": None})[0]


def test_write_rate_counts_every_attempt_once_and_keeps_empty_seconds():
    made = [
        Attempt(
            "s",
            "canary",
            str(n),
            "e",
            "/",
            {},
            n / 2,
            n / 2,
            Outcome.ACKNOWLEDGED if n % 3 else Outcome.UNKNOWN,
        )
        for n in range(8)
    ]
    rates = series.write_rate(made, 0.0, -1, 5)
    assert sum(second.total for second in rates) == 8
    assert [second.at for second in rates] == list(range(-1, 6))
    assert rates[-1].total == 0


def test_unknown_lag_is_a_gap_in_the_line():
    samples = [series.Lag(at, "a", None if at == 2 else 1024, 0.0, "standby") for at in range(5)]
    assert charts.lag(AXIS, samples, ["a"]).count("<polyline") == 2


def test_lanes_are_clipped_to_the_axis():
    drawn = charts.lanes(
        AXIS, [Reign("a", "primary", -100, 200), Reign("a", "standby", 300, 400)], [("a", "대전")]
    )
    (width,) = re.findall(r'class="role primary"[^>]*width="([\d.]+)"', drawn)
    assert float(width) == pytest.approx(charts.WIDTH - charts.LEFT - charts.RIGHT)
    assert "role standby" not in drawn


def test_an_unseen_phase_is_not_drawn():
    drawn = charts.phases({"detect_s": 20.0, "decide_s": None, "promote_s": 1.0, "route_s": 1.0}, 23.0)
    assert "phase-0" in drawn
    assert "phase-1" not in drawn
    assert "phase-2" not in drawn


@given(st.floats(-1e6, 1e6), st.floats(0.001, 1e6), st.floats(-2e6, 2e6))
def test_a_scale_stays_inside_its_pixels(low, span, value):
    assert 10 <= svg.Scale(low, low + span, 10, 90)(value) <= 90


@given(st.floats(-1e4, 1e4), st.floats(0.01, 1e4), st.integers(2, 12))
def test_ticks_are_few_and_inside(low, span, most):
    found = svg.ticks(low, low + span, most)
    assert len(found) <= most + 1
    assert all(low - span * 1e-6 <= tick <= low + span * (1 + 1e-6) for tick in found)


def test_text_is_escaped():
    assert svg.text(0, 0, "<b>&") == '<text x="0" y="0">&lt;b&gt;&amp;</text>'


@pytest.mark.parametrize(("seconds", "anchor"), [(2.7, "start"), (23.4, "middle")])
def test_the_name_of_a_short_outage_stands_beside_its_band(seconds: float, anchor: str) -> None:
    drawn = charts.mark_labels(charts.Axis(-5, 60, (0.0, seconds)))
    (label,) = [part for part in drawn.split("<text") if "outage-label" in part]
    assert f'text-anchor="{anchor}"' in label
