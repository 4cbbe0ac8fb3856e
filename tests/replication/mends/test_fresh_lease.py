"""Who takes the lock asks etcd for one thing; in Patroni's own functions."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs.etcd3 import Etcd3

from replication.mends import fresh_lease
from replication.mends.wrapping import ReplacedFunctionChanged

TTL_S = 20


class Dcs(Etcd3):
    """Patroni's own renewal and its own attempt; etcd's answers stand here."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._lease, self._last_lease_refresh = "1", 0.0
        self._abstract_client: Any = SimpleNamespace(lease_keepalive=self._kept, lease_grant=self._granted)
        self._retry: Any = SimpleNamespace(copy=lambda: SimpleNamespace(ensure_deadline=lambda *words: None))

    ttl = property(lambda self: TTL_S)  # pyright: ignore[reportAssignmentType,reportIncompatibleMethodOverride]
    _ttl = TTL_S
    _loop_wait = 1

    def _kept(self, lease: str, retry: Any = None) -> str:
        self.asked.append("renewed")
        return lease

    def _granted(self, ttl: int, retry: Any = None) -> str:
        self.asked.append("granted")
        return "2"

    def _run_and_handle_exceptions(self, method: Any, *words: Any, **named: Any) -> Any:
        return method(*words, **({} if named.get("retry") is None else named))

    def _do_attempt_to_acquire_leader(self, retry: Any) -> bool:
        self.asked.append("lock")
        return True


@pytest.fixture
def dcs(monkeypatch: pytest.MonkeyPatch) -> Dcs:
    for name in ("_do_refresh_lease", "attempt_to_acquire_leader"):
        monkeypatch.setattr(Etcd3, name, getattr(Etcd3, name))
    fresh_lease.install()
    return Dcs()


def waits(dcs: Dcs) -> None:
    """What `watch` does between two loops."""
    dcs._last_lease_refresh = 0.0


def test_a_lease_that_was_just_renewed_is_not_renewed_for_the_lock(dcs: Dcs) -> None:
    dcs._do_refresh_lease()
    waits(dcs)
    assert dcs.attempt_to_acquire_leader()
    assert dcs.asked == ["renewed", "lock"]


def test_a_lease_of_unknown_age_is_renewed_as_before(dcs: Dcs) -> None:
    assert dcs.attempt_to_acquire_leader()
    assert dcs.asked == ["renewed", "lock"]


@pytest.mark.parametrize(("age_s", "renewals"), [(TTL_S / 4 - 1, 1), (TTL_S / 4 + 1, 2)])
def test_an_old_lease_is_renewed(
    dcs: Dcs, monkeypatch: pytest.MonkeyPatch, age_s: float, renewals: int
) -> None:
    dcs._do_refresh_lease()
    waits(dcs)
    lease, renewed_s = getattr(dcs, fresh_lease.RENEWED)
    setattr(dcs, fresh_lease.RENEWED, (lease, renewed_s - age_s))
    assert dcs.attempt_to_acquire_leader()
    assert dcs.asked.count("renewed") == renewals


def test_another_lease_is_not_the_one_that_was_renewed(dcs: Dcs) -> None:
    dcs._do_refresh_lease()
    waits(dcs)
    dcs._lease = "3"
    assert dcs.attempt_to_acquire_leader()
    assert dcs.asked == ["renewed", "renewed", "lock"]


def test_a_renewal_that_asked_nothing_leaves_no_mark(dcs: Dcs) -> None:
    dcs._last_lease_refresh = time.time()
    assert not dcs._do_refresh_lease()
    assert not hasattr(dcs, fresh_lease.RENEWED)


def test_another_function_than_the_one_that_was_read_is_refused(
    dcs: Dcs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Etcd3, "_do_refresh_lease", lambda self, more: True)
    with pytest.raises(ReplacedFunctionChanged):
        fresh_lease.install()
