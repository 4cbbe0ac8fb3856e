"""Two hosts of another site come back; in Patroni's own loop, `/sync` names somebody at every moment."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni import ha as module
from patroni.dcs import Member, SyncState
from patroni.ha import Ha
from patroni.postgresql import sync
from patroni.postgresql.misc import PostgresqlState
from patroni.postgresql.sync import SyncHandler

from replication.mends import dragging, steady_set

PRIORITIES = {"dj-db1": 4, "gg-db1": 3, "dj-db2": 2, "gg-db2": 1}  # of 2+2 hosts
REMOTE = frozenset({"dj-db1", "dj-db2"})


def member(name: str) -> Member:
    data = {"state": "running", "role": "replica", "tags": {"sync_priority": PRIORITIES[name]}}
    return Member.from_node(1, name, "7", json.dumps(data))


class Primary(Ha):
    """gg-db1, which all others follow. `lag`: of those that came back."""

    def __init__(self, lag: int) -> None:
        self.lag, self.names, self.swaps = lag, '"gg-db2"', list[set[str]]()
        self.state_handler: Any = SimpleNamespace(
            name="gg-db1",
            supports_multiple_sync=True,
            supports_quorum_commit=True,
            state=PostgresqlState.RUNNING,
            config=SimpleNamespace(set_synchronous_standby_names=self._told),
            is_primary=lambda: True,
            synchronous_commit=lambda: "on",
            synchronous_standby_names=lambda: self.names,
            last_operation=lambda: 1000,
            query=lambda sql: None,
            reset_cluster_info_state=lambda cluster: None,
            get_primary_timeline=lambda: 5,
            pg_stat_replication=self._rows,
        )
        self.state_handler.sync_handler = SyncHandler(self.state_handler)
        self.sync = SyncState.from_node("1", {"leader": "gg-db1", "sync_standby": "gg-db2"})
        self.dcs: Any = SimpleNamespace(write_sync_state=self._swap)

    def _told(self, value: str | None) -> bool:
        changed, self.names = value != self.names, value or ""
        return changed

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "pid": pid,
                "application_name": name,
                "sync_state": "sync" if name in self.names else "async",
                "flush_lsn": 1000 - (self.lag if name in REMOTE else 0),
            }
            for pid, name in enumerate(("dj-db1", "dj-db2", "gg-db2"))
        ]

    def _swap(self, leader: str, members: Any, quorum: int, version: Any) -> SyncState:
        self.swaps.append(set(members or ()))
        value = {"leader": leader, "sync_standby": ",".join(sorted(members or ()))}
        self.sync = SyncState.from_node(str(int(version) + 1), value)
        return self.sync

    def _maybe_enable_synchronous_mode(self) -> SyncState:
        return self.sync

    def loop(self) -> None:
        self.cluster = SimpleNamespace(sync=self.sync, members=[member(name) for name in PRIORITIES])
        self._process_multisync_replication()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = SimpleNamespace(
        synchronous_node_count=2,
        maximum_lag_on_syncnode=-1,
        is_quorum_commit_mode=False,
        is_synchronous_mode_strict=False,
    )
    monkeypatch.setattr("patroni.ha.global_config", settings)
    monkeypatch.setattr("patroni.postgresql.sync.global_config", settings)
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr("patroni.postgresql.sync.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(sync._ReplicaList, "__init__", sync._ReplicaList.__init__)  # put back afterwards


def after_three_loops(lag: int) -> Primary:
    primary = Primary(lag)
    for _ in range(3):
        primary.loop()
    return primary


@pytest.mark.parametrize("lag", [0, 10])
def test_somebody_is_named_at_every_moment(lag: int) -> None:
    steady_set.install(REMOTE)
    primary = after_three_loops(lag)
    assert set() not in primary.swaps
    assert set(primary.sync.voters) == ({"gg-db2", "dj-db1"} if lag == 0 else {"gg-db2"})


@pytest.mark.parametrize("lag", [0, 10])
def test_without_the_mend_nobody_is_named(lag: int) -> None:
    """Planted: Patroni as it is; then two hosts over the WAN are waited for."""
    primary = after_three_loops(lag)
    assert primary.swaps[0] == set()
    assert primary.names == '2 ("dj-db1","dj-db2")'


def test_who_drags_or_is_gone_is_not_kept_for_being_named(monkeypatch: pytest.MonkeyPatch) -> None:
    steady_set.install(REMOTE)
    watch: Any = SimpleNamespace(left_out=lambda primary, asked, named: frozenset({"gg-db2"}))
    dragging_list = dragging.replacement(sync._ReplicaList.__init__, watch)
    monkeypatch.setattr(sync._ReplicaList, "__init__", dragging_list)
    primary = after_three_loops(0)
    assert set(primary.sync.voters) == {"dj-db1", "dj-db2"}
    monkeypatch.setattr(primary.state_handler, "pg_stat_replication", lambda: primary._rows()[:1])
    primary.loop()
    assert set(primary.sync.voters) == {"dj-db1"}
