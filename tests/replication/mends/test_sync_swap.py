"""Every write of /sync compares; Patroni's own requests, to an etcd in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest
from patroni.dcs.etcd3 import Etcd3, PatroniEtcd3Client

from replication.mends import sync_swap
from replication.mends.sync_swap import Put, Rider
from replication.mends.wrapping import ReplacedFunctionChanged

from .etcd_parts import Dcs, Etcd

SYNC, LEADER, OTHER = (f"/service/hanbat/{name}" for name in ("sync", "leader", "other"))


@pytest.fixture
def rider(monkeypatch: pytest.MonkeyPatch) -> Rider:
    monkeypatch.setattr(Etcd3, "set_sync_state_value", Etcd3.set_sync_state_value)  # put back afterwards
    rider = Rider()
    sync_swap.install(rider)
    return rider


def taken_by_another() -> Etcd:
    """dj-db1 saw no /sync, and slept: gg-db1 was promoted, and acknowledges with dj-db2."""
    etcd = Etcd()
    etcd.put(LEADER, "gg-db1")
    etcd.put(SYNC, json.dumps({"leader": "gg-db1", "sync_standby": "dj-db2"}))
    return etcd


def leader_of(etcd: Etcd) -> Any:
    return json.loads(etcd.keys[SYNC][0])["leader"]


def test_patroni_alone_takes_a_sync_that_it_never_saw() -> None:
    etcd = taken_by_another()
    assert Dcs(etcd, "dj-db1").write_sync_state("dj-db1", None, 0, version=None)
    assert leader_of(etcd) == "dj-db1"


@pytest.mark.usefixtures("rider")
def test_a_sync_that_was_not_seen_is_not_taken() -> None:
    etcd = taken_by_another()
    dcs = Dcs(etcd, "dj-db1")
    assert dcs.write_sync_state("dj-db1", None, 0, version=None) is None
    assert (leader_of(etcd), dcs._client.restarts) == ("gg-db1", 1)


@pytest.mark.usefixtures("rider")
@pytest.mark.parametrize(("holder", "writes"), [("dj-db1", True), ("gg-db1", False), (None, False)])
def test_where_there_is_none_the_lock_holder_writes_it(holder: str | None, writes: bool) -> None:
    """Planted: the mode was off once more, so that /sync is absent again, and another one is primary."""
    etcd = Etcd()
    if holder:
        etcd.put(LEADER, holder)
    written = Dcs(etcd, "dj-db1").write_sync_state("dj-db1", None, 0, version=None)
    assert (written is not None, SYNC in etcd.keys) == (writes, writes)
    assert written is None or written.version == str(etcd.revision)


@pytest.mark.usefixtures("rider")
@pytest.mark.parametrize(("behind", "writes"), [(0, True), (1, False)])
def test_a_swap_is_made_as_before(behind: int, writes: bool) -> None:
    etcd = taken_by_another()
    version = str(etcd.keys[SYNC][1] - behind)
    assert (Dcs(etcd, "dj-db1").write_sync_state("dj-db1", ["x"], 0, version=version) is not None) == writes
    assert (leader_of(etcd) == "dj-db1") == writes


@pytest.mark.parametrize(("sync_is_old", "rider_is_old"), [(False, False), (True, False), (False, True)])
def test_both_are_written_or_none(rider: Rider, sync_is_old: bool, rider_is_old: bool) -> None:
    etcd = taken_by_another()
    etcd.put(OTHER, "before")
    rider.put = Put(OTHER, "now", "1" if rider_is_old else str(etcd.keys[OTHER][1]))
    version = "1" if sync_is_old else str(etcd.keys[SYNC][1])
    dcs = Dcs(etcd, "dj-db1")
    written = dcs.write_sync_state("dj-db1", None, 0, version=version) is not None
    assert written == (not sync_is_old and not rider_is_old)
    assert (leader_of(etcd), etcd.keys[OTHER][0]) == (("dj-db1", "now") if written else ("gg-db1", "before"))
    assert (rider.put, dcs._client.asked) == (None, 1)


@pytest.mark.parametrize("changed", ["set_sync_state_value", "call_rpc"])
def test_another_patroni_is_refused(monkeypatch: pytest.MonkeyPatch, changed: str) -> None:
    owner: Any = Etcd3 if changed == "set_sync_state_value" else PatroniEtcd3Client
    monkeypatch.setattr(owner, changed, lambda self, more: None)
    with pytest.raises(ReplacedFunctionChanged):
        sync_swap.install(Rider())
