"""When a primary that is away is known to hand over, and when a turn follows at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from failover.assembly import Assembly
from failover.executor import Answer, Executor
from failover.policy import Policy
from failover.service import Controller, hands_over
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
