"""The offer's candidate does not wait until `/failover` is empty; everybody else does, as Patroni has it."""

from __future__ import annotations

import inspect
import logging
from threading import Event, Thread
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs import AbstractDCS, Failover
from patroni.ha import Ha

from replication.mends import cleaned_beside
from replication.mends.wrapping import ReplacedFunctionChanged

OFFER = Failover(7, "dj-db1", "gg-db1", None)


class SlowDcs:
    """Stands for etcd: a write is there when it is let through. Who asks is the offer's candidate."""

    _name = "gg-db1"

    def __init__(self) -> None:
        self.cluster: Any = SimpleNamespace(failover=OFFER)
        self.let_through, self.written = Event(), list[tuple[str, Any]]()
        self.there = Event()

    manual_failover = AbstractDCS.manual_failover

    def set_failover_value(self, value: str, version: Any = None) -> bool:
        assert self.let_through.wait(20)
        self.written.append((value, version))
        self.there.set()
        return True


@pytest.fixture
def dcs(monkeypatch: pytest.MonkeyPatch) -> SlowDcs:
    monkeypatch.setattr(AbstractDCS, "manual_failover", AbstractDCS.manual_failover)
    cleaned_beside.install()
    monkeypatch.setattr(SlowDcs, "manual_failover", AbstractDCS.manual_failover)
    return SlowDcs()


def test_the_candidate_goes_on_and_the_offer_is_emptied_beside_it(dcs: SlowDcs) -> None:
    """It compares the version, so that a late write does not erase a newer offer."""
    assert dcs.manual_failover("", "") is True  # pyright: ignore[reportArgumentType]
    assert dcs.written == []
    dcs.let_through.set()
    assert dcs.there.wait(20)
    assert dcs.written == [("{}", 7)]


@pytest.mark.parametrize(
    ("me", "cluster"),
    [
        ("dj-db1", SimpleNamespace(failover=OFFER)),  # whom it names as the one that hands over
        ("dj-db2", SimpleNamespace(failover=OFFER)),
        ("gg-db1", SimpleNamespace(failover=Failover(7, "dj-db1", "", None))),
        ("gg-db1", SimpleNamespace(failover=None)),
        ("gg-db1", None),  # what was read is too old
    ],
)
def test_a_winner_that_is_not_the_candidate_waits_for_the_answer(
    dcs: SlowDcs, monkeypatch: pytest.MonkeyPatch, me: str, cluster: Any
) -> None:
    monkeypatch.setattr(dcs, "_name", me)
    dcs.cluster = cluster
    writer = Thread(target=dcs.manual_failover, args=("", ""), daemon=True)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    dcs.let_through.set()
    writer.join(20)
    assert dcs.written == [("{}", None)]


class Primary(Ha):
    """Patroni's decisions of a running primary that was missed by mistake, and all that they would ask."""

    def __init__(self, dcs: Any) -> None:
        self.dcs = dcs
        self.demoted: list[Any] = []
        self.state_handler: Any = SimpleNamespace(name="dj-db1", is_primary=lambda: True)
        self._async_executor: Any = SimpleNamespace(
            try_run_async=lambda action, func, args=(): self.demoted.append(args)
        )
        self.load_cluster_from_dcs()

    def load_cluster_from_dcs(self) -> None:
        self.cluster = self.dcs.cluster = SimpleNamespace(failover=None if self.dcs.written else OFFER)

    def is_paused(self) -> bool:
        return False

    def is_healthiest_node(self) -> bool:
        return True

    def acquire_lock(self) -> bool:
        return True

    def is_standby_cluster(self) -> bool:
        return False

    def enforce_primary_role(self, message: str, promote_message: str) -> str:
        return message

    def is_failover_possible(self, **given: Any) -> bool:
        return True

    def _get_failover_action_name(self) -> str:
        return "switchover"


def test_a_false_alarm_does_not_become_a_handover_when_etcd_is_slow(
    dcs: SlowDcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: it went on, and its next loop found the offer that was not yet emptied, and demoted itself."""
    monkeypatch.setattr(dcs, "_name", "dj-db1")
    primary = Primary(dcs)
    loop = Thread(target=primary.process_unhealthy_cluster, daemon=True)
    loop.start()
    loop.join(0.2)
    if not loop.is_alive():  # its next loop, before the write is there
        primary.load_cluster_from_dcs()
    else:
        dcs.let_through.set()
        loop.join(20)
    primary.process_manual_failover_from_leader()
    dcs.let_through.set()
    assert primary.demoted == []


@pytest.mark.parametrize(
    ("leader", "candidate", "version", "value"),
    [
        ("dj-db1", "gg-db1", None, '{"leader":"dj-db1","member":"gg-db1"}'),
        ("", "", "7", "{}"),
    ],
)
def test_everybody_else_waits_for_the_answer(
    dcs: SlowDcs, leader: str, candidate: str, version: str | None, value: str
) -> None:
    writer = Thread(target=dcs.manual_failover, args=(leader, candidate, None, version), daemon=True)
    writer.start()
    writer.join(0.2)
    assert writer.is_alive()
    dcs.let_through.set()
    writer.join(20)
    assert dcs.written == [(value, version)]


def test_an_error_is_logged_and_ends_nothing(
    dcs: SlowDcs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failed = Event()

    def fails(value: str, version: Any = None) -> bool:
        failed.set()
        raise OSError("no etcd")

    monkeypatch.setattr(dcs, "set_failover_value", fails)
    with caplog.at_level(logging.ERROR):
        dcs.manual_failover("", "")  # pyright: ignore[reportArgumentType]
        assert failed.wait(20)
        for _ in range(200):
            if caplog.records:
                break
            Event().wait(0.05)
    assert "was not emptied" in caplog.text


def test_only_the_winner_calls_it_so() -> None:
    """Read in Patroni: if another caller writes without a version, the wrapper would not wait for it."""
    source = inspect.getsource(Ha)
    assert source.count("manual_failover('', '')") == 1
    assert "manual_failover('', '')" in inspect.getsource(Ha.process_unhealthy_cluster)


def test_another_patroni_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AbstractDCS, "manual_failover", lambda self, leader: True)
    with pytest.raises(ReplacedFunctionChanged):
        cleaned_beside.install()
