"""A process that ends by itself needs no grace; one that stays is left to Patroni's own way."""

from __future__ import annotations

import inspect
import time
from types import SimpleNamespace
from typing import Any

import pytest
from patroni.dcs import Failover
from patroni.postgresql import Postgresql
from patroni.postgresql.rewind import Rewind

from patroni.ha import Ha  # isort: skip  # Patroni's modules import each other in a circle

from replication.mends import quick_handover
from replication.mends.quick_handover import (
    GRACE_S,
    ends,
    latest_checkpoint_locations,
    wait_for_connection_close,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def played(ends_at_s: float | None) -> tuple[bool, float]:
    clock = Clock()
    ended = ends(lambda: ends_at_s is None or clock.now < ends_at_s, clock.sleep, clock)
    return ended, clock.now


def test_a_process_that_ends_is_not_waited_for_any_longer():
    ended, took_s = played(0.04)
    assert ended
    assert took_s < 0.06


def test_a_process_that_stays_is_left_to_patroni():
    ended, took_s = played(None)
    assert not ended
    assert GRACE_S <= took_s < 2 * GRACE_S


def test_transactions_under_way_are_waited_for_and_not_for_ever():
    clock = Clock()
    quick_handover.quiet(lambda: clock.now < 0.05, clock.sleep, clock)
    assert 0.05 <= clock.now < 0.07
    quick_handover.quiet(lambda: True, clock.sleep, clock)
    assert clock.now < 0.07 + 2 * quick_handover.QUIET_S


def test_a_question_that_fails_does_not_keep_the_server_from_stopping(caplog: pytest.LogCaptureFixture):
    def gone() -> bool:
        raise OSError("no connection")

    clock = Clock()
    quick_handover.quiet(gone, clock.sleep, clock)
    assert clock.now == 0.0
    assert "not waited for" in caplog.text


class Server:
    """What `_do_stop` uses, and what it was told."""

    def __init__(self, *, just_written: bool = False) -> None:
        self.told: list[Any] = []
        self.just_written = just_written

    def is_running(self) -> bool:
        return True

    def is_starting(self) -> bool:
        return False

    def checkpoint(self, timeout: int | None) -> None:
        self.told.append("checkpoint")

    def query(self, sql: str, *, retry: bool) -> list[tuple[int]]:
        if sql == quick_handover.JUST_WRITTEN:
            return [(self.just_written,)]
        self.told.append("asked")
        return [(0,)]


@pytest.mark.parametrize("planned", [True, False])
def test_only_a_planned_handover_waits(planned: bool):
    def original(self: Server, mode: str, block: bool, checkpoint: bool, *callbacks: Any) -> str:
        self.told.append(("stop", mode, checkpoint))
        return "stopped"

    server, callback = Server(), (lambda *_: None) if planned else None
    stop = quick_handover.do_stop(original, lambda: server.told.append("held"))
    assert stop(server, "fast", False, True, None, callback, callback, 30) == "stopped"
    expected = (
        ["checkpoint", "held", "asked", ("stop", "fast", False)] if planned else [("stop", "fast", True)]
    )
    assert server.told == expected


def test_a_checkpoint_that_was_just_made_is_not_made_again():
    server, callback = Server(just_written=True), lambda *_: None
    stop = quick_handover.do_stop(lambda self, *told: self.told.append("stop"), lambda: None)
    stop(server, "fast", False, True, None, callback, callback, 30)
    assert server.told == ["asked", "stop"]


class Stopping:
    """A Postgresql of Patroni as far as the replaced functions see it."""

    def __init__(self, *, stays: bool) -> None:
        self.stays = stays

    def is_running(self) -> bool:
        return self.stays


@pytest.mark.parametrize("stays", [False, True])
def test_positions_are_left_out_once_after_a_clean_stop(stays: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quick_handover, "GRACE_S", 0.02)
    waited: list[Any] = []
    server = Stopping(stays=stays)
    wait_for_connection_close(lambda self, postmaster: waited.append(postmaster))(server, server)
    assert waited == [server]  # Patroni's own wait comes first
    read = latest_checkpoint_locations(lambda self, data: (7, 5))
    assert read(server, {"of": "pg_controldata"}) == (7, 5)
    assert read(server) == ((7, 5) if stays else (None, None))
    assert read(server) == (7, 5)  # the next question is another one


class Rewinding:
    """A Rewind of Patroni whose server answers with these settings, or not at all."""

    def __init__(self, answer: tuple[str, str] | None) -> None:
        self._postgresql = self
        self._answer = answer

    def query(self, sql: str, *, retry: bool) -> list[tuple[str, str]]:
        assert (sql, retry) == (quick_handover.ARCHIVING, False)
        if self._answer is None:
            raise OSError("not running")
        return [self._answer]


@pytest.mark.parametrize(
    ("answer", "command"),
    [
        (("on", "push %p"), "push %p"),
        (("always", "push %p"), "push %p"),
        (("off", "push %p"), None),
        (("on", ""), None),
        (None, "from the file"),
    ],
)
def test_archiving_is_asked_of_the_running_server(answer: tuple[str, str] | None, command: str | None):
    read = quick_handover.get_archive_command(lambda self: "from the file")
    assert read(Rewinding(answer)) == command


@pytest.mark.parametrize(
    ("offer", "written"),
    [
        (None, True),
        ({}, True),
        ({"leader": "dj-db1", "member": "gg-db1"}, False),
        ({"leader": "gg-db1", "member": "dj-db1"}, True),
        ({"leader": "dj-db1", "member": "gg-db1", "scheduled_at": "2099-01-14T10:09:57Z"}, True),
    ],
)
def test_the_position_is_left_out_with_an_offer_to_look_at(offer: dict[str, str] | None, written: bool):
    asked: list[bool] = []

    def original(self: Any, update_status: bool) -> bool:
        asked.append(update_status)
        return True

    failover = None if offer is None else Failover.from_node(9, offer)
    ha = SimpleNamespace(
        cluster=SimpleNamespace(failover=failover), state_handler=SimpleNamespace(name="dj-db1")
    )
    renew = quick_handover.update_lock(original)
    assert renew(ha, True)
    assert renew(ha)
    assert asked == [written, False]


@pytest.mark.parametrize(
    ("offer", "moment", "age_s", "told"),
    [
        ({"leader": "dj-db1", "member": "gg-db1"}, "", 1.0, False),
        ({"leader": "dj-db1", "member": "gg-db1"}, "", quick_handover.TOLD_S + 1.0, True),  # the lease!
        ({"leader": "dj-db1", "member": "gg-db1"}, "", None, True),
        ({}, "", 1.0, True),
        ({}, "release", 1.0, False),
        ({}, "promote", 1.0, False),
        ({}, "promote", quick_handover.TOLD_S + 1.0, True),
        ({}, "reinitialize", 1.0, True),
        (
            {"leader": "dj-db1", "member": "gg-db1", "scheduled_at": "2099-01-14T10:09:57Z"},
            "",
            1.0,
            True,
        ),
    ],
)
def test_members_tell_less_of_themselves_while_an_offer_stands(
    offer: dict[str, str], moment: str, age_s: float | None, told: bool
):
    asked: list[str] = []
    ha: Any = SimpleNamespace(
        cluster=SimpleNamespace(failover=Failover.from_node(9, offer)),
        _async_executor=SimpleNamespace(scheduled_action=moment or None),
    )
    setattr(ha, quick_handover.RELEASING, moment == "release")
    if age_s is not None:
        setattr(ha, quick_handover.TOLD, time.monotonic() - age_s)
    assert quick_handover.touch_member(lambda ha: not asked.append("told"))(ha)
    assert asked == (["told"] if told else [])


def test_a_word_that_was_not_taken_is_said_again():
    said: list[bool] = []
    offer = Failover.from_node(9, {"leader": "dj-db1", "member": "gg-db1"})
    executor = SimpleNamespace(scheduled_action=None)
    ha: Any = SimpleNamespace(cluster=SimpleNamespace(failover=offer), _async_executor=executor)
    touch = quick_handover.touch_member(lambda ha: bool(said.append(False)))
    assert not touch(ha)
    assert not touch(ha)
    assert len(said) == 2


@pytest.mark.parametrize("offered", [True, False])
def test_nothing_is_told_beside_the_release_of_an_offered_lock(offered: bool):
    """Patroni's own function tells of the member right behind the release."""
    releasing: list[bool] = []
    ha: Any = SimpleNamespace(
        cluster=SimpleNamespace(
            failover=Failover.from_node(9, {"leader": "dj-db1", "member": "gg-db1"} if offered else {})
        ),
        state_handler=SimpleNamespace(name="dj-db1"),
    )

    def original(self: Any, last_lsn: int | None) -> None:
        releasing.append(getattr(self, quick_handover.RELEASING))

    quick_handover.release(original)(ha)
    assert (releasing, getattr(ha, quick_handover.RELEASING)) == ([offered], False)


@pytest.mark.parametrize(
    ("owner", "functions"),
    [(Postgresql, quick_handover.POSTGRESQL), (Rewind, quick_handover.REWIND), (Ha, quick_handover.HA)],
)
def test_the_replaced_functions_are_those_that_were_read(owner: type, functions: dict[str, Any]):
    for name, (_, signature) in functions.items():
        assert tuple(inspect.signature(getattr(owner, name)).parameters) == signature
