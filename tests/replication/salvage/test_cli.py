"""`hanbat salvage`: what is printed, and the exit status by verdict."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from hanbat.cli import hanbat, main
from hanbat.errors import Exit
from replication.salvage.store import COMPARISON, RECORDS, Manifest, Store, as_json, write

from .test_report import RECORD, compared
from .test_store import PLAIN


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "salvage").mkdir()
    (tmp_path / "salvage.yml").write_text(f"folder: {tmp_path / 'salvage'}\n")
    return tmp_path / "salvage.yml"


def stored(config: Path, manifest: Manifest, comparison: object = None) -> None:
    store = Store(config.parent / "salvage")
    store.finish(store.begin(manifest.id), manifest)
    if manifest.records:
        rows = {"records": [RECORD] * manifest.records, "changed": [], "unread": []}
        write(store.path(manifest.id) / RECORDS, as_json(rows))
    if comparison:
        write(store.path(manifest.id) / COMPARISON, as_json(comparison))


def run(*words: str | Path) -> int:
    return hanbat.main(["salvage", *map(str, words)], prog_name="hanbat", standalone_mode=False)


READ = dataclasses.replace(PLAIN, decoded="yes", records=1)


@pytest.mark.parametrize(
    ("manifest", "comparison", "status"),
    [
        (dataclasses.replace(PLAIN, committed=0, decoded="no need"), None, Exit.DONE),
        (READ, compared("same"), Exit.DONE),
        (READ, compared("missing"), Exit.INCOMPLETE),
        (READ, None, Exit.UNKNOWN),
        (dataclasses.replace(PLAIN, decoded="no"), None, Exit.UNKNOWN),
    ],
)
def test_the_exit_status_is_the_verdict(config: Path, manifest, comparison, status: Exit, capsys) -> None:
    stored(config, manifest, comparison)
    assert run("show", PLAIN.id, "--config", config) == status
    assert PLAIN.id in capsys.readouterr().out
    assert run("list", "--config", config) == Exit.DONE


def test_json_has_the_rows(config: Path, capsys) -> None:
    stored(config, READ, compared("missing"))
    run("show", PLAIN.id, "--json", "--config", config)
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "missing"
    assert told["decoded_rows"]["records"][0]["row"]["amount"] == 500
    run("list", "--json", "--config", config)
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == [PLAIN.id]


def test_no_salvage_and_no_db_host_are_told_apart(config: Path, tmp_path: Path, capsys) -> None:
    assert run("list", "--config", config) == Exit.DONE
    assert "none" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["salvage", "list", "--config", str(tmp_path / "none.yml")])
    assert ended.value.code == Exit.NOT_READY
    assert "ERROR [188]" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["salvage", "show", "nothing", "--config", str(config)])
    assert ended.value.code == Exit.USAGE
