"""A model of PostgreSQL with synchronous replication.

A WAL is a list of records; a position is a length. A commit is acknowledged when every standby that
`synchronous_standby_names` requires has confirmed its position. A standby receives only while connected,
stops receiving before it is promoted, and can attach only if its WAL is a prefix of the primary's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .engine import Body, Engine
from .history_files import Folder
from .network import Network

TICK_MS = 80
WAL_SENDER_TIMEOUT_MS = WAL_RECEIVER_TIMEOUT_MS = 3000


@dataclass(slots=True)
class Session:
    """A walsender and its receiver. `confirmed` is what the standby has said that it flushed; `replied` and
    `heard`: when the one last heard the other.
    """

    confirmed: int
    replied: int
    connection: int
    heard: int


@dataclass(slots=True)
class Postgres:
    """One server. `timeline` marks are records too, so that two histories differ where they part."""

    host: str
    running: bool = True
    primary: bool = False
    timeline: int = 1
    files: Folder = field(default_factory=Folder)
    wal: list[int] = field(default_factory=list)
    required: frozenset[str] = frozenset()  # synchronous_standby_names
    quorum: int = 0  # 0: all of `required`; else so many of them
    required_since: int = 0  # WAL position when `required` last changed, or came to be in force
    deaf_until: int = 0  # 0: `required` is in force; else its checkpointer has not read that anybody is
    upstream: str | None = None
    connection: int = 0  # rises when a standby's connection ends: an old session never comes back
    ordered: int = -1  # the connection that ended when it was told to promote itself
    diverged: bool = False
    torn: bool = False  # a rewind has begun and not ended: it cannot be started
    frozen_until: int = 0
    late_ms: int = 0  # a standby that drags: it flushes only so often
    flushes_at: int = 0
    sessions: dict[str, Session] = field(default_factory=dict)
    pending: list[tuple[int, int]] = field(default_factory=list)  # (record, position), oldest first

    def require(self, names: frozenset[str]) -> None:
        if names != self.required:
            self.required, self.required_since = names, len(self.wal)
        if not names:
            self.deaf_until = 0

    def follow(self, upstream: str | None) -> None:
        """Receive from another host, or from none."""
        if upstream != self.upstream:
            self.upstream = upstream
            self.connection += 1
            self.diverged = False

    def order(self) -> None:
        """To promote itself: receiving ends first."""
        self.follow(None)
        self.ordered = self.connection

    def is_ordered(self) -> bool:
        """`fresh_timeline.is_ordered`."""
        return self.primary or self.ordered == self.connection

    def stop(self) -> None:
        """Crash or shutdown: every session ends, every waiting client is left without an answer."""
        self.running = False
        self.connection += 1
        self.sessions.clear()
        self.pending.clear()
        self.deaf_until = 0

    def hears(self, now: int) -> None:
        """The checkpointer reads its settings: from here on commits wait for those who are required."""
        if self.deaf_until and self.deaf_until <= now:
            self.deaf_until, self.required_since = 0, len(self.wal)

    def promote(self, mark: int) -> None:
        """A new timeline, which begins with a record of its own."""
        self.primary, self.timeline = True, self.files.begin(self.timeline, f"{self.host} {mark}")
        self.wal.append(mark)

    def covered(self) -> int:
        """Up to where commits may be acknowledged; -1 when a required standby is missing."""
        if not self.required or self.deaf_until:
            return len(self.wal)
        marks = sorted(
            (self.sessions[name].confirmed for name in self.required if name in self.sessions), reverse=True
        )
        needed = self.quorum or len(self.required)
        return marks[needed - 1] if len(marks) >= needed else -1


class Servers:
    """All servers, the streams between them, and the clients that write to whichever primary runs."""

    def __init__(self, engine: Engine, network: Network, hosts: tuple[str, ...]) -> None:
        self.engine, self.network = engine, network
        self.by_host = {host: Postgres(host) for host in hosts}
        self.next_record = 0
        self.write_rate = 0.6
        self.deaf = 0.0  # chance that a checkpoint is under way when a set grows from nobody
        self.cancel_rate = 0.0005
        self.false_acknowledgements = 0
        self.acknowledged: list[int] = []
        self.last_acknowledged_ms = 0
        self.on_acknowledge = lambda server, record: None

    def can_acknowledge(self, server: Postgres) -> bool:
        """Whether a commit made now could be acknowledged: enough required standbys receive from it."""
        if not (server.running and server.primary):
            return False
        if not server.required or server.deaf_until:
            return True
        receiving = [
            name
            for name in server.required
            if name in server.sessions
            and server.sessions[name].connection == self.by_host[name].connection
            and not self.by_host[name].primary
        ]
        return len(receiving) >= (server.quorum or len(server.required))

    def new_record(self) -> int:
        self.next_record += 1
        return self.next_record

    def process(self) -> Body:
        servers = tuple(self.by_host.values())
        while True:
            now = self.engine.now
            for server in servers:
                if server.primary and server.running and server.frozen_until <= now:
                    server.hears(now)
                    self._stream(server, now)
                    self._clients(server)
            yield TICK_MS

    def _stream(self, primary: Postgres, now: int) -> None:
        for standby in self.by_host.values():
            if standby is primary:
                continue
            session = primary.sessions.get(standby.host)
            follows = (
                standby.upstream == primary.host
                and standby.running
                and not standby.primary
                and standby.frozen_until <= now
            )
            if session is not None and session.connection != standby.connection:
                follows = False  # the session's other end is gone
            if session is None:
                if follows:
                    self._attach(primary, standby, now)
                continue
            if follows and self.network.replicates(standby.host, primary.host) and not self.network.lost():
                session.confirmed, session.replied = len(standby.wal), now
            if follows and self.network.replicates(primary.host, standby.host) and not self.network.lost():
                session.heard = now
                have = len(standby.wal)
                if have < len(primary.wal) and now >= standby.flushes_at:
                    standby.flushes_at = now + standby.late_ms
                    standby.wal.extend(primary.wal[have:])
                    standby.timeline = primary.timeline
            if follows and now - session.heard > WAL_RECEIVER_TIMEOUT_MS:
                standby.connection += 1  # its end is heard, or missed by the sender's own timeout
            if now - session.replied > WAL_SENDER_TIMEOUT_MS or session.connection != standby.connection:
                del primary.sessions[standby.host]

    def _attach(self, primary: Postgres, standby: Postgres, now: int) -> None:
        network = self.network
        there = network.replicates(primary.host, standby.host)
        if not there or not network.replicates(standby.host, primary.host):
            return
        have, files = len(standby.wal), standby.files
        if not files.fetch(primary.files, standby.timeline, primary.timeline):
            return
        if primary.wal[:have] != standby.wal:
            standby.diverged = True
            return
        if not files.leads_to(primary.files, standby.timeline, primary.timeline):
            return
        primary.sessions[standby.host] = Session(have, now, standby.connection, now)

    def _clients(self, primary: Postgres) -> None:
        rng = self.engine.rng
        if rng.random() < self.write_rate:
            record = self.new_record()
            primary.wal.append(record)
            primary.pending.append((record, len(primary.wal)))
        limit, done = primary.covered(), 0
        for record, position in primary.pending:
            if position > limit:
                break
            self.acknowledged.append(record)
            self.last_acknowledged_ms = self.engine.now
            self.on_acknowledge(primary, record)
            done += 1
        del primary.pending[:done]
        if primary.pending and rng.random() < self.cancel_rate:
            primary.pending.pop()  # PostgreSQL says success, with a warning: not an acknowledgement for us
            self.false_acknowledgements += 1
