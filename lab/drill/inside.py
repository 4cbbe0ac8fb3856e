"""Clients inside a site: `python -m lab.drill.inside PLAN`, run in the namespace of one of its app hosts.

Some write straight to the local PostgreSQL and acknowledge a COMMIT only when it came back without a
notice. Some of them cancel their COMMIT when it does not come back soon: PostgreSQL then commits locally
and answers success with a warning (design section 5), which is *unknown*, never acknowledged. Others write
through the site's own edge. All of it is journalled as the load's requests are, so the audit judges it.
It ends when standard input closes, or when its time is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import select
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extensions import connection as Connection

from lab.drill.clock import Clock
from lab.drill.exchange import exchange
from lab.drill.journal import Journal
from lab.drill.operations import Outcome, classify, error_code

ROLLED_BACK = frozenset({"25006", "57P03", "57P01", "40001", "40P01"})
CONNECT_S = 2
SILENT_MS = 3000  # a host without power says nothing: what was sent to it is given up, and it is asked anew
PAUSE_S = 0.2
# The same two rows that the application writes for a canary, and where and on which timeline.
WRITE = """
with told as (
  insert into procurement.canary (stream, sequence, request_key) values (%(stream)s, %(sequence)s, %(key)s)
  returning written_at
)
insert into procurement.idempotency
  (party_id, request_key, method, path, request_hash, status, response)
select (select min(id) from procurement.party), %(key)s, 'POST', '/inside', %(hash)s, 201,
       jsonb_build_object('stream', %(stream)s::text, 'sequence', %(sequence)s::bigint,
                          'written_at', written_at)
from told
returning response, substring(pg_walfile_name(pg_current_wal_insert_lsn()) for 8)
"""


@dataclass(frozen=True, slots=True)
class InsidePlan:
    """Whom to write to, how, and for how long."""

    run: str
    wall: float
    monotonic: float
    site: str
    host: str  # the database host
    dsn: str
    edge: str  # URL of the site's own edge
    operator_key: str
    journal: str
    clients: int  # straight to PostgreSQL
    edge_clients: int
    cancelling: int  # so many of the former cancel
    period_s: float
    cancel_after_s: float = 0.6
    give_up_s: float = 8.0  # a COMMIT that takes longer is given up by closing the connection
    request_s: float = 2.0
    max_s: float = 240.0

    @classmethod
    def read(cls, path: Path) -> InsidePlan:
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """The file holds a password: mode 0600."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")


def stream_of(run: str, site: str, number: int) -> str:
    """Name of one client's stream."""
    return f"{run}:inside-{site}-{number}"


def outcome_of(error: psycopg2.Error | None, notices: list[str], commit_sent: bool) -> Outcome:
    """What the client knows. A notice with the answer of COMMIT makes it unknown, whatever it says."""
    if error is None:
        return Outcome.UNKNOWN if notices else Outcome.ACKNOWLEDGED
    if not commit_sent or error.pgcode in ROLLED_BACK:
        return Outcome.REFUSED
    return Outcome.UNKNOWN


class Client(ABC):
    """One client: a write at a time, each on the journal before and after."""

    def __init__(self, plan: InsidePlan, number: int, journal: Journal, numbers: Numbers) -> None:
        self.plan = plan
        self.number = number
        self._clock = Clock(plan.wall, plan.monotonic)
        self._journal = journal
        self._numbers = numbers
        self.stream = stream_of(plan.run, plan.site, number)

    edge = ""
    path = ""

    def run(self, stopping: threading.Event) -> None:
        """Writes until it is told to stop."""
        sequence = 0
        while not stopping.wait(self.plan.period_s):
            self._one(sequence)
            sequence += 1
        self.close()

    def _one(self, sequence: int) -> None:
        key, number = f"{self.stream}:{sequence}", self._numbers.next()
        fields = {"stream": self.stream, "sequence": sequence}
        sent = {"n": number, "stream": self.stream, "kind": "canary", "key": key, "edge": self.edge}
        self._journal.write(record="sent", at=self._clock.now(), path=self.path, body=fields, **sent)
        outcome, status, response, said = self.write(fields, key)
        self._journal.write(
            record="done",
            n=number,
            at=self._clock.now(),
            outcome=outcome,
            status=status,
            response=response,
            error=said,
        )

    @abstractmethod
    def write(self, fields: dict[str, Any], key: str) -> tuple[Outcome, int | None, Any, str]:
        """One write: (outcome, status, answer, what was said besides)."""

    def close(self) -> None:  # noqa: B027
        """Nothing to close by default."""


class EdgeClient(Client):
    """Writes through the site's own edge."""

    path = "/api/v1/canary"

    def __init__(self, plan: InsidePlan, number: int, journal: Journal, numbers: Numbers) -> None:
        super().__init__(plan, number, journal, numbers)
        self.edge = f"inside:{plan.site}"

    def write(self, fields: dict[str, Any], key: str) -> tuple[Outcome, int | None, Any, str]:
        headers = {"Authorization": f"Bearer {self.plan.operator_key}", "Idempotency-Key": key}
        url, limit = self.plan.edge + self.path, self.plan.request_s
        done = asyncio.run(exchange("POST", url, headers=headers, body=fields, timeout_s=limit))
        outcome = classify(done.stage, done.status, error_code(done.response))
        return outcome, done.status, done.response, done.error


class DirectClient(Client):
    """Writes straight to PostgreSQL; some cancel a COMMIT that does not come back."""

    path = "COMMIT"

    def __init__(self, plan: InsidePlan, number: int, journal: Journal, numbers: Numbers) -> None:
        super().__init__(plan, number, journal, numbers)
        self.edge = f"inside:{plan.host}"
        self._cancels = number < plan.cancelling
        self._connection: Connection | None = None

    def write(self, fields: dict[str, Any], key: str) -> tuple[Outcome, int | None, Any, str]:
        commit_sent = False
        try:
            connection = self._connected()
            connection.notices.clear()
            digest = psycopg2.Binary(hashlib.sha256(key.encode()).digest())
            with connection.cursor() as cursor:
                cursor.execute("begin")
                cursor.execute(WRITE, {**fields, "key": key, "hash": digest})
                response, timeline = cursor.fetchone() or (None, "")
                commit_sent = True
                notices = self._commit(connection, cursor)
        except psycopg2.Error as error:
            self.close()
            return outcome_of(error, [], commit_sent), None, None, str(error).strip()[:200]
        said = json.dumps({"host": self.plan.host, "timeline": int(timeline, 16), "notices": notices})
        return outcome_of(None, notices, commit_sent), None, response, said

    def _commit(self, connection: Connection, cursor: Any) -> list[str]:
        """Sends COMMIT; cancels it after a while, or gives it up. Answers its notices."""
        answered = threading.Event()
        limit_s = self.plan.cancel_after_s if self._cancels else self.plan.give_up_s

        def impatient() -> None:
            if not answered.wait(limit_s):
                with contextlib.suppress(psycopg2.Error, OSError):
                    if self._cancels:
                        connection.cancel()
                    else:
                        _shut(connection)

        watcher = threading.Thread(target=impatient, daemon=True)
        watcher.start()
        try:
            cursor.execute("commit")
        finally:
            answered.set()
        return [str(notice).strip() for notice in connection.notices]

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg2.connect(
                self.plan.dsn,
                connect_timeout=CONNECT_S,
                tcp_user_timeout=SILENT_MS,
                application_name="inside",
            )
            self._connection.autocommit = True  # BEGIN and COMMIT are sent as they stand
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _shut(connection: Connection) -> None:
    """Closes the socket under a waiting COMMIT: nothing is cancelled, the outcome stays unknown."""
    with socket.socket(fileno=connection.fileno()) as line:
        try:
            line.shutdown(socket.SHUT_RDWR)
        finally:
            line.detach()


class Numbers:
    """Numbers of attempts, for all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        with self._lock:
            self._last += 1
            return self._last


def main() -> None:
    """Runs all clients until standard input closes or the plan's time is over."""
    plan = InsidePlan.read(Path(sys.argv[1]))
    stopping, numbers, end = threading.Event(), Numbers(), time.monotonic() + plan.max_s
    with Journal(Path(plan.journal)) as journal:
        clients: list[Client] = [
            (DirectClient if number < plan.clients else EdgeClient)(plan, number, journal, numbers)
            for number in range(plan.clients + plan.edge_clients)
        ]
        threads = [threading.Thread(target=client.run, args=(stopping,), daemon=True) for client in clients]
        for thread in threads:
            thread.start()
        select.select([sys.stdin], [], [], max(0.0, end - time.monotonic()))
        stopping.set()
        for thread in threads:
            thread.join(plan.give_up_s + CONNECT_S)


if __name__ == "__main__":
    main()
