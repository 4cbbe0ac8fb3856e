"""Patroni goes back to the member of etcd that it should ask first, when that has been well for a while."""

from __future__ import annotations

import inspect
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs.etcd import AbstractEtcdClientWithFailover
from patroni.dcs.etcd3 import PatroniEtcd3Client

from replication.mends import etcd_home
from replication.mends.etcd_home import CALM, Home, goes_home
from replication.mends.wrapping import ReplacedFunctionChanged

WITNESS, NEIGHBOUR, REMOTE = "10.71.3.11:2379", "10.71.1.11:2379", "10.71.2.11:2379"
ORDER = (WITNESS, NEIGHBOUR, REMOTE)


class Enough(Exception):
    pass


class Client:
    """As much of Patroni's client as is used, and what it was told."""

    def __init__(self, base: str) -> None:
        self._base_uri = f"http://{base}"
        self.told: list[str] = []

    def set_base_uri(self, value: str) -> None:
        self._base_uri = value
        self.told.append(value)


def looks(base: str, healthy: list[set[str]]) -> tuple[Client, list[str]]:
    """After as many looks as there are sets of healthy members; and who was asked."""
    client, asked, left = Client(base), [], iter(healthy)
    now: set[str] = set()

    def is_healthy(member: str) -> bool:
        asked.append(member)
        return member in now

    def sleep(seconds: float) -> None:
        nonlocal now
        try:
            now = next(left)
        except StopIteration:
            raise Enough from None

    with pytest.raises(Enough):
        goes_home(client, Home(ORDER, is_healthy), sleep)
    return client, asked


ALL: set[str] = set(ORDER)


def test_it_goes_back_after_a_while():
    assert looks(NEIGHBOUR, [ALL] * (CALM - 1))[0].told == []
    assert looks(NEIGHBOUR, [ALL] * (CALM + 5))[0].told == [f"http://{WITNESS}"]


def test_a_member_that_comes_and_goes_is_not_gone_back_to():
    assert looks(NEIGHBOUR, [ALL, ALL, {NEIGHBOUR}] * 4)[0].told == []


def test_the_next_best_is_better_than_the_last():
    client, _ = looks(REMOTE, [{NEIGHBOUR, REMOTE}] * CALM + [ALL] * CALM)
    assert client.told == [f"http://{NEIGHBOUR}", f"http://{WITNESS}"]


def test_at_home_nobody_is_asked():
    client, asked = looks(WITNESS, [ALL] * 5)
    assert (client.told, asked) == ([], [])


def test_a_member_that_the_list_does_not_name_is_left():
    assert looks("10.71.9.9:2379", [ALL] * CALM)[0].told == [f"http://{WITNESS}"]


def test_patronis_client_has_what_is_used(monkeypatch: pytest.MonkeyPatch):
    assert "self._base_uri" in inspect.getsource(AbstractEtcdClientWithFailover)
    assert tuple(inspect.signature(PatroniEtcd3Client.set_base_uri).parameters) == ("self", "value")
    started: list[Any] = []
    monkeypatch.setattr(etcd_home.threading, "Thread", lambda **given: started.append(given) or Started())
    monkeypatch.setattr(PatroniEtcd3Client, "start_watcher", lambda self: started.append("watcher"))
    etcd_home.install(ORDER, lambda member: True)
    PatroniEtcd3Client.start_watcher(object())  # pyright: ignore[reportArgumentType]
    assert started[0] == "watcher"
    assert started[1]["name"] == "etcd-home"


class Started:
    def start(self) -> None:
        pass


def test_another_function_than_the_one_that_was_read_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(PatroniEtcd3Client, "start_watcher", lambda self, more: None)
    with pytest.raises(ReplacedFunctionChanged):
        etcd_home.install(ORDER, lambda member: True)
