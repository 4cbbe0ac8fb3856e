"""All shapes render completely: no value is left open, ports do not collide, secrets stay in their files."""

from __future__ import annotations

import re

import pytest
import yaml

from hanbat.rendering import File, tree
from hanbat.topology import Host, HostRole, ProtectionMode, Topology
from primary import render as primary
from replication import layout

from ..replication.topologies import SECRETS, SHAPES, topology

CASES = [(shape, host.name) for shape, made in SHAPES.items() for host in made.hosts]
# Which files hold which port, and how it is written there.
LISTENS = {
    "/etc/hanbat/etcd.yml": r"listen-(?:client|peer)-urls: http://.*?:(\d+)",
    "/etc/hanbat/patroni.yml": r"\n  listen: \S+:(\d+)",
    "/etc/hanbat/lsn-ring.yml": r"\nport: (\d+)",
    "/etc/hanbat/haproxy.cfg": r"\n    bind \S*:(\d+)",
    "/etc/hanbat/pgbouncer.ini": r"\nlisten_port = (\d+)",
    "/etc/systemd/system/hanbat-app.service": r"--bind \S+:(\d+)",
}


def files(shape: str, host: str) -> dict[str, File]:
    made = SHAPES[shape]
    return {file.path: file for file in tree(made, made.host(host), SECRETS)}


@pytest.mark.parametrize(("shape", "host"), CASES)
def test_no_value_is_left_open_and_each_file_says_where_it_came_from(shape: str, host: str) -> None:
    for file in files(shape, host).values():
        assert not re.search(r"\{\{|\{%|\bNone\b|\bundefined\b|<bound method|HostRole\.", file.text), (
            file.path
        )
        assert "Rendered by hanbat from sites.yml and " in file.text.split("\n", 1)[0], file.path
        assert file.text.endswith("\n"), file.path


@pytest.mark.parametrize(("shape", "host"), CASES)
def test_ports_do_not_collide(shape: str, host: str) -> None:
    rendered = files(shape, host)
    ports = [
        int(port)
        for path, pattern in LISTENS.items()
        if path in rendered
        for port in re.findall(pattern, rendered[path].text)
    ]
    roles = SHAPES[shape].host(host).roles
    assert len(ports) == 2 * (HostRole.ETCD in roles) + 3 * (HostRole.DB in roles) + 5 * (
        HostRole.APP in roles
    )
    assert len(set(ports)) == len(ports), sorted(ports)


@pytest.mark.parametrize(("shape", "host"), CASES)
def test_every_unit_is_started_at_boot_and_every_started_unit_is_there(shape: str, host: str) -> None:
    rendered = files(shape, host)
    there = {path.rsplit("/", 1)[1] for path in rendered if path.endswith(".service")}
    wanted = set(
        re.findall(r"Wants=(\S+)", rendered["/etc/systemd/system/multi-user.target.d/hanbat.conf"].text)
    )
    topology = SHAPES[shape]
    units = {*primary.units(topology.host(host)), *primary.controllers(topology, topology.host(host))}
    assert there == wanted == units
    for unit in there:
        assert "StartLimitIntervalSec=0" in rendered[f"/etc/systemd/system/{unit}"].text


@pytest.mark.parametrize(("shape", "host"), CASES)
def test_secrets_stand_only_in_files_that_others_cannot_read(shape: str, host: str) -> None:
    for file in files(shape, host).values():
        if any(secret in file.text for secret in SECRETS.model_dump().values()):
            assert file.mode & 0o007 == 0, file.path
            assert file.mode & 0o070 == 0 or file.group in ("hanbat", "postgres"), file.path


@pytest.mark.parametrize(("shape", "host"), CASES)
def test_names_of_all_hosts_resolve(shape: str, host: str) -> None:
    lines = files(shape, host)["/etc/hosts"].text.splitlines()
    for other in SHAPES[shape].hosts:
        assert f"{other.address} {other.name}" in lines


@pytest.mark.parametrize("shape", SHAPES)
def test_the_applications_environment_is_the_same_at_every_site(shape: str) -> None:
    hosts = SHAPES[shape].hosts_with(HostRole.APP)
    assert len({files(shape, host.name)["/etc/hanbat/app.env"].text for host in hosts}) == 1
    assert len({files(shape, host.name)["/etc/hanbat/app-migrate.env"].text for host in hosts}) == 1
    for secret in ("app_owner", "app_operator_key"):
        assert getattr(SECRETS, secret) not in files(shape, hosts[0].name)["/etc/hanbat/app.env"].text


def patroni_of(made: Topology, host: Host) -> dict:
    rendered = {file.path: file for file in tree(made, host, SECRETS)}
    return yaml.safe_load(rendered["/etc/hanbat/patroni.yml"].text)


@pytest.mark.parametrize("shape", SHAPES)
def test_settings_that_a_standby_may_not_have_less_of_are_equal(shape: str) -> None:
    made = SHAPES[shape]
    configurations = [patroni_of(made, host) for host in made.hosts_with(HostRole.DB)]
    for configuration in configurations:
        assert configuration["postgresql"]["parameters"] == configurations[0]["postgresql"]["parameters"]


@pytest.mark.parametrize("shape", SHAPES)
def test_only_the_primary_site_may_make_the_first_primary(shape: str) -> None:
    made = SHAPES[shape]
    sections = {host.name: "bootstrap" in patroni_of(made, host) for host in made.hosts_with(HostRole.DB)}
    assert sections == {host.name: host in made.sites[0].hosts for host in made.hosts_with(HostRole.DB)}
    texts = {files(shape, name)["/etc/hanbat/dcs.yml"].text for name in sections}
    assert len(texts) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_each_patroni_asks_its_own_member_then_the_witness_then_others(shape: str) -> None:
    """Never a neighbour that may be the primary before the witness: it would die with it."""
    made = SHAPES[shape]
    members = {f"{member.address}:2379": member for member in made.hosts_with(HostRole.ETCD)}
    for host in made.hosts_with(HostRole.DB):
        section = patroni_of(made, host)["etcd3"]
        assert section["use_proxies"] is True
        asked = [members[row] for row in section["hosts"]]
        assert set(asked) == set(members.values())
        if host in asked:
            assert asked[0] == host
        witness = next(place for place, each in enumerate(asked) if made.site_of(each.name).name == "sejong")
        before = {each.name for each in asked[:witness]} - {host.name}
        assert not any(made.host(name).has(HostRole.DB) for name in before)


@pytest.mark.parametrize(
    ("mode", "synchronous", "strict"),
    [
        (ProtectionMode.MAX_AVAILABILITY, True, False),
        (ProtectionMode.MAX_PROTECTION, True, True),
        (ProtectionMode.MAX_PERFORMANCE, False, False),
    ],
)
def test_the_protection_modes(mode: ProtectionMode, synchronous: bool, strict: bool) -> None:
    made = topology((2, 1), replication={"mode": mode.value, "max_lag_mb": 3})
    host = made.hosts_with(HostRole.DB)[0]
    dcs = patroni_of(made, host)["bootstrap"]["dcs"]
    assert (dcs["synchronous_mode"], dcs["synchronous_mode_strict"]) == (synchronous, strict)
    assert (dcs["maximum_lag_on_failover"] == 3 * 2**20) is (mode is ProtectionMode.MAX_PERFORMANCE)
    unit = next(f.text for f in tree(made, host, SECRETS) if f.path.endswith("hanbat-patroni.service"))
    assert f"HANBAT_PROTECTION_MODE={mode.value}\n" in unit
    assert "HANBAT_DRAG_LIMIT_S=0.5 HANBAT_DRAG_TIME_S=4.0\n" in unit
    assert "HANBAT_REMOTE_MEMBERS=two-db1" in unit  # the sync set knows sites in every mode


def test_paths_follow_the_major_version() -> None:
    made = topology((2, 1), postgresql={"version": 17})
    host = made.hosts_with(HostRole.DB)[0]
    assert layout.data_dir(made) == "/var/lib/postgresql/17/any"
    for file in tree(made, host, SECRETS):
        assert "postgresql/15" not in file.text


def test_the_edge_knows_the_hosts_of_both_sites_own_first() -> None:
    text = files("reference", "gg-app1")["/etc/hanbat/haproxy.cfg"].text
    assert text.index("primary_at_gyeonggi") < text.index("primary_at_daejeon")
    assert "default_backend alive_at_gyeonggi" in text
    assert set(re.findall(r"server (\S+) \S+:8000", text)) == {"dj-app1", "dj-app2", "gg-app1"}
