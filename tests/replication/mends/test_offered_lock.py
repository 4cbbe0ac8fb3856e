"""The word of a primary in failsafe mode does not hide a lock that is offered; in Patroni's own Failsafe."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs import Cluster, Failover, Leader, Member, Status, SyncState
from patroni.ha import Failsafe

from replication.mends import offered_lock
from replication.mends.wrapping import ReplacedFunctionChanged

WORD = {
    "name": "dj-db1",
    "conn_url": "postgres://10.71.1.11:5432/postgres",
    "api_url": "http://10.71.1.11:8008",
}


def cluster(offer: dict[str, str] | None, holder: str = "") -> Cluster:
    leader = Leader(1, "7", Member(1, holder, "7", {})) if holder else None
    failover = Failover.from_node(9, offer) if offer is not None else None
    return Cluster("1", None, leader, Status.empty(), [], failover, SyncState.empty(), None, None)


def followed(seen: Cluster, me: str = "dj-db2") -> str | None:
    """Whom this member takes for the leader, a moment after the primary's word reached it."""
    dcs: Any = SimpleNamespace(ttl=20, _name=me)
    failsafe = Failsafe(dcs)
    failsafe.update(WORD)
    leader = failsafe.update_cluster(seen).leader
    return leader and leader.name


@pytest.fixture(autouse=True)
def wrapped(monkeypatch: pytest.MonkeyPatch) -> Any:
    original = Failsafe.update_cluster
    monkeypatch.setattr(Failsafe, "update_cluster", original)  # put back afterwards
    offered_lock.install()
    return original


OFFER = {"leader": "dj-db1", "member": "dj-db2"}


def test_a_lock_that_is_offered_to_us_is_free():
    assert followed(cluster(OFFER)) is None


def test_without_the_mend_the_dead_primary_is_followed(wrapped: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Failsafe, "update_cluster", wrapped)
    assert followed(cluster(OFFER)) == "dj-db1"


@pytest.mark.parametrize(
    "offer",
    [None, {}, {"leader": "dj-db1", "member": "gg-db1"}, {**OFFER, "scheduled_at": "2099-01-14T10:09:57Z"}],
    ids=["none", "emptied", "to another", "for later"],
)
def test_else_the_primarys_word_counts(offer: dict[str, str] | None):
    assert followed(cluster(offer)) == "dj-db1"


def test_a_holder_is_a_holder():
    assert not offered_lock.is_offered(cluster(OFFER, holder="gg-db1"), "dj-db2")


def test_another_function_than_the_one_that_was_read_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Failsafe, "update_cluster", lambda self: self)
    with pytest.raises(ReplacedFunctionChanged):
        offered_lock.install()
