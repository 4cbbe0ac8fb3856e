"""Patroni's naps end with what they wait for; in Patroni's own functions."""

from __future__ import annotations

import inspect
import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni import ha as module
from patroni.collections import CaseInsensitiveSet
from patroni.dcs import Failover, SyncState
from patroni.ha import Ha

from replication.mends import short_naps
from replication.mends.grown_set import Growth, InForce
from replication.mends.kept_offer import Offer
from replication.mends.wrapping import ReplacedFunctionChanged


@pytest.fixture(autouse=True)
def wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in short_naps.WRAPPED:
        monkeypatch.setattr(Ha, name, getattr(Ha, name))  # put back afterwards
    monkeypatch.setattr(module, "time", module.time)
    short_naps.install()


class Third(Ha):
    """A standby that the offer does not name; the lock is taken some time after it looked."""

    def __init__(self, taken_after_s: float | None, *, blind: bool = False) -> None:
        self.cluster = SimpleNamespace(failover=Failover(1, "dj-db1", "dj-db2", None))
        self.patroni = SimpleNamespace(nofailover=False)
        self.state_handler: Any = SimpleNamespace(name="gg-db1")
        self._rewind = SimpleNamespace(trigger_check_diverged_lsn=lambda: None)
        self.dcs = SimpleNamespace(get_cluster=self._read)
        self._began, self._taken_after_s, self._blind = time.monotonic(), taken_after_s, blind

    def _read(self) -> Any:
        if self._blind:
            raise OSError("no etcd")
        after = self._taken_after_s
        taken = after is not None and time.monotonic() - self._began >= after
        return SimpleNamespace(is_unlocked=lambda: not taken)

    def is_healthiest_node(self) -> bool:
        return False

    def follow(self, demote_reason: str, follow_reason: str, refresh: bool = True) -> str:
        return follow_reason


def took(third: Third) -> float:
    began = time.monotonic()
    assert "not the healthiest" in third.process_unhealthy_cluster()
    return time.monotonic() - began


def test_the_third_host_follows_when_the_new_primary_has_had_its_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(short_naps, "PROMOTE_S", 0.3)
    assert 0.5 <= took(Third(0.2)) < 1.5


def test_a_member_that_is_to_be_kept_follows_at_once(monkeypatch: pytest.MonkeyPatch):
    """Commits on the new primary wait for it (`kept_members`)."""
    third = Third(0.2)
    offer = Offer(third.cluster.failover.version, frozenset({"gg-db1"}))
    monkeypatch.setattr(short_naps.OFFERS, "last", offer)
    assert 0.2 <= took(third) < short_naps.PROMOTE_S


@pytest.mark.parametrize("blind", [False, True])
def test_a_lock_that_nobody_takes_is_waited_for_as_before(blind: bool):
    assert took(Third(None, blind=blind)) >= 2.0


class Primary(Ha):
    """A primary without sync standbys; PostgreSQL has made gg-db1 one by the time it is asked again."""

    def __init__(self) -> None:
        self.cluster: Any = SimpleNamespace()
        self.asked = 0
        self.written: list[set[str]] = []
        self.dcs = SimpleNamespace(write_sync_state=self._write)
        handler = SimpleNamespace(current_state=self._state, set_synchronous_standby_names=lambda names: None)
        config = SimpleNamespace(_server_parameters={})
        self.state_handler = SimpleNamespace(name="dj-db2", sync_handler=handler, config=config)

    def _maybe_enable_synchronous_mode(self) -> SyncState:
        return SyncState.from_node("1", {"leader": "dj-db2", "sync_standby": ""})

    def _state(self, cluster: object) -> Any:
        self.asked += 1
        names = CaseInsensitiveSet({"gg-db1"})
        confirmed = names if self.asked > 1 else CaseInsensitiveSet()
        return SimpleNamespace(active=names, sync_confirmed=confirmed, sync=CaseInsensitiveSet(), numsync=0)

    def _write(self, leader: str, names: Any, quorum: int, version: object) -> bool:
        self.written.append(set(names))
        return True


def test_a_standby_is_sync_after_a_short_look():
    primary, began = Primary(), time.monotonic()
    primary._process_multisync_replication()
    assert primary.written == [{"gg-db1"}]
    assert short_naps.SETTLE_S <= time.monotonic() - began < 1.5


def test_the_look_ends_when_it_is_known_whether_commits_wait(monkeypatch: pytest.MonkeyPatch):
    """And not before SETTLE_S where that was known already: then the standby is behind."""
    known: Future[InForce | None] = Future()
    growth = Growth(lambda value, bare, ended: known)
    monkeypatch.setattr(short_naps, "GROWTH", growth)
    primary, began = Primary(), time.monotonic()
    primary.cluster.sync = primary._maybe_enable_synchronous_mode()
    primary.state_handler.config._server_parameters["synchronous_standby_names"] = '"gg-db1"'
    threading.Timer(0.1, known.set_result, (None,)).start()
    primary._process_multisync_replication()
    assert 0.1 <= time.monotonic() - began < short_naps.SETTLE_S
    growth.wait(0.1)
    assert time.monotonic() - began >= 0.2


def test_other_naps_and_other_threads_sleep_as_they_did(monkeypatch: pytest.MonkeyPatch):
    slept: list[float] = []
    clock = short_naps.Clock(SimpleNamespace(sleep=slept.append, time=time.time))  # pyright: ignore[reportArgumentType]

    def original(ha: object) -> None:
        clock.sleep(7)
        beside = threading.Thread(target=clock.sleep, args=(8,))
        beside.start()
        beside.join()

    clock.napping(original, lambda ha: lambda seconds: slept.append(-seconds))(None)
    clock.sleep(9)
    assert slept == [-7, 8, 9]
    assert clock.time() == pytest.approx(time.time(), abs=5)


def test_the_wrapped_functions_are_those_that_were_read(monkeypatch: pytest.MonkeyPatch):
    source = inspect.getsource(module)
    assert "import time\n" in source
    assert source.count("time.sleep(2)") == 3
    monkeypatch.setattr(Ha, "process_unhealthy_cluster", lambda self, more: None)
    with pytest.raises(ReplacedFunctionChanged):
        short_naps.install()
