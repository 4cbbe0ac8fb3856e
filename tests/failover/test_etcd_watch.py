"""Watchers stand at different members, and come back to their own; with real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from failover import etcd_watch
from failover.etcd_watch import Bell, order_of, wait_for_words

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"8\r\n" + b'{"a":1}\n' + b"\r\n"


class Etcd:
    """An address of etcd: watches are answered while it is up, and counted."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.up = True
        self.asked = 0
        self.open: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if not self.up:
                connection.close()
                continue
            self.asked += 1
            connection.recv(4096)
            connection.sendall(HEAD + EVENT)
            self.open.append(connection)

    def say(self) -> None:
        for connection in self.open:
            connection.sendall(EVENT)

    def fail(self) -> None:
        self.up = False
        for connection in self.open:
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self.open.clear()

    def close(self) -> None:
        self.fail()
        self._listener.close()


@pytest.fixture
def members():
    made = [Etcd() for _ in range(3)]
    yield made
    for one in made:
        one.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd_watch, "AGAIN_S", 0.02)
    monkeypatch.setattr(etcd_watch, "CONNECT_S", 0.2)
    monkeypatch.setattr(etcd_watch, "ABROAD_S", 0.4)


def until(holds: Callable[[], bool], limit_s: float = 5.0) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


def at(members: list[Etcd]) -> list[int]:
    return [len(one.open) for one in members]


def bell(members: list[Etcd]) -> Bell:
    made = Bell([("127.0.0.1", one.port) for one in members], [("a", "b")])
    made.start()
    return made


def test_an_event_rings(members: list[Etcd]):
    rung = bell(members)
    until(lambda: at(members) == [1, 1, 0])
    while rung.wait(0.2):
        pass
    members[0].say()
    assert rung.wait(2.0)


def test_a_watcher_that_is_driven_away_takes_the_free_member_and_comes_back(members: list[Etcd]):
    bell(members)
    until(lambda: at(members) == [1, 1, 0])
    members[0].fail()
    until(lambda: at(members)[1:] == [1, 1])  # not both at the second
    members[0].up = True
    until(lambda: len(members[0].open) == 1)
    assert members[1].asked == 1  # whose own it is never left


def test_a_stream_abroad_ends_at_its_limit_while_events_come(members: list[Etcd]):
    stop = threading.Event()

    def chatter() -> None:
        while not stop.wait(0.05):
            members[0].say()

    threading.Thread(target=chatter, daemon=True).start()
    heard: list[float] = []
    began = time.monotonic()
    wait_for_words("127.0.0.1", members[0].port, "a", "b", lambda: heard.append(time.monotonic()), 0.3)
    stop.set()
    assert 0.3 <= time.monotonic() - began < 2.0
    assert len(heard) >= 2


@pytest.mark.parametrize(
    ("home", "members", "order"),
    [(0, 3, (0, 2, 1)), (1, 3, (1, 2, 0)), (0, 5, (0, 2, 3, 4, 1)), (0, 1, (0,)), (1, 2, (1, 0))],
)
def test_the_order(home: int, members: int, order: tuple[int, ...]):
    assert order_of(home, members) == order
