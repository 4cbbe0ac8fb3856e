"""Where observers and controllers stand, what they are told; `enabled: false` leaves nothing of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from failover import gatekeeper_service
from failover.config import DcsMember, Edge, load
from failover.policy import Mode, Policy
from hanbat.rendering import File, tree
from hanbat.topology import HostRole, Topology

from ..replication.topologies import SECRETS, SHAPES

CONFIG, UNIT = "/etc/hanbat/failover.yml", "/etc/systemd/system/hanbat-failover.service"


def files(topology: Topology, host: str) -> dict[str, File]:
    return {file.path: file for file in tree(topology, topology.host(host), SECRETS)}


def without(topology: Topology) -> Topology:
    return topology.model_copy(update={"failover": topology.failover.model_copy(update={"enabled": False})})


@pytest.mark.parametrize("shape", SHAPES)
def test_each_db_and_etcd_host_has_one_and_no_other(shape: str) -> None:
    topology = SHAPES[shape]
    for host in topology.hosts:
        stands = host.has(HostRole.DB) or host.has(HostRole.ETCD)
        assert ({CONFIG, UNIT} <= set(files(topology, host.name))) == stands
    sites = {topology.site_of(host.name).name for host in topology.hosts if host.has(HostRole.ETCD)}
    assert sites == {site.name for site in topology.sites}  # so that each site has a vote


@pytest.mark.parametrize("shape", SHAPES)
def test_disabled_leaves_nothing_behind(shape: str) -> None:
    topology = without(SHAPES[shape])
    for host in topology.hosts:
        rendered = files(topology, host.name)
        assert not {CONFIG, UNIT} & set(rendered)
        assert "hanbat-failover" not in "".join(
            file.text for path, file in rendered.items() if "/systemd/" in path
        )
        for path in ("/etc/hanbat/patroni.yml", "/etc/hanbat/app-migrate.env"):
            assert path not in rendered or "hanbat_observer" not in rendered[path].text


def test_an_observer_may_ask_the_application_s_database() -> None:
    """What `figures.deadlines` needs: a line that lets it in, and the migration that grants the rest."""
    topology = SHAPES["reference"]
    hba = files(topology, "dj-db1")["/etc/hanbat/patroni.yml"].text
    assert "host postgres,procurement hanbat_observer 10.71.3.11/32" in hba
    assert (
        'APP_OBSERVER_ROLE="hanbat_observer"'
        in files(topology, "gg-app1")["/etc/hanbat/app-migrate.env"].text
    )


def test_the_controller_reads_what_was_rendered(tmp_path: Path) -> None:
    topology = SHAPES["reference"]
    path = tmp_path / "failover.yml"
    path.write_text(files(topology, "gg-db1")[CONFIG].text, encoding="utf-8")
    config = load(path)
    assert (config.cluster, config.me, config.site) == ("hanbat", "gg-db1", "gyeonggi")
    assert config.policy == Policy(Mode.AUTOMATIC, Mode.AUTOMATIC, window_ms=800, block_ms=10_000)
    assert [host.name for host in config.hosts] == ["dj-db1", "dj-db2", "gg-db1"]
    assert config.etcd[0] == ("10.71.2.11", 2379)  # its own site's first
    assert config.members[:2] == (
        DcsMember("gg-db1", "gyeonggi", "10.71.2.11", 2379),
        DcsMember("sj-wt1", "sejong", "10.71.3.11", 2379),
    )
    assert config.password == SECRETS.observer
    assert config.edges == (Edge("daejeon", "10.71.1.100", 80), Edge("gyeonggi", "10.71.2.100", 80))


def test_others_cannot_read_the_password() -> None:
    rendered = files(SHAPES["reference"], "sj-wt1")
    assert (rendered[CONFIG].mode, rendered[CONFIG].group) == (0o640, "hanbat")
    assert SECRETS.observer not in rendered[UNIT].text


@pytest.mark.parametrize("shape", SHAPES)
def test_each_application_host_has_a_gatekeeper_that_is_started(shape: str) -> None:
    topology = SHAPES[shape]
    unit = "/etc/systemd/system/hanbat-gatekeeper.service"
    for host in topology.hosts:
        for shaped, wanted in ((topology, host.has(HostRole.APP)), (without(topology), False)):
            rendered = files(shaped, host.name)
            assert (unit in rendered) == wanted
            wants = rendered["/etc/systemd/system/multi-user.target.d/hanbat.conf"].text
            assert ("hanbat-gatekeeper.service" in wants) == wanted


def test_the_gatekeeper_reads_what_was_rendered(tmp_path: Path) -> None:
    path = tmp_path / "gatekeeper.yml"
    path.write_text(
        files(SHAPES["reference"], "gg-app1")["/etc/hanbat/gatekeeper.yml"].text, encoding="utf-8"
    )
    config = gatekeeper_service.load(path)
    assert (config.me, config.pooler_port, config.patroni_port) == ("gg-app1", 6432, 8008)
    assert config.addresses == {"dj-db1": "10.71.1.11", "dj-db2": "10.71.1.12", "gg-db1": "10.71.2.11"}
    assert config.etcd[0] == ("10.71.3.11", 2379)


def test_checks_may_be_slow_only_where_a_gatekeeper_stands() -> None:
    topology = SHAPES["reference"]
    assert "fall 20" in files(topology, "dj-app1")["/etc/hanbat/haproxy.cfg"].text
    assert "fall 20" not in files(without(topology), "dj-app1")["/etc/hanbat/haproxy.cfg"].text
