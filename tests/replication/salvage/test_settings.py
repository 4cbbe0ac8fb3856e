"""Settings are bounded, documented, rendered; and the words fit the application's tables."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from hanbat.rendering import template
from hanbat.topology_file import load as load_topology
from replication import layout
from replication.salvage.settings import LIMITS, Settings, described_tables, load, parse

ROOT = Path(__file__).resolve().parents[3]


def test_the_defaults_stand_in_one_place() -> None:
    defaults = {one.name: one.default for one in fields(Settings) if one.name in {two.name for two in LIMITS}}
    assert defaults == {limit.name: limit.default for limit in LIMITS}
    assert all(limit.low <= limit.default <= limit.high for limit in LIMITS)
    assert str(Settings().folder) == layout.SALVAGE_DIR


def test_every_limit_is_documented() -> None:
    text = (ROOT / "docs" / "salvage.md").read_text(encoding="utf-8")
    for limit in LIMITS:
        assert f"| `{limit.name}` | {limit.default} | {limit.low} to {limit.high} |" in text


def test_the_rendered_file_is_read_back_whole() -> None:
    topology = load_topology(ROOT / "sites.yml")
    text = template(
        "replication", "salvage.yml.j2", "#",
        topology=topology, layout=layout, limits=LIMITS, tables=described_tables(),
    )  # fmt: skip
    found = parse(yaml.safe_load(text))
    assert found.complaints == ()
    assert found.tables == described_tables()
    assert set(found.hosts.values()) == {"dj-db1", "dj-db2", "gg-db1"}


def test_what_is_wrong_is_told_and_not_used() -> None:
    found = parse({"limits": {"save_s": 0, "decode_s": "soon", "wal_mb": 64}, "tables": [{"title": "x"}]})
    assert (found.save_s, found.decode_s, found.wal_mb) == (60, 60, 64)
    assert len(found.complaints) == 3
    assert parse({"tables": [{"table": "a.b", "title": "b", "request": "party_id"}]}).requests is None
    assert parse(None).complaints


def test_a_missing_file_gives_the_defaults_and_says_so(tmp_path: Path) -> None:
    found = load(tmp_path / "none.yml")
    assert found.keep_count == 20
    assert "none.yml" in found.complaints[0]
    (tmp_path / "bad.yml").write_text("{")
    assert load(tmp_path / "bad.yml").complaints


def test_every_table_of_the_application_has_words_and_payments_come_first() -> None:
    sql = (ROOT / "app/migrations/versions/r0001_core.sql").read_text(encoding="utf-8")
    made = set(re.findall(r"CREATE TABLE (procurement\.\w+)", sql))
    described = [words.table for words in described_tables()]
    assert set(described) == made
    assert described[:2] == ["procurement.subcontract_payment", "procurement.payment"]
    assert Settings(tables=described_tables()).rank("procurement.unknown") == len(described)


def test_a_request_is_known_by_the_whole_primary_key_of_its_table() -> None:
    sql = (ROOT / "app/migrations/versions/r0001_core.sql").read_text(encoding="utf-8")
    requests = Settings(tables=described_tables()).requests
    assert requests is not None
    found = re.search(rf"CREATE TABLE {requests.table} \(.*?PRIMARY KEY \(([^)]*)\)", sql, re.DOTALL)
    assert found is not None
    assert set(found[1].split(", ")) < set(requests.request)


def test_the_application_has_one_savepoint_and_writes_a_request_and_its_rows_behind_it() -> None:
    """A subtransaction has a number of its own: rows of another one would never be found by their request.

    The one of `app.database` is set before the work begins; tests/app/test_database.py shows the number.
    """
    subtransaction = re.compile(r"\bSAVEPOINT \w|\bEXCEPTION\s+WHEN\b", re.IGNORECASE)
    known = re.compile(r"SAVEPOINT \{SAVEPOINT\}")
    for path in (*(ROOT / "app").rglob("*.py"), *(ROOT / "app").rglob("*.sql")):
        text = path.read_text(encoding="utf-8")
        assert not subtransaction.search(text), path
        assert len(known.findall(text)) == (2 if path.name == "database.py" else 0), path


@pytest.mark.parametrize("table", ["public.sub_order"])
def test_an_undescribed_table_goes_by_its_own_name(table: str) -> None:
    assert Settings().words(table).title == "sub order"
