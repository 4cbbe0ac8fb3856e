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
QUIET_S = 20.0  # a stream that said nothing for so long is opened anew, at another member
AGAIN_S = 0.5  # between two attempts
WATCHED = 2  # members at once


def wait_for_words(address: str, port: int, first: str, last: str, heard: Callable[[], None]) -> None:
    """Call `heard` at each event of the keys in [first, last), until the stream ends.

    Raises OSError or http.client.HTTPException when it ends. Not bounded while events come; a stream
    that says nothing is ended after QUIET_S.
    """
    connection = http.client.HTTPConnection(address, port, timeout=CONNECT_S)
    try:
        connection.connect()
        assert connection.sock is not None
        connection.sock.settimeout(QUIET_S)
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        body = {"create_request": {"key": b64(first), "range_end": b64(last)}}
        connection.request("POST", "/v3/watch", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        while answer.readline():
            heard()
    finally:
        connection.close()


class Bell:
    """Rings when one of the watched ranges of keys changes. The watching threads are daemons."""

    def __init__(self, members: Sequence[tuple[str, int]], ranges: Sequence[tuple[str, str]]) -> None:
        self._members = tuple(members)
        self._ranges = tuple(ranges)
        self._event = threading.Event()

    def start(self) -> None:
        """Each range is watched at two members at once: one of them may be the host that dies."""
        for first, last in self._ranges:
            for turn in range(min(WATCHED, len(self._members))):
                threading.Thread(
                    target=self._watch, args=(first, last, turn), name=f"watch {first}", daemon=True
                ).start()

    def ring(self) -> None:
        self._event.set()

    def wait(self, limit_s: float) -> bool:
        """Whether it rang within the limit."""
        rang = self._event.wait(limit_s)
        self._event.clear()
        return rang

    def _watch(self, first: str, last: str, turn: int) -> None:
        while True:
            address, port = self._members[turn % len(self._members)]
            began = time.monotonic()
            with contextlib.suppress(OSError, http.client.HTTPException):
                wait_for_words(address, port, first, last, self.ring)
            self.ring()  # the stream has ended: what was missed is read, the next member is asked
            turn += 1
            time.sleep(max(0.0, AGAIN_S - (time.monotonic() - began)))
