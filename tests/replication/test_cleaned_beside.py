"""The winner does not wait until `/failover` is empty; everybody else does, as Patroni has it."""

from __future__ import annotations

import inspect
import logging
from threading import Event, Thread
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs import AbstractDCS
from patroni.ha import Ha

from replication import cleaned_beside
from replication.wrapping import ReplacedFunctionChanged


class SlowDcs:
    """Stands for etcd: a write is there when it is let through."""

    def __init__(self) -> None:
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


def test_the_winner_goes_on_and_the_offer_is_emptied_beside_it(dcs: SlowDcs) -> None:
    assert dcs.manual_failover("", "") is True  # pyright: ignore[reportArgumentType]
    assert dcs.written == []
    dcs.let_through.set()
    assert dcs.there.wait(20)
    assert dcs.written == [("{}", None)]


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
