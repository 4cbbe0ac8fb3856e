"""Bad files: each names line, key, value and remedy. Good ones: all four shapes."""

# ruff: noqa: E501  (the table of bad files reads better with a row a line)

from __future__ import annotations

from pathlib import Path

import pytest

from hanbat.topology import HostRole, SiteRole
from hanbat.topology_file import Finding, TopologyInvalid, TopologyUnreadable, load

from .shapes import REFERENCE, SHAPES


def findings_of(tmp_path: Path, text: str) -> tuple[Finding, ...]:
    path = tmp_path / "sites.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TopologyInvalid) as caught:
        load(path)
    return caught.value.findings


def line_of(text: str, part: str, occurrence: int = 1) -> int:
    lines = [number for number, line in enumerate(text.splitlines(), 1) if part in line]
    return lines[occurrence - 1]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_four_shapes_are_valid(tmp_path: Path, shape: str) -> None:
    path = tmp_path / "sites.yml"
    path.write_text(SHAPES[shape], encoding="utf-8")
    topology = load(path)
    assert {site.role for site in topology.sites} == set(SiteRole)
    assert len(topology.hosts_with(HostRole.ETCD)) in (3, 5)


# (name, old text, new text, rule, text on the line that must be named, key must end so, value must hold)
BAD = [
    ("unknown key", "capacity: 50", "capacity: 50\n    speed: 9", "extra_forbidden", "speed: 9", "speed", "9"),
    ("two primary sites", "role: backup", "role: primary", "two_primary_sites", "role: primary", "1.role", "primary"),
    ("no witness", "role: witness", "role: backup", "no_witness_site", "sites:", "sites", "backup"),
    ("duplicate host name", "name: dj-db2", "name: dj-db1", "duplicate_name", "10.71.1.12", "1.name", "dj-db1"),
    ("duplicate address", "10.71.1.12", "10.71.1.11", "duplicate_address", "dj-db2", "1.address", "10.71.1.11"),
    ("edge on a host", "edge: 10.71.2.100", "edge: 10.71.2.11", "duplicate_address", "edge: 10.71.2.11", "1.edge", "10.71.2.11"),
    ("outside the subnet", "10.71.2.21", "10.71.1.29", "address_outside_subnet", "gg-app1", "1.address", "10.71.1.29"),
    ("the router's address", "10.71.2.21", "10.71.2.1", "address_outside_subnet", "gg-app1", "1.address", "10.71.2.1"),
    ("even number of etcd members", "roles: [db]}", "roles: [db, etcd]}", "etcd_count", "sites:", "sites", "dj-db2"),
    ("backup without database", "name: gg-db1, address: 10.71.2.11, roles: [db, etcd]", "name: gg-db1, address: 10.71.2.11, roles: [etcd]",
     "no_database_host", "hosts:", "1.hosts", "gyeonggi"),
    ("capacity over 100", "capacity: 50", "capacity: 150", "less_than_equal", "capacity: 150", "1.capacity", "150"),
    ("capacity 0 of a backup", "capacity: 50", "capacity: 0", "capacity_range", "capacity: 0", "1.capacity", "0"),
    ("objective without unit", "rto: 4h", "rto: 4", "value_error", "rto: 4", "objectives.rto", "4"),
    ("objective in words", "rto: 4h", "rto: soon", "value_error", "rto: soon", "objectives.rto", "soon"),
    ("negative objective", "rto: 4h", "rto: -4h", "value_error", "rto: -4h", "objectives.rto", "-4h"),
    ("no address", "10.71.3.11", "10.71.3", "ip_v4_address", "sj-wt1", "0.address", "10.71.3"),
    ("role that is none", "roles: [etcd]}", "roles: [dns]}", "enum", "sj-wt1", "roles.0", "dns"),
    ("key twice", "role: backup", "role: backup\n    role: backup", "duplicate_key", "role: backup", "1.role", "role"),
    ("subnets overlap", "subnet: 10.71.2.0/24", "subnet: 10.71.1.128/25", "subnets_overlap", "subnet: 10.71.1.128/25", "1.subnet", "10.71.1.128/25"),
    ("unknown mode", "mode: max_availability", "mode: fast", "enum", "mode: fast", "replication.mode", "fast"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "rule", "on_line", "key", "value"), [row[1:] for row in BAD], ids=[row[0] for row in BAD]
)
def test_a_bad_file_names_line_key_value_and_remedy(
    tmp_path: Path, old: str, new: str, rule: str, on_line: str, key: str, value: str
) -> None:
    assert old in REFERENCE
    text = REFERENCE.replace(old, new, 1)
    found = [finding for finding in findings_of(tmp_path, text) if finding.rule == rule]
    assert found, f"{rule} was not found"
    finding = found[0]
    assert on_line in text.splitlines()[finding.line - 1]
    assert finding.key.endswith(key)
    assert value in finding.value
    assert finding.fact
    assert finding.remedy


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    text = REFERENCE.replace("name: dj-db2", "name: dj-db1", 1).replace("10.71.2.21", "10.71.1.29", 1)
    assert {finding.rule for finding in findings_of(tmp_path, text)} == {
        "duplicate_name",
        "address_outside_subnet",
    }


def test_a_site_that_holds_the_majority_of_etcd_is_refused(tmp_path: Path) -> None:
    text = REFERENCE.replace("roles: [db]}", "roles: [db, etcd]}").replace(
        "address: 10.71.2.11, roles: [db, etcd]", "address: 10.71.2.11, roles: [db]"
    )
    assert {"etcd_majority", "etcd_missing"} <= {finding.rule for finding in findings_of(tmp_path, text)}


def test_ttl_keeps_its_margin_over_patronis_loop(tmp_path: Path) -> None:
    text = REFERENCE.replace("mode: max_availability", "mode: max_availability\n  retry_timeout: 10s")
    assert [finding.rule for finding in findings_of(tmp_path, text)] == ["patroni_timing"]


@pytest.mark.parametrize("text", ["", "- a list", "a: [", "\tx"])
def test_what_is_no_mapping_is_unreadable(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sites.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TopologyUnreadable):
        load(path)


def test_a_missing_file_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(TopologyUnreadable, match="cannot read"):
        load(tmp_path / "none.yml")
