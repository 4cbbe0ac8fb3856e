"""A primary that was offered away shows a commit before it takes its lock back."""

from __future__ import annotations

import socket
import time
from types import SimpleNamespace

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs import Failover
from patroni.ha import Ha

from replication.mends import shown_commit
from replication.mends.shown_commit import commits, is_offered_away, replacement


def host(offer: tuple[str, str] | None, *, primary: bool = True, paused: bool = False):
    failover = Failover(1, *offer, None) if offer else None
    return SimpleNamespace(
        cluster=SimpleNamespace(failover=failover),
        state_handler=SimpleNamespace(name="dj-db1", is_primary=lambda: primary),
        is_paused=lambda: paused,
    )


AWAY = ("dj-db1", "gg-db1")


def takes_back(ha, can_commit: bool) -> bool:
    return replacement(lambda self: True, lambda: can_commit)(ha)


def test_a_hung_primary_leaves_its_lock_and_a_healthy_one_takes_it_back():
    assert not takes_back(host(AWAY), can_commit=False)
    assert takes_back(host(AWAY), can_commit=True)


@pytest.mark.parametrize(
    "ha",
    [
        host(None),  # nobody was offered anything: Patroni's own race
        host(("dj-db2", "gg-db1")),  # an offer of another primary
        host(("dj-db1", "dj-db1")),  # offered to itself
        host(("dj-db1", "")),  # to nobody by name
        host(AWAY, primary=False),
        host(AWAY, paused=True),  # a person decides
    ],
)
def test_otherwise_nothing_is_asked(ha):
    assert not is_offered_away(ha)
    assert takes_back(ha, can_commit=False)


def test_a_server_that_is_silent_is_given_up_in_time(tmp_path):
    """A socket that accepts and says nothing, as a frozen postmaster's does."""
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(tmp_path / ".s.PGSQL.5432"))
        frozen.listen()
        began = time.monotonic()
        assert not commits(f"host={tmp_path} user=postgres dbname=postgres", limit_s=0.3)
        assert 0.25 < time.monotonic() - began < 3


def test_no_server_at_all_cannot_commit(tmp_path):
    assert not commits(f"host={tmp_path} user=postgres dbname=postgres", limit_s=0.3)


def test_it_goes_into_patronis_own_function_once_and_out_again(monkeypatch):
    original = Ha.is_healthiest_node
    monkeypatch.setattr(Ha, "is_healthiest_node", original)  # put back afterwards
    shown_commit.install()
    assert Ha.is_healthiest_node is not original
