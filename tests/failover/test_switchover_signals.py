"""Ctrl-C, SIGTERM and SIGHUP while a switchover is carried out."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from failover import switchover_cli
from failover.handover import Handover
from failover.policy import MoveKind
from failover.preflight import Preflight
from failover.switchover import Standing
from failover.switchover_cli import SIGNALS, ended_by_signals
from hanbat.errors import Exit

READY = Preflight("dj-db1", "gg-db1", MoveKind.CROSS_SITE, False, ())


@dataclass
class Means:
    """A signal comes once something was offered; the old primary goes on.

    It is raised here and now: the kernel may give one that is sent to the process to any thread that it has.
    """

    number: int
    done: list[str] = field(default_factory=list[str])

    def announce(self, id: str, candidate: str) -> str:
        return ""

    def gate_in_force(self, id: str, candidate: str) -> bool:
        return True

    def gate_open(self, candidate: str) -> bool:
        return False

    def checkpoint(self, host: str) -> str:
        return ""

    def busy(self, host: str) -> str:
        return ""

    def begin(self, handover: Handover) -> str:
        signal.raise_signal(self.number)
        signal.raise_signal(self.number)  # an impatient person
        return ""

    def withdraw(self, holder: str | None = None) -> None:
        signal.raise_signal(self.number)
        self.done.append("withdraw")

    def release(self) -> None:
        self.done.append("release")

    def close(self) -> None:
        self.done.append("close")

    def wait(self, seconds: float) -> None:
        """Nothing changes."""

    def standing(self) -> Standing | None:
        return Standing("dj-db1", False, {})

    def writable(self, host: str) -> bool:
        return True


@pytest.fixture
def heeded() -> Iterator[None]:
    """The signals are not ignored, also when the tests run under nohup or in a script's background."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_takes_it_back_and_the_end_is_told(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    means = Means(number)
    monkeypatch.setattr(switchover_cli, "RealMeans", lambda config, looker: means)
    monkeypatch.setattr(switchover_cli, "Looker", lambda config: None)
    monkeypatch.setattr(switchover_cli, "judge", lambda *words: READY)
    monkeypatch.setattr("failover.switchover.STAYS_S", 0.0)
    before = [signal.getsignal(one) for one in SIGNALS]
    status = switchover_cli._switch(cast(Any, None), "gyeonggi", True, False, ())
    assert status is Exit.FAILED
    assert means.done[:2] == ["withdraw", "release"]
    assert "close" in means.done
    name = signal.Signals(number).name
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("unchanged: the primary is dj-db1; new transactions waited for at most ")
    assert told[1] == f"interrupted by {name}"
    assert [signal.getsignal(one) for one in SIGNALS] == before


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("as_json", [False, True])
def test_a_terminal_that_is_gone_does_not_change_the_end(
    as_json: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: the first word after the signal ended the command, and the offer stood without a hold."""
    means = Means(signal.SIGHUP)
    monkeypatch.setattr(switchover_cli, "RealMeans", lambda config, looker: means)
    monkeypatch.setattr(switchover_cli, "Looker", lambda config: None)
    monkeypatch.setattr(switchover_cli, "judge", lambda *words: READY)
    monkeypatch.setattr("failover.switchover.STAYS_S", 0.0)
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        monkeypatch.setattr(sys, "stderr", gone)
        status = switchover_cli._switch(cast(Any, None), "gyeonggi", True, as_json, ())
    assert status is Exit.FAILED
    assert means.done[:2] == ["withdraw", "release"]


def test_a_signal_that_was_ignored_stays_so() -> None:
    """As under nohup: the terminal that is gone does not end it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
