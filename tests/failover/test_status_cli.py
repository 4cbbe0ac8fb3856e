"""`hanbat status` as a command: once, as JSON, again and again; and its exit status. The looks are given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from failover import status_cli
from failover.looker import NoControllerHere
from failover.status import Overview
from failover.view import NotSeen
from hanbat.errors import Exit

from .test_status import shown

BLIND = shown(dcs=NotSeen("no majority"))


@dataclass
class Looks:
    """A looker: these, one after the other; then somebody presses Ctrl-C."""

    looks: Iterator[Overview]

    def look(self) -> Overview:
        try:
            return next(self.looks)
        except StopIteration:
            raise KeyboardInterrupt from None

    look_twice = look


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The command with these looks: its exit status and what it printed."""

    def command(looks: list[Overview], *words: str) -> tuple[Any, str]:
        monkeypatch.setattr(status_cli, "read_config", lambda path: path)
        monkeypatch.setattr(status_cli, "Looker", lambda config: Looks(iter(looks)))
        monkeypatch.setattr(status_cli, "WATCH_S", 0.01)
        result = CliRunner().invoke(
            status_cli.status, list(words), standalone_mode=False, env={"COLUMNS": "100"}
        )
        if result.exception is not None:
            raise result.exception
        return result.return_value, result.output

    return command


def test_once(run: Any) -> None:
    status, output = run([shown()])
    assert status == Exit.DONE == 0
    assert "primary: dj-db1 at daejeon" in output
    assert "DCS member sj-wt1 (sejong): healthy from 3/3 sites" in output


def test_the_dcs_was_not_seen(run: Any) -> None:
    status, output = run([BLIND])
    assert status == Exit.UNKNOWN == 5
    assert "THE DCS WAS NOT SEEN: no majority" in output


def test_as_json(run: Any) -> None:
    status, output = run([shown()], "--json")
    found = json.loads(output)
    assert (status, found["primary"], found["site_safe"]) == (Exit.DONE, "dj-db1", "yes")
    assert [one["may_take_over"] for one in found["hosts"]] == ["", "yes", "yes"]
    everywhere = dict.fromkeys(("daejeon", "gyeonggi", "sejong"), "reachable")
    assert found["members"][2] == {
        "name": "sj-wt1", "site": "sejong", "seen": everywhere, "age_ms": 400, "failing_ms": None, "why": {},
    }  # fmt: skip


def test_as_json_without_the_dcs(run: Any) -> None:
    status, output = run([BLIND], "--json")
    found = json.loads(output)
    assert (status, found["trouble"], found["primary"]) == (Exit.UNKNOWN, "no majority", None)
    assert {one["may_take_over"] for one in found["hosts"]} == {"unknown"}


def test_watched_until_somebody_has_seen_enough(run: Any) -> None:
    """Planted: Ctrl-C, its normal end, was status 5 and 'interrupted'."""
    status, output = run([shown(), shown()], "--watch")
    assert status == Exit.DONE
    assert "primary: dj-db1 at daejeon" in output


def test_what_is_watched_is_the_last_look(run: Any) -> None:
    status, output = run([shown(), BLIND], "--watch")
    assert status == Exit.DONE
    assert "THE DCS WAS NOT SEEN: no majority" in output


def test_without_a_controllers_configuration(tmp_path: Path) -> None:
    result = CliRunner().invoke(status_cli.status, ["--config", str(tmp_path / "none.yml")])
    assert isinstance(result.exception, NoControllerHere)
    assert result.exception.exit_status == Exit.NOT_READY
