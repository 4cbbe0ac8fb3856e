"""Half capacity is half the processes and connections, and all poolers together fit into PostgreSQL."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_site.capacity import (
    FULL_LOAD,
    OBSERVER_CONNECTIONS,
    PoolsDoNotFit,
    reserved_connections,
    sizes,
)
from failover.probe_lines import Patience
from hanbat.topology import HostRole, Topology

from ..replication.topologies import SHAPES, topology


@st.composite
def loaded(draw: st.DrawFn) -> Topology:
    primary = draw(st.integers(1, 100))
    return topology(
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        draw(st.tuples(st.integers(1, 8), st.integers(1, 8))),
        (primary, draw(st.integers(1, primary))),
        postgresql={"max_connections": draw(st.integers(20, 500))},
    )


def connections(made: Topology) -> int:
    carried = [sizes(made, host) for host in made.hosts_with(HostRole.APP)]
    pools = sum(one.pool_size + one.reserve_size for one in carried)
    return pools + reserved_connections(made)


@given(loaded())
def test_the_sum_of_all_connections_fits_or_is_refused(made: Topology) -> None:
    hosts = len(made.hosts_with(HostRole.APP))
    free = made.postgresql.max_connections - reserved_connections(made)
    if free < hosts:
        with pytest.raises(PoolsDoNotFit):
            connections(made)
    else:
        assert connections(made) <= made.postgresql.max_connections


@given(loaded())
def test_every_host_can_serve(made: Topology) -> None:
    for host in made.hosts_with(HostRole.APP):
        try:
            carried = sizes(made, host)
        except PoolsDoNotFit:
            return
        assert min(carried.workers, carried.threads, carried.pool_size) >= 1
        assert carried.max_client_conn > carried.server_maxconn
        assert carried.edge_maxconn >= 20


@pytest.mark.parametrize("shape", SHAPES)
def test_the_shapes_fit(shape: str) -> None:
    made = SHAPES[shape]
    assert connections(made) <= made.postgresql.max_connections


def test_the_backup_of_the_reference_shape_carries_half() -> None:
    made = SHAPES["reference"]
    primary = [sizes(made, made.host(name)) for name in ("dj-app1", "dj-app2")]
    backup = sizes(made, made.host("gg-app1"))
    assert sum(host.workers for host in primary) == FULL_LOAD.workers == 2 * backup.workers
    assert sum(host.edge_maxconn for host in primary) == FULL_LOAD.requests == 2 * backup.edge_maxconn
    assert primary[0].pool_size == primary[1].pool_size == backup.pool_size
    threads = backup.workers * FULL_LOAD.threads
    assert backup.pool_size + backup.reserve_size >= threads


def test_what_an_observer_may_open_is_reserved() -> None:
    canary = 1
    assert Patience().most + canary == OBSERVER_CONNECTIONS
