"""The main job, whole: Daejeon loses power in the middle of a tender.

These tests boot the lab as an operator would, through the command, and read only what it prints and
leaves behind.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from lab import leftovers
from lab.identity import names_of

ROOT = Path(__file__).resolve().parents[2]
HANBAT = ROOT / ".venv" / "bin" / "hanbat"
pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")]


def lab_is_down() -> None:
    subprocess.run([HANBAT, "lab", "down"], cwd=ROOT, check=True, timeout=120, capture_output=True)


def left_behind() -> str:
    """What of this clone's lab is still there, by the lab's own account of the machine."""
    return leftovers.find(names_of(ROOT)).text()


@pytest.fixture
def clean_machine():
    lab_is_down()
    yield
    lab_is_down()
    assert left_behind() == "nothing"


def start(evidence: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [HANBAT, "drill", "run", "site-loss", "--seed", "3", "--evidence", evidence],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def read_until(process: subprocess.Popen[str], word: str, limit_s: float) -> None:
    """Follow the drill's progress up to an event."""
    assert process.stderr is not None
    end = time.monotonic() + limit_s
    for line in process.stderr:
        if word in line:
            return
        assert time.monotonic() < end, f"{word} was not seen within {limit_s} s"
    pytest.fail(f"the drill ended before {word}")


def result_of(evidence: Path) -> dict[str, Any]:
    (folder,) = [path for path in evidence.iterdir() if path.is_dir()]
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("clean_machine")
def test_the_service_is_back_and_nothing_is_lost(tmp_path: Path) -> None:
    done = subprocess.run(
        [HANBAT, "drill", "run", "site-loss", "--seed", "7", "--json", "--evidence", tmp_path],
        cwd=ROOT,
        timeout=400,
        stdout=subprocess.PIPE,
        text=True,
    )
    result = json.loads(done.stdout)
    assert (done.returncode, result["verdict"]) == (0, "passed"), result.get("why")
    assert result["opening"] == {
        **result["opening"],
        "tender": "R25BK00888538-003",
        "scheduled_price": 1773240950,
    }
    assert (result["lost"], result["duplicated"], result["rpo_records"]) == (0, 0, 0)
    assert result["rto_seconds"] <= 5
    assert result["acknowledged"] > 500
    assert result["seed"] == 7
    assert result == result_of(tmp_path)
    (folder,) = tmp_path.iterdir()
    report = (folder / "report.html").read_text(encoding="utf-8")
    assert "1,773,240,950" in report
    assert 'src="http' not in report


@pytest.mark.usefixtures("clean_machine")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "killed"])
def test_an_interrupted_drill_is_inconclusive_and_leaves_a_clean_machine(
    tmp_path: Path, how: signal.Signals
) -> None:
    with start(tmp_path) as process:
        try:
            read_until(process, "fault_active", limit_s=240)
            process.send_signal(how)
            process.wait(timeout=90)
        finally:
            if process.poll() is None:
                process.kill()
    assert result_of(tmp_path)["verdict"] == "inconclusive"
    if how is signal.SIGINT:
        assert process.returncode == 5
    end = time.monotonic() + 60
    while left_behind() != "nothing" and time.monotonic() < end:  # after SIGKILL the guardian cleans
        time.sleep(1)
    assert left_behind() == "nothing"
