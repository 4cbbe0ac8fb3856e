"""Patroni's keys, as Patroni 4.1 writes them, to the planner's types."""

from __future__ import annotations

import pytest

from failover import transaction
from failover.etcd_json import Entry
from failover.patroni_keys import dcs_state
from failover.view import Approval, DcsState, Lock, NotSeen, Status, SyncMode

from .views import INTENT

READ = {
    "patroni/leader": Entry("dj-db1", 10, 7),
    "patroni/sync": Entry('{"leader":"dj-db1","quorum":0,"sync_standby":"dj-db2,gg-db1"}', 20),
    "patroni/config": Entry('{"synchronous_mode":true,"ttl":20}', 30),
}


def state(**changes: Entry) -> DcsState:
    found = dcs_state(READ | {f"patroni/{key}": value for key, value in changes.items()})
    assert isinstance(found, DcsState)
    return found


def test_a_healthy_cluster() -> None:
    found = state()
    assert found.lock == Lock("dj-db1", 7, 10)
    assert found.sync is not None
    assert found.sync.leader == "dj-db1"
    assert found.sync.members == {"dj-db2", "gg-db1"}
    assert found.sync.value == READ["patroni/sync"].value
    assert found.config is not None
    assert (found.config.sync_mode, found.config.paused, found.config.revision) == (SyncMode.ON, False, 30)
    assert (found.failover_revision, found.operation, found.hold_revision) == (0, None, 0)


def test_nobody_is_sync() -> None:
    assert state(sync=Entry('{"leader":"dj-db1","sync_standby":null}', 21)).sync is not None
    assert state(sync=Entry('{"leader":null,"sync_standby":null}', 21)).sync is None


@pytest.mark.parametrize(("text", "quorum"), [("1", 1), ("0", 0), ("null", 0), ('"1"', 1)])
def test_how_many_votes_a_quorum_needs(text: str, quorum: int) -> None:
    """As Patroni reads it. 0, or none: every member acknowledges."""
    read = f'{{"leader":"dj-db1","quorum":{text},"sync_standby":"dj-db2,gg-db1"}}'
    sync = state(sync=Entry(read, 21)).sync
    assert sync is not None
    assert sync.quorum == quorum


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ('{"synchronous_mode":"on"}', SyncMode.ON),
        ('{"synchronous_mode":"quorum"}', SyncMode.QUORUM),
        ('{"synchronous_mode":false}', SyncMode.OFF),
        ("{}", SyncMode.OFF),
    ],
)
def test_modes(text: str, mode: SyncMode) -> None:
    config = state(config=Entry(text, 31)).config
    assert config is not None
    assert config.sync_mode is mode


@pytest.mark.parametrize(
    ("text", "paused"), [("true", True), ("false", False), ("null", False), ('"on"', True)]
)
def test_pause(text: str, paused: bool) -> None:
    config = state(config=Entry(f'{{"pause":{text}}}', 31)).config
    assert config is not None
    assert config.paused is paused


def test_our_own_keys() -> None:
    read = READ | {
        "hanbat/operation": Entry(transaction.encode(INTENT), 40),
        "hanbat/hold": Entry("people", 41),
        "hanbat/approval": Entry('{"candidate":"gg-db1","old":"dj-db1","lock_revision":10,"by":"kim"}', 42),
        "hanbat/signed/9": Entry("{}", 44),
        "hanbat/signed/10": Entry("{}", 45),
        "patroni/status": Entry('{"optime":7}', 46),
        "patroni/failover": Entry('{"leader":"dj-db1","member":"gg-db1"}', 43),
    }
    found = dcs_state(read)
    assert isinstance(found, DcsState)
    assert (found.operation, found.operation_revision) == (INTENT, 40)
    assert (found.hold_revision, found.failover_revision) == (41, 43)
    assert found.hold == "a hold is set, not by this command: 'people'"
    assert found.approval == Approval("gg-db1", "dj-db1", 10, "kim", 42)
    assert found.signed_epoch == 10  # by number, not by text
    assert found.status == Status('{"optime":7}', 46)


def test_an_emptied_failover_key_offers_nothing() -> None:
    """Patroni 4.1 writes `{}` after each switchover and never deletes the key (seen in the lab)."""
    found = state(failover=Entry("{}", 43))
    assert (found.failover_revision, found.failover_emptied) == (0, 43)
    found = state(failover=Entry("dj-db1:gg-db1", 44))
    assert (found.failover_revision, found.failover_emptied) == (44, 0)


@pytest.mark.parametrize(
    "broken",
    [
        {"patroni/sync": Entry("not json", 1)},
        {"patroni/sync": Entry('{"leader":"dj-db1","quorum":"most"}', 1)},
        {"patroni/config": Entry('{"synchronous_mode":"sometimes"}', 1)},
        {"patroni/config": Entry("[]", 1)},
        {"hanbat/operation": Entry("{}", 1)},
    ],
)
def test_what_cannot_be_read_is_not_guessed(broken: dict[str, Entry]) -> None:
    assert isinstance(dcs_state(READ | broken), NotSeen)
