"""The sync set holds a host of another site whenever one streams; the model is Patroni's own choice."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patroni import global_config
from patroni.dcs import Cluster, ClusterConfig, Leader, Member, Status, SyncState
from patroni.postgresql import sync
from patroni.postgresql.sync import SyncHandler

from hanbat.topology import HostRole, Topology
from replication.mends import steady_set
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
            draw(st.booleans()),
        )
        for name in alive
        if name != primary
    ]
    return shape, primary, standbys


def remote(shape: Topology, primary: str, names: Any) -> set[str]:
    home = shape.site_of(primary).name
    return {name for name in names if shape.site_of(name).name != home}


def away_from(shape: Topology, primary: str) -> set[str]:
    return remote(shape, primary, (host.name for host in shape.hosts_with(HostRole.DB)))


def chosen_of(
    shape: Topology, primary: str, standbys: list[Standby], order: dict[str, int] | None = None
) -> frozenset[str]:
    away = away_from(shape, primary)
    return pick(standbys, order or priorities(shape), node_count(shape), away)


@given(situations())
def test_a_host_of_another_site_is_in_the_set_when_one_is_alive(
    situation: tuple[Topology, str, list[Standby]],
) -> None:
    shape, primary, standbys = situation
    chosen = chosen_of(shape, primary, standbys)
    if remote(shape, primary, [s.name for s in standbys]):
        assert remote(shape, primary, chosen)


@given(situations(), st.data())
def test_it_does_not_depend_on_the_priorities(
    situation: tuple[Topology, str, list[Standby]], data: st.DataObject
) -> None:
    shape, primary, standbys = situation
    names = [host.name for host in shape.hosts_with(HostRole.DB)]
    any_order = dict(zip(names, data.draw(st.permutations(range(1, len(names) + 1))), strict=True))
    chosen = chosen_of(shape, primary, standbys, any_order)
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
    by_patroni = sorted(standbys, key=lambda standby: -order[standby.name])
    assert not remote(shape, "one-db1", (one.name for one in by_patroni[: node_count(shape) - 1]))
    assert remote(shape, "one-db1", (one.name for one in by_patroni[: node_count(shape)]))
    kept = [replace(one, nofailover=one.name == "two-db1") for one in standbys]  # picked last
    away = away_from(shape, "one-db1")
    assert not remote(shape, "one-db1", pick(kept, order, node_count(shape) - 1, away))
    assert remote(shape, "one-db1", pick(kept, order, node_count(shape), away))


@given(situations())
def test_an_in_site_standby_is_kept_too(situation: tuple[Topology, str, list[Standby]]) -> None:
    """Planted: with 2+2 hosts, the priorities alone leave the first host of the backup without one."""
    shape, primary, standbys = situation
    standbys = [replace(one, nofailover=False) for one in standbys]
    home = {one.name for one in standbys} - away_from(shape, primary)
    chosen = chosen_of(shape, primary, standbys)
    if home and node_count(shape) > 1:
        assert chosen & home


@given(situations())
def test_the_set_is_never_left_as_a_whole(situation: tuple[Topology, str, list[Standby]]) -> None:
    """Planted: who has a higher priority comes back, and nobody is named until it has caught up."""
    shape, primary, standbys = situation
    standbys = [replace(one, nofailover=False) for one in standbys]
    named = {one.name for one in standbys if one.named}
    if named:
        assert named & chosen_of(shape, primary, standbys)


@pytest.mark.parametrize("name", SHAPES)
def test_every_host_has_a_priority_of_its_own(name: str) -> None:
    order = priorities(SHAPES[name])
    assert sorted(order.values()) == list(range(1, len(order) + 1))


def test_who_comes_home_replaces_one_of_two_remote_hosts() -> None:
    """Planted: whoever is in the set stays, for ever; an in-site standby that was lost is never back."""
    shape = topology((2, 2))
    away = [Standby("two-db1", "sync", named=True), Standby("two-db2", "sync", named=True)]
    assert chosen_of(shape, "one-db1", [*away, Standby("one-db2")]) == {"two-db1", "one-db2"}


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
    named = ",".join(standby.name for standby in standbys if standby.named)
    cluster = Cluster(
        "1", ClusterConfig(1, settings, 1), leader, Status.empty(), members, None,
        SyncState.from_node("7", {"leader": primary, "sync_standby": named}), None, None, None,
    )  # fmt: skip
    global_config.update(cluster)  # pyright: ignore[reportAttributeAccessIssue]
    rows = [
        {"pid": place, "application_name": s.name, "sync_state": s.sync_state, "flush_lsn": s.lsn}
        for place, s in enumerate(standbys)
    ]
    handler = SyncHandler(FakePostgresql(primary, rows))  # pyright: ignore[reportArgumentType]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sync._ReplicaList, "__init__", sync._ReplicaList.__init__)  # put back afterwards
        steady_set.install(frozenset(away_from(shape, primary)))
        return frozenset(handler.current_state(cluster).active)


@given(situations())
def test_the_model_is_what_patroni_does(situation: tuple[Topology, str, list[Standby]]) -> None:
    shape, primary, standbys = situation
    assert chosen_of(shape, primary, standbys) == patronis_choice(shape, primary, standbys)


def test_the_fake_hides_no_attribute_of_patroni() -> None:
    """A standby that Patroni does not know as running is not picked: the comparison can fail."""
    shape = SHAPES["reference"]
    handler = SyncHandler(FakePostgresql("dj-db1", []))  # pyright: ignore[reportArgumentType]
    cluster = SimpleNamespace(members=[], sync=SyncState.empty())
    assert not handler.current_state(cluster).active  # pyright: ignore[reportArgumentType]
    assert patronis_choice(shape, "dj-db1", [Standby("gg-db1")]) == {"gg-db1"}
