"""The network of a lab as data, by value."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest

from hanbat.topology import Topology
from lab import cuts
from lab.errors import BadTarget
from lab.identity import Names, identity_of
from lab.plan import Veth, hosts_file, plan
from lab.wan import netem_arguments, wirefilter_arguments
from tests.lab.shapes import small

NAMES = Names("0a1b2c", Path("/nowhere"))


@pytest.fixture
def topology(tmp_path: Path) -> Topology:
    return small(tmp_path)


def test_identity_is_that_of_the_real_path(tmp_path: Path) -> None:
    link = tmp_path / "link"
    (tmp_path / "clone").mkdir()
    link.symlink_to(tmp_path / "clone")
    assert identity_of(link) == identity_of(tmp_path / "clone")
    assert identity_of(tmp_path) != identity_of(tmp_path / "clone")
    assert len(identity_of(tmp_path)) == 6


def test_every_namespace_carries_the_identity(topology: Topology) -> None:
    names = [node.namespace for node in plan(topology, NAMES).nodes]
    assert names == [
        "hb0a1b2c-client",
        "hb0a1b2c-r-daejeon",
        "hb0a1b2c-m-dj1",
        "hb0a1b2c-r-gyeong-gi",
        "hb0a1b2c-m-gg1",
        "hb0a1b2c-r-sejong",
        "hb0a1b2c-m-sj1",
    ]
    assert all(NAMES.is_own(name) for name in names)
    assert not NAMES.is_own("hb0a1b2d-client")
    assert not NAMES.is_own("hb0a1b2c")


def test_a_host_may_be_called_client_or_router(topology: Topology) -> None:
    host = topology.sites[0].hosts[0].model_copy(update={"name": "client"})
    assert NAMES.machine(host.name) != NAMES.client


def test_cables_have_both_ends_in_namespaces_of_the_lab(topology: Topology) -> None:
    network = plan(topology, NAMES)
    assert network.veth_of("hb0a1b2c-m-gg1") == Veth("hb0a1b2c-m-gg1", "eth0", "hb0a1b2c-r-gyeong-gi", "p0")
    ends = [
        end
        for veth in network.veths
        for end in ((veth.left, veth.left_device), (veth.right, veth.right_device))
    ]
    ends += [
        (name, device)
        for link in network.wan
        for name, device in zip(link.routers, link.devices, strict=True)
    ]
    assert len(set(ends)) == len(ends)
    assert all(NAMES.is_own(name) for name, _ in ends)
    assert all(len(device) <= 15 for _, device in ends)


def test_sites_are_joined_pair_by_pair_and_each_router_knows_the_way(topology: Topology) -> None:
    network = plan(topology, NAMES)
    assert [link.sites for link in network.wan] == [
        ("daejeon", "gyeong-gi"),
        ("daejeon", "sejong"),
        ("gyeong-gi", "sejong"),
    ]
    lines = dict(network.wan_commands)["hb0a1b2c-r-daejeon"]
    assert "route add 10.81.2.0/24 via 10.81.2.1 dev wan1 onlink src 10.81.1.1" in lines
    assert not any("default" in line for node in network.nodes if node.forwards for line in node.commands)


def test_hosts_file_names_hosts_and_edges(topology: Topology) -> None:
    lines = hosts_file(topology).splitlines()
    assert "10.81.2.11 gg1" in lines
    assert "10.81.1.100 edge.daejeon" in lines


def test_wan_arguments_keep_the_units(topology: Topology) -> None:
    wan = topology.wan.model_copy(update={"bandwidth_mbit": 100, "loss_percent": 0.5})
    assert netem_arguments(wan) == [
        "delay", "2000us", "rate", "100mbit", "limit", "100000", "loss", "0.5%",
    ]  # fmt: skip
    assert wirefilter_arguments(wan) == ["-d", "2", "-b", "12500000", "-l", "0.5"]
    assert wirefilter_arguments(topology.wan) == ["-d", "2"]
    varied = topology.wan.model_copy(update={"jitter": timedelta(milliseconds=0.5)})
    assert wirefilter_arguments(varied) == ["-d", "2+0.5U"]
    assert netem_arguments(varied)[:3] == ["delay", "2000us", "500us"]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("daejeon-gyeong-gi", cuts.Target(site="daejeon", other="gyeong-gi")),
        ("gyeong-gi-sejong", cuts.Target(site="gyeong-gi", other="sejong")),
        ("sejong>gyeong-gi", cuts.Target(site="sejong", other="gyeong-gi", one_way=True)),
        ("gyeong-gi", cuts.Target(site="gyeong-gi")),
        ("daejeon+clients", cuts.Target(site="daejeon", clients=True)),
        ("gg1", cuts.Target(host="gg1")),
    ],
)
def test_targets(topology: Topology, text: str, target: cuts.Target) -> None:
    assert cuts.parse(topology, text) == target


@pytest.mark.parametrize("text", ["busan", "daejeon-daejeon", "daejeon-gg1", "", "gg1+clients"])
def test_bad_targets_are_refused(topology: Topology, text: str) -> None:
    with pytest.raises(BadTarget):
        cuts.parse(topology, text)


def test_a_partition_drops_both_ways_at_both_ends(topology: Topology) -> None:
    rules = cuts.rules(topology, [cuts.parse(topology, "daejeon-gyeong-gi")])
    for site, device in (("daejeon", "wan1"), ("gyeong-gi", "wan0")):
        assert f'iifname "{device}" drop' in rules[site]
        assert f'oifname "{device}" drop' in rules[site]
    assert "drop" not in rules["sejong"]


def test_a_one_way_partition_drops_one_way(topology: Topology) -> None:
    rules = cuts.rules(topology, [cuts.parse(topology, "daejeon>gyeong-gi")])
    assert 'oifname "wan1" drop' in rules["daejeon"]
    assert "iifname" not in rules["daejeon"]
    assert 'iifname "wan0" drop' in rules["gyeong-gi"]
    assert "oifname" not in rules["gyeong-gi"]


def test_healing_one_cut_keeps_the_other(topology: Topology) -> None:
    both = [cuts.parse(topology, "daejeon"), cuts.parse(topology, "daejeon-sejong")]
    assert cuts.rules(topology, both) == cuts.rules(topology, both[:1])
    rest = cuts.rules(topology, both[1:])
    assert 'iifname "wan2" drop' in rest["daejeon"]
    assert "wan1" not in rest["daejeon"]


def test_a_site_without_power_is_silent(topology: Topology) -> None:
    rules = cuts.rules(topology, [], ["daejeon"])
    assert 'oifname != "lo" drop' in rules["daejeon"]
    assert "table bridge hanbat {\n" in rules["daejeon"]
    assert "drop" not in rules["gyeong-gi"]


def test_no_fault_means_no_rule(topology: Topology) -> None:
    assert not any("chain" in text for text in cuts.rules(topology, []).values())


def test_routes_stay_inside_the_topology(topology: Topology) -> None:
    subnets = {str(site.subnet) for site in topology.sites}
    for _, lines in plan(topology, NAMES).wan_commands:
        for line in lines:
            if line.startswith("route add"):
                assert str(ip_network(line.split()[2])) in subnets
