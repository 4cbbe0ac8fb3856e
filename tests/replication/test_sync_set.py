"""The sync set holds a host of another site whenever one streams; the model is Patroni's own choice."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patroni import global_config
from patroni.dcs import Cluster, ClusterConfig, Leader, Member, Status, SyncState
from patroni.postgresql.sync import SyncHandler

from hanbat.topology import HostRole, Topology
from replication.sync_set import Standby, node_count, pick, priorities

from .topologies import SHAPES, topologies, topology


@st.composite
def situations(draw: st.DrawFn) -> tuple[Topology, str, list[Standby]]:
    """A topology, one of its db hosts as the primary, and any of the others streaming in any state."""
    shape = draw(topologies)
    names = [host.name for host in shape.hosts_with(HostRole.DB)]
    primary = draw(st.sampled_from(names))
    alive = draw(st.lists(st.sampled_from(names), unique=True))
    standbys = [
        Standby(
            name,
            draw(st.sampled_from(["sync", "potential", "async"])),
            draw(st.integers(1, 1000)),
            draw(st.booleans()),
        )
        for name in alive
        if name != primary
    ]
    return shape, primary, standbys


def remote(shape: Topology, primary: str, names: Any) -> set[str]:
    home = shape.site_of(primary).name
    return {name for name in names if shape.site_of(name).name != home}


@given(situations())
def test_a_host_of_another_site_is_in_the_set_when_one_is_alive(
    situation: tuple[Topology, str, list[Standby]],
) -> None:
    shape, primary, standbys = situation
    chosen = pick(standbys, priorities(shape), node_count(shape))
    if remote(shape, primary, [s.name for s in standbys]):
        assert remote(shape, primary, chosen)


@given(situations(), st.data())
def test_it_does_not_depend_on_the_priorities(
    situation: tuple[Topology, str, list[Standby]], data: st.DataObject
) -> None:
    shape, primary, standbys = situation
    names = [host.name for host in shape.hosts_with(HostRole.DB)]
    any_order = dict(zip(names, data.draw(st.permutations(range(1, len(names) + 1))), strict=True))
    chosen = pick(standbys, any_order, node_count(shape))
    if remote(shape, primary, [s.name for s in standbys]):
        assert remote(shape, primary, chosen)


@pytest.mark.parametrize(("dbs", "count"), [((2, 1), 2), ((2, 2), 2), ((3, 2), 3), ((1, 1), 1), ((1, 3), 3)])
def test_the_count_is_the_largest_site(dbs: tuple[int, int], count: int) -> None:
    assert node_count(topology(dbs)) == count


def test_one_less_would_not_do() -> None:
    """The count is the least that works: with one less, in-site standbys can fill the set."""
    shape = topology((3, 1))
    order = {"one-db1": 4, "one-db2": 3, "one-db3": 2, "two-db1": 1}
    standbys = [Standby(name) for name in ("one-db2", "one-db3", "two-db1")]
    assert not remote(shape, "one-db1", pick(standbys, order, node_count(shape) - 1))
    assert remote(shape, "one-db1", pick(standbys, order, node_count(shape)))


@pytest.mark.parametrize("name", SHAPES)
def test_an_in_site_standby_is_kept_too_while_the_primary_site_is_active(name: str) -> None:
    shape = SHAPES[name]
    order = priorities(shape)
    assert sorted(order.values()) == list(range(1, len(order) + 1))
    site = shape.sites[0]
    for primary in (host.name for host in site.hosts_with(HostRole.DB)):
        others = [host.name for host in shape.hosts_with(HostRole.DB) if host.name != primary]
        chosen = pick([Standby(other) for other in others], order, node_count(shape))
        assert remote(shape, primary, chosen)
        if len(site.hosts_with(HostRole.DB)) > 1:
            assert chosen - remote(shape, primary, chosen)


class FakePostgresql:
    """What `_ReplicaList` and `SyncHandler.current_state` read of Patroni's Postgresql."""

    supports_multiple_sync = True
    supports_quorum_commit = True

    def __init__(self, name: str, rows: list[dict[str, Any]]) -> None:
        self.name = name
        self._rows = rows

    def synchronous_commit(self) -> str:
        return "on"

    def synchronous_standby_names(self) -> str:
        return ""

    def pg_stat_replication(self) -> list[dict[str, Any]]:
        return self._rows

    def last_operation(self) -> int:
        return 1000


def patronis_choice(shape: Topology, primary: str, standbys: list[Standby]) -> frozenset[str]:
    order = priorities(shape)
    members = []
    for place, standby in enumerate(standbys):
        data = {
            "state": "running",
            "conn_url": "postgres://127.0.0.1/",
            "tags": {"sync_priority": order[standby.name], "nofailover": standby.nofailover},
        }
        members.append(Member(1, standby.name, str(place), data))
    settings = {"synchronous_mode": True, "synchronous_node_count": node_count(shape)}
    leader = Leader(1, "0", Member(1, primary, "0", {"state": "running"}))
    cluster = Cluster(
        "1", ClusterConfig(1, settings, 1), leader, Status.empty(), members, None,
        SyncState.empty(), None, None, None,
    )  # fmt: skip
    global_config.update(cluster)  # pyright: ignore[reportAttributeAccessIssue]
    rows = [
        {"pid": place, "application_name": s.name, "sync_state": s.sync_state, "flush_lsn": s.lsn}
        for place, s in enumerate(standbys)
    ]
    handler = SyncHandler(FakePostgresql(primary, rows))  # pyright: ignore[reportArgumentType]
    return frozenset(handler.current_state(cluster).active)


@given(situations())
def test_the_model_is_what_patroni_does(situation: tuple[Topology, str, list[Standby]]) -> None:
    shape, primary, standbys = situation
    assert pick(standbys, priorities(shape), node_count(shape)) == patronis_choice(shape, primary, standbys)


def test_the_fake_hides_no_attribute_of_patroni() -> None:
    """A standby that Patroni does not know as running is not picked: the comparison can fail."""
    shape = SHAPES["reference"]
    handler = SyncHandler(FakePostgresql("dj-db1", []))  # pyright: ignore[reportArgumentType]
    cluster = SimpleNamespace(members=[], sync=SyncState.empty())
    assert not handler.current_state(cluster).active  # pyright: ignore[reportArgumentType]
    assert patronis_choice(shape, "dj-db1", [Standby("gg-db1")]) == {"gg-db1"}
