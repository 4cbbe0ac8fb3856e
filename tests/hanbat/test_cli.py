"""The command: its exit status, its errors as text and as JSON, and what `render` leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hanbat import error_reference, settings_reference
from hanbat.cli import COMMANDS, LazyGroup, hanbat, main
from hanbat.errors import Exit

from .shapes import REFERENCE, ROOT


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.fixture
def sites(tmp_path: Path) -> Path:
    path = tmp_path / "sites.yml"
    path.write_text(REFERENCE, encoding="utf-8")
    return path


def test_a_valid_file_is_done(sites: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--sites", str(sites), "topology", "check", "--json") == Exit.DONE
    assert json.loads(capsys.readouterr().out)["valid"] is True


def test_an_invalid_file_is_a_usage_error_with_code_and_hint(
    sites: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sites.write_text(REFERENCE.replace("capacity: 50", "capacity: 500"), encoding="utf-8")
    assert run("topology", "check", str(sites), "--json") == Exit.USAGE
    printed = capsys.readouterr()
    assert "ERROR [021]" in printed.err
    assert "HINT: " in printed.err
    assert [row["key"] for row in json.loads(printed.out)["error"]["findings"]] == ["sites.1.capacity"]


def test_an_unknown_host_is_named_with_those_there_are(
    sites: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--sites", str(sites), "render", "nobody", "--out", str(tmp_path / "out")) == Exit.USAGE
    assert "dj-db1" in capsys.readouterr().err


def test_an_unknown_command_is_a_usage_error() -> None:
    assert run("no-such-command") == Exit.USAGE


def test_every_command_can_be_loaded() -> None:
    assert isinstance(hanbat, LazyGroup)
    for name in COMMANDS:
        assert hanbat.get_command(hanbat.make_context("hanbat", [], resilient_parsing=True), name) is not None


def test_the_settings_reference_is_what_the_model_says() -> None:
    written = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == settings_reference.markdown(), "run: make docs"


def test_every_setting_has_a_help_text() -> None:
    rows = [line for line in settings_reference.markdown().splitlines() if line.startswith("| `")]
    assert len(rows) > 30
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_error_reference_is_what_the_packages_say() -> None:
    written = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert written == error_reference.markdown(), "run: make docs"


def test_every_error_has_a_meaning_and_a_code_of_its_own() -> None:
    kinds = error_reference.all_errors()
    assert len(kinds) > 8
    assert [kind.__name__ for kind in kinds if not kind.__doc__] == []
