"""A process that ends by itself needs no grace; one that stays is left to Patroni's own way."""

from __future__ import annotations

from patroni.postgresql import Postgresql

from replication import quick_handover
from replication.quick_handover import GRACE_S, patient


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def played(ends_at_s: float | None) -> tuple[list[tuple[int, int]], float]:
    clock, called = Clock(), list[tuple[int, int]]()

    def running() -> bool:
        return ends_at_s is None or clock.now < ends_at_s

    patient(lambda lsn, prev: called.append((lsn, prev)), running, clock.sleep, clock)(7, 5)
    return called, clock.now


def test_a_process_that_ends_is_not_waited_for_any_longer():
    called, took_s = played(0.04)
    assert called == []
    assert took_s < 0.06


def test_a_process_that_stays_gets_patronis_own_callback():
    called, took_s = played(None)
    assert called == [(7, 5)]
    assert took_s >= GRACE_S


def test_the_replaced_function_is_the_one_that_was_read():
    import inspect

    found = tuple(inspect.signature(Postgresql._do_stop).parameters)
    assert found == quick_handover.SIGNATURE
