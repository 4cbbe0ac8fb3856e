"""Be woken by a change in etcd, within milliseconds; and be woken all the same when nothing is heard.

A watch only says *that* something may have changed. What is there now is then read, linearizably, by
`EtcdDcs`: a watch that is late, cut off or lost costs time, never truth.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Sequence

from failover.etcd_json import b64

CONNECT_S = 0.5
QUIET_S = 20.0  # a stream that said nothing for so long is opened anew
ABROAD_S = 10.0  # a stream at another member than the watcher's own lasts so long; then its own is tried
AGAIN_S = 0.5  # between two attempts
WATCHED = 2  # members at once


def wait_for_words(
    address: str, port: int, first: str, last: str, heard: Callable[[], None], limit_s: float = float("inf")
) -> None:
    """Call `heard` at each event of the keys in [first, last), until the stream ends or the limit is over.

    Raises OSError or http.client.HTTPException when it ends otherwise. A stream that says nothing is ended
    after QUIET_S.
    """
    end = time.monotonic() + limit_s
    connection = http.client.HTTPConnection(address, port, timeout=CONNECT_S)
    try:
        connection.connect()
        assert connection.sock is not None
        connection.sock.settimeout(min(QUIET_S, limit_s))
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        body = {"create_request": {"key": b64(first), "range_end": b64(last)}}
        connection.request("POST", "/v3/watch", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        while answer.readline():
            heard()
            if time.monotonic() >= end:
                return
    finally:
        connection.close()


def order_of(home: int, members: int) -> tuple[int, ...]:
    """The members in the order in which the watcher with this number tries them: its own, then those that are
    nobody's own, then the others'. So two watchers are at the same member only when no other is left.
    """
    others = [number for number in range(members) if number != home]
    return (home, *sorted(others, key=lambda number: (number < WATCHED, number)))


class Bell:
    """Rings when one of the watched ranges of keys changes. The watching threads are daemons."""

    def __init__(self, members: Sequence[tuple[str, int]], ranges: Sequence[tuple[str, str]]) -> None:
        self._members = tuple(members)
        self._ranges = tuple(ranges)
        self._event = threading.Event()

    def start(self) -> None:
        """Each range is watched at two members at once: one of them may be the host that dies.

        A watcher that was driven to another member comes back to its own: else, after one fault, both might
        stay at the host that is lost in the next.
        """
        for first, last in self._ranges:
            for home in range(min(WATCHED, len(self._members))):
                threading.Thread(
                    target=self._watch, args=(first, last, home), name=f"watch {first}", daemon=True
                ).start()

    def ring(self) -> None:
        self._event.set()

    def wait(self, limit_s: float) -> bool:
        """Whether it rang within the limit."""
        rang = self._event.wait(limit_s)
        self._event.clear()
        return rang

    def _watch(self, first: str, last: str, home: int) -> None:
        order, turn = order_of(home, len(self._members)), 0
        while True:
            address, port = self._members[order[turn]]
            began = time.monotonic()
            with contextlib.suppress(OSError, http.client.HTTPException):
                wait_for_words(address, port, first, last, self.ring, ABROAD_S if turn else float("inf"))
            self.ring()  # the stream has ended: what was missed is read
            served = time.monotonic() - began > AGAIN_S + CONNECT_S
            turn = 0 if served else (turn + 1) % len(order)
            time.sleep(max(0.0, AGAIN_S - (time.monotonic() - began)))
