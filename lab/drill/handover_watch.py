"""What etcd says of a handover while it happens, heard within milliseconds: the hold, the lock, the poolers.

A fault that is to strike in the middle of a handover cannot be timed from the command's start: before the
hold come the interpreter, the preflight and a checkpoint, and those take as long as they like.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from failover.etcd_json import Prefixes, b64, range_end, unb64
from failover.handover import HANDOVER, POOLER, decode_handover, decode_pooler
from failover.transaction import LEADER
from lab import sockets
from lab.drill.clock import Clock

CONNECT_S = 2.0
READ_S = 150.0  # a watch that hears nothing for so long ends


class Key(StrEnum):
    HOLD = "hold"
    LOCK = "lock"
    POOLER = "pooler"


@dataclass(frozen=True, slots=True)
class Word:
    """One change of a key as it was heard. `host`: the hold's candidate, the lock's holder or the pooler's.

    `id`: the hold that it is or that the pooler obeys; "" for none and for a key that is gone.
    """

    at: float
    key: Key
    gone: bool
    host: str = ""
    id: str = ""


class HandoverWatch:
    """Hears one member of etcd until it is closed. The member must outlive the drill's faults."""

    def __init__(self, namespace: str, address: tuple[str, int], cluster: str, clock: Clock) -> None:
        self._namespace = namespace
        self._address = address
        self._prefixes = Prefixes(cluster)
        self._clock = clock
        self._changed = threading.Condition()
        self._words: list[Word] = []
        self._ready: set[Key] = set()
        self._connections: list[http.client.HTTPConnection] = []
        self._closing = False
        self.trouble = ""

    def begin(self, limit_s: float) -> bool:
        """Whether every watch is set within the limit: nothing from now on is missed."""
        for key in Key:
            threading.Thread(target=self._listen, args=(key,), name=f"watch {key}", daemon=True).start()
        with self._changed:
            self._changed.wait_for(lambda: len(self._ready) == len(Key) or bool(self.trouble), limit_s)
            return len(self._ready) == len(Key) and not self.trouble

    def words(self) -> tuple[Word, ...]:
        """All that was heard, in the order of hearing."""
        with self._changed:
            return tuple(self._words)

    def wait(self, ok: Callable[[tuple[Word, ...]], bool], limit_s: float) -> bool:
        """Whether it holds within the limit for what was heard. A watch that ended ends the wait."""
        with self._changed:
            self._changed.wait_for(lambda: ok(tuple(self._words)) or bool(self.trouble), limit_s)
            return ok(tuple(self._words))

    def wake(self) -> None:
        """Makes `wait` look again: something else than a word has changed."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Ends the watches."""
        self._closing = True
        for connection in self._connections:
            if connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(2)

    def _listen(self, key: Key) -> None:
        try:
            for document in self._lines(key):
                self._take(key, document)
            trouble = "the stream ended"
        except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
            trouble = f"{type(error).__name__}: {error}"
        if not self._closing:
            with self._changed:
                self.trouble = self.trouble or f"watch of the {key}: {trouble}"
                self._changed.notify_all()

    def _lines(self, key: Key) -> Iterator[dict[str, Any]]:
        address, port = self._address
        connection = http.client.HTTPConnection(address, port, timeout=CONNECT_S)
        self._connections.append(connection)
        try:
            connection.sock = sockets.connect(self._namespace, address, port, timeout_s=CONNECT_S)
            connection.sock.settimeout(READ_S)
            body = json.dumps({"create_request": _range(key, self._prefixes)})
            connection.request("POST", "/v3/watch", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            while line := answer.readline():
                yield json.loads(line)["result"]
        finally:
            connection.close()

    def _take(self, key: Key, result: dict[str, Any]) -> None:
        at = self._clock.now()
        with self._changed:
            if result.get("created"):
                self._ready.add(key)
            self._words += [word_of(at, key, event) for event in result.get("events", ())]
            self._changed.notify_all()


def _range(key: Key, prefixes: Prefixes) -> dict[str, str]:
    first = prefixes.real({Key.HOLD: HANDOVER, Key.LOCK: LEADER, Key.POOLER: POOLER}[key])
    last = range_end(first) if key is Key.POOLER else first + "\0"
    return {"key": b64(first), "range_end": b64(last)}


def word_of(at: float, key: Key, event: dict[str, Any]) -> Word:
    """One event of etcd's watch. Raises ValueError, KeyError or TypeError for what nobody of us wrote."""
    row = event["kv"]
    if event.get("type") == "DELETE":
        host = unb64(row["key"]).rpartition("/")[2] if key is Key.POOLER else ""
        return Word(at, key, True, host)
    text = unb64(row["value"])
    if key is Key.LOCK:
        return Word(at, key, False, text)
    if key is Key.HOLD:
        hold = decode_handover(text)
        return Word(at, key, False, hold.candidate, hold.id)
    pooler = decode_pooler(text)
    return Word(at, key, False, pooler.host, pooler.handover)
