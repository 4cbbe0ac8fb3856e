"""The DCS over etcd's HTTP gateway: bounded, members in order, nothing sent twice that may have acted.

A member that gave no answer is not asked first again for a while. A read goes on to the next member. A
transaction does so only while it is certain that nothing was sent: the connection was not made.
One client is for one thread; a process makes one for each.
"""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from failover.etcd_json import (
    Entry,
    EtcdAnswerWrong,
    Prefixes,
    entries,
    revision,
    snapshot_body,
    succeeded,
    transaction_body,
)
from failover.executor import Answer
from failover.transaction import Transaction

CONNECT_S = 0.25
ANSWER_S = 0.6
GRPC_NOT_FOUND = 5
AVOID_S = 5.0  # a member that did not answer is asked last for so long


class NotAnswered(Exception):
    """No member answered in time. `sent`: a request may have arrived all the same."""

    def __init__(self, fact: str, *, sent: bool) -> None:
        super().__init__(fact)
        self.sent = sent


class _Unsent(Exception):
    """The connection could not be made."""


class LeaseGone(Exception):
    """The lease has run out, or was revoked."""


@dataclass(slots=True)
class Member:
    """One etcd member and the connection to it, kept open."""

    address: str
    port: int
    connection: http.client.HTTPConnection | None = None
    avoided_until: float = 0.0

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def post(self, path: str, body: bytes, answer_s: float) -> dict[str, Any]:
        """Raises LeaseGone, _Unsent, OSError, http.client.HTTPException or ValueError."""
        connection = self.connection
        if connection is None or connection.sock is None:  # the last answer said `Connection: close`
            connection = self._connect()
        assert connection.sock is not None
        connection.sock.settimeout(answer_s)
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        document: Any = json.loads(answer.read())
        if not isinstance(document, dict):
            raise ValueError("no JSON object")
        found = cast(dict[str, Any], document)
        if answer.status != 200:
            if found.get("code") == GRPC_NOT_FOUND:
                raise LeaseGone(str(found.get("error")))
            raise ValueError(f"{answer.status} {str(found)[:200]}")
        return found

    def _connect(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.address, self.port, timeout=CONNECT_S)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise _Unsent(str(error)) from error
        assert connection.sock is not None
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        return connection


@dataclass
class EtcdDcs:
    """`failover.executor.Dcs`, and what observers and readers need besides."""

    members: Sequence[Member]
    prefixes: Prefixes
    clock_s: Callable[[], float] = field(default=time.monotonic)

    def close(self) -> None:
        """Close all connections; the next request opens what it needs."""
        for member in self.members:
            member.close()

    def snapshot(self) -> dict[str, Entry]:
        """All keys of the cluster and ours at one revision. Raises NotAnswered or EtcdAnswerWrong."""
        return entries(self._read("/v3/kv/txn", snapshot_body(self.prefixes)), self.prefixes)

    def commit(self, transaction: Transaction) -> Answer:
        """Sent at most once."""
        try:
            done = succeeded(self._send("/v3/kv/txn", transaction_body(transaction, self.prefixes)))
        except LeaseGone:
            return Answer.REFUSED
        except NotAnswered as error:
            return Answer.UNKNOWN if error.sent else Answer.REFUSED
        except EtcdAnswerWrong:
            return Answer.UNKNOWN
        return Answer.OK if done else Answer.REFUSED

    def write(self, transaction: Transaction) -> int | None:
        """As `commit`: the revision that it made, None when a comparison did not hold.

        Raises LeaseGone, NotAnswered or EtcdAnswerWrong.
        """
        answer = self._send("/v3/kv/txn", transaction_body(transaction, self.prefixes))
        return revision(answer) if succeeded(answer) else None

    def revoke(self, lease: int) -> Answer:
        """OK also when the lease is gone already."""
        try:
            self._send("/v3/lease/revoke", {"ID": str(lease)})
        except LeaseGone:
            return Answer.OK
        except NotAnswered:
            return Answer.UNKNOWN
        return Answer.OK

    def grant(self, ttl_s: int) -> int:
        """A new lease. Raises NotAnswered or EtcdAnswerWrong."""
        answer = self._send("/v3/lease/grant", {"TTL": str(ttl_s)})
        try:
            return int(answer["ID"])
        except (KeyError, ValueError) as error:
            raise EtcdAnswerWrong("no lease in the answer") from error

    def keep_alive(self, lease: int) -> None:
        """Raises LeaseGone, NotAnswered or EtcdAnswerWrong."""
        answer = self._read("/v3/lease/keepalive", {"ID": str(lease)})
        result = answer.get("result")
        if not isinstance(result, dict):
            raise EtcdAnswerWrong("no result of a keepalive")
        if int(cast(dict[str, Any], result).get("TTL", 0)) <= 0:
            raise LeaseGone(f"lease {lease}")

    def time_left_ms(self, lease: int) -> int | None:
        """Until a lease runs out, to the second; 0 when it has. None: nobody answered."""
        try:
            return max(0, int(self._read("/v3/lease/timetolive", {"ID": str(lease)}).get("TTL", 0))) * 1000
        except LeaseGone:
            return 0
        except (NotAnswered, ValueError, TypeError):
            return None

    def _ordered(self) -> list[Member]:
        now = self.clock_s()
        return sorted(self.members, key=lambda member: member.avoided_until > now)

    def _read(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._ask(path, body, again=True)

    def _send(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._ask(path, body, again=False)

    def _ask(self, path: str, body: dict[str, Any], *, again: bool) -> dict[str, Any]:
        """Members in order. `again`: also go on after a request that was sent and not answered."""
        text, troubles = json.dumps(body).encode(), list[str]()
        for member in self._ordered():
            try:
                return member.post(path, text, ANSWER_S)
            except _Unsent as error:
                self._avoid(member, troubles, error)
            except (OSError, http.client.HTTPException, ValueError) as error:
                self._avoid(member, troubles, error)
                if not again:
                    raise NotAnswered("; ".join(troubles), sent=True) from error
            except KeyboardInterrupt:
                member.close()  # its answer is still on the way: the next request needs another connection
                raise
        raise NotAnswered("; ".join(troubles), sent=again)

    def _avoid(self, member: Member, troubles: list[str], error: Exception) -> None:
        member.close()
        member.avoided_until = self.clock_s() + AVOID_S
        troubles.append(f"{member.address}: {error or type(error).__name__}")
