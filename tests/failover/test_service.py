"""When a primary that is away is known to hand over, and when a turn follows at once."""

from __future__ import annotations

import socket
import tempfile
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from failover import service_manager
from failover.assembly import Assembly
from failover.executor import Answer, Executor
from failover.policy import Policy
from failover.service import Controller, hands_over, run
from failover.table import Action
from failover.view import NotSeen, Phase, SyncSet, View

from .views import DCS, HOSTS, in_phase, view

OFFERED = replace(DCS, failover_revision=7)


@pytest.mark.parametrize(
    ("dcs", "age_ms", "planned"),
    [
        (OFFERED, 200, True),
        (OFFERED, 3000, False),  # it has come to nothing: the guard `no_failover_key` lets a takeover begin
        (DCS, 200, False),
        (NotSeen("no majority"), 200, False),
    ],
)
def test_an_offer_of_somebody_else_that_is_not_old(dcs: Any, age_ms: int, planned: bool) -> None:
    assert hands_over(view(dcs=dcs, offer_age_ms=age_ms)) is planned


def test_our_own_takeover_is_none() -> None:
    """Its transaction writes an offer, too; the primary that it is about has not answered."""
    assert hands_over(in_phase(Phase.TRANSACTED, None, failover=9, offer_age_ms=100)) is False


class Willing:
    """A DCS and effects that do as they are asked."""

    def commit(self, transaction: Any) -> Answer:
        return Answer.OK

    def revoke(self, lease: int) -> Answer:
        return Answer.OK

    def tell(self, text: str, *, urgent: bool) -> None:
        return


def test_each_turn_tells_the_service_manager_that_it_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a controller that hung was left alone; half of a site's controllers decide nothing."""
    turns = iter((False, False, True))
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{folder}/notify")
        controller: Any = SimpleNamespace(turn=lambda: True, busy=False)
        sight: Any = SimpleNamespace(wait_for_news=lambda limit_s: None, missed=tuple)
        run(controller, sight, lambda: next(turns))
        told = [manager.recv(99).decode() for _ in range(2)]
    assert told == ["WATCHDOG=1", "WATCHDOG=1"]


def test_a_service_manager_that_hangs_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: the word waits for room in its queue."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{folder}/notify")
        for _ in range(2000):
            service_manager.alive()
        assert manager.recv(99) == b"WATCHDOG=1"
    service_manager.alive()  # it is gone


UNPROVED = replace(DCS, sync=SyncSet("dj-db1", frozenset({"dj-db2"}), 21, "{}"))


@pytest.mark.parametrize(
    ("seen", "action", "at_once"), [(view(), Action.INTEND, True), (view(dcs=UNPROVED), Action.REFUSE, False)]
)
def test_who_has_only_told_something_does_not_ask_etcd_again_at_once(
    seen: View, action: Action, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted: while people were told, etcd was read without a pause (5 ms)."""
    willing: Any = Willing()
    controller = Controller(
        Assembly("sejong", Policy(), HOSTS), willing, Executor(willing, willing, lambda: 0), lambda: 0
    )
    monkeypatch.setattr(controller, "read", lambda: seen)
    assert controller.turn() is at_once
    assert controller._row == {Action.INTEND: 250, Action.REFUSE: 180}[action]
