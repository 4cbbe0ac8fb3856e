"""The real means of a switchover: etcd and PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg2

from failover import patroni_keys
from failover.config import Config
from failover.etcd_dcs import EtcdDcs, LeaseGone, NotAnswered
from failover.etcd_json import Entry, EtcdAnswerWrong, Prefixes, range_end
from failover.etcd_watch import Bell
from failover.executor import Answer
from failover.handover import HANDOVER, POOLER, Handover, encode, poolers_of
from failover.looker import Looker
from failover.switchover import Standing, Unanswered
from failover.transaction import (
    CONFIG,
    FAILOVER,
    HOLD,
    LEADER,
    SYNC,
    Compare,
    Delete,
    Put,
    Target,
    Transaction,
    absent,
    lock_as_read,
    unchanged,
    woken,
)
from failover.view import NotSeen
from replication.mends.announced import KEY, SESSION, Announcement
from replication.mends.announced import encode as encode_announcement
from replication.mends.gate import GATE
from replication.mends.in_force import SHOWN

ANNOUNCED = f"patroni/{KEY}"
GATE_SHOWN = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '{name}')"
LEASE_TTL_S = 3
KEEP_S = 0.5
CHECKPOINT_S = 60.0
COMMIT_S = 2.0
LONG_S = 0.5
TRIES = 3
AGAIN_S = 0.1
LONG_TRANSACTION = """
    SELECT format('process %s of %s for %s', pid, usename, clock_timestamp() - xact_start)
    FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
      AND xact_start < clock_timestamp() - interval '{limit_ms} ms'
    ORDER BY xact_start LIMIT 1
"""


class RealMeans:
    """`failover.switchover.Means`. One switchover, then `close`."""

    def __init__(self, config: Config, looker: Looker) -> None:
        self._config = config
        self._looker = looker
        self._dcs: EtcdDcs = config.dcs()
        self._lease = self._announcement = 0  # leases; 0: none
        self._stop = threading.Event()
        self._ours: Handover | None = None  # what was written, or may have been
        watched = [Prefixes(config.cluster).real(key) for key in (LEADER, FAILOVER, POOLER)]
        self._bell = Bell(config.etcd, [(key, range_end(key)) for key in watched])
        self._bell.start()

    def wait(self, seconds: float) -> None:
        """Until the lock, the offer or a pooler changes, at most so long."""
        self._bell.wait(seconds)

    def announce(self, id: str, candidate: str) -> str:
        """Under a lease of its own: it ends with `release`, or seconds after this process."""
        try:
            state = patroni_keys.dcs_state(self._dcs.snapshot())
            if isinstance(state, NotSeen) or state.sync is None:
                return "the DCS was not seen"
            if not state.sync.members - {candidate}:
                return "no other host is in the sync set"
            self._announcement = self._kept_lease()
            put = Put(ANNOUNCED, encode_announcement(Announcement(id, candidate)), self._announcement)
            if self._dcs.write(Transaction((absent(ANNOUNCED),), (put,))) is None:
                return "another handover is announced"
        except (NotAnswered, EtcdAnswerWrong, LeaseGone) as error:
            return f"etcd: {error}"
        return ""

    def gate_in_force(self, id: str, candidate: str) -> bool:
        try:
            return self._run(candidate, GATE_SHOWN.format(name=SESSION + id), COMMIT_S) is True
        except psycopg2.Error:
            return False

    def gate_open(self, candidate: str) -> bool:
        try:
            return self._run(candidate, SHOWN, COMMIT_S) != GATE
        except psycopg2.Error:
            return False

    def checkpoint(self, host: str) -> str:
        try:
            self._run(host, "CHECKPOINT", CHECKPOINT_S)
        except psycopg2.Error as error:
            return f"no checkpoint: {' '.join(str(error).split())[:200]}"
        return ""

    def busy(self, host: str) -> str:
        """A transaction that would not end within the moment that Patroni waits for it."""
        limit_ms = round(LONG_S * 1000)
        try:
            found = self._run(host, LONG_TRANSACTION.format(limit_ms=limit_ms), COMMIT_S)
        except psycopg2.Error as error:
            return f"{host} was not asked for long transactions: {' '.join(str(error).split())[:200]}"
        return f"a transaction runs on {host}: {found}; wait for its end" if found else ""

    def begin(self, handover: Handover) -> str:
        """Hold at the poolers and offer the lock, if nothing that the preflight saw stands in the way by now.

        Patroni's watch wakes it for a changed /config, and not for /failover: so /config is written back
        with a space more or less, and the old primary acts at once instead of in its next loop.
        Raises Unanswered.
        """
        try:
            found = self._dcs.snapshot()
            state, config = patroni_keys.dcs_state(found), found.get(CONFIG)
            if isinstance(state, NotSeen) or state.lock is None or state.sync is None or config is None:
                return "the DCS was not seen"
            if state.lock.holder != handover.old or handover.candidate not in state.sync.members:
                return (
                    f"{state.lock.holder} holds the lock, /sync names {', '.join(sorted(state.sync.members))}"
                )
            self._lease = self._kept_lease()
            compares = (
                *lock_as_read(state.lock),
                unchanged(SYNC, state.sync.revision),
                unchanged(CONFIG, config.revision),
                unchanged(FAILOVER, state.failover_emptied),
                absent(HOLD),
                absent(HANDOVER),
            )
            kept = sorted(state.sync.members - {handover.candidate})
            puts = (
                Put(HANDOVER, encode(handover), self._lease),
                Put(FAILOVER, _offer(handover, kept)),
                Put(CONFIG, woken(config.value)),
            )
            self._ours = handover
            if self._dcs.write(Transaction(compares, puts)) is None:
                self._ours = None
                return "the cluster changed in this moment"
        except (NotAnswered, EtcdAnswerWrong, LeaseGone) as error:
            if self._ours is not None and _may_have_acted(error):
                raise Unanswered(f"etcd: {error}") from error
            self._ours = None
            return f"etcd: {error}"
        return ""

    def _kept_lease(self) -> int:
        """A new lease that is kept alive until `release`. Raises NotAnswered or EtcdAnswerWrong."""
        lease = self._dcs.grant(LEASE_TTL_S)
        threading.Thread(target=self._keep, args=(self._config.dcs(), lease), daemon=True).start()
        return lease

    def _keep(self, dcs: EtcdDcs, lease: int) -> None:
        while not self._stop.wait(KEEP_S):
            try:
                dcs.keep_alive(lease)
            except LeaseGone:
                return
            except (NotAnswered, EtcdAnswerWrong):
                continue  # within its few seconds the lease is tried again; after that the hold is gone
        dcs.close()

    def release(self) -> None:
        """Revoke our leases, which deletes our hold and our announcement and no other's; the hold first.

        If etcd does not answer, they run out.
        """
        self._stop.set()
        for lease in (self._lease, self._announcement):
            if lease:
                _until_done(lambda lease=lease: self._dcs.revoke(lease) is Answer.OK)
        self._lease = self._announcement = 0

    def _snapshot(self) -> Mapping[str, Entry] | None:
        try:
            return self._dcs.snapshot()
        except (NotAnswered, EtcdAnswerWrong):
            return None

    def withdraw(self, holder: str | None = None) -> None:
        """Without an answer the controllers stop waiting for an old offer by themselves."""
        if self._ours is not None:
            _until_done(lambda: self._withdrawn(holder))

    def _withdrawn(self, holder: str | None) -> bool:
        """Whether our offer does not stand, or may not be taken back; False: try again."""
        found = self._snapshot()
        if found is None:
            return False
        entry, lock = found.get(FAILOVER), found.get(LEADER)
        if entry is None or not _is_offer(entry, self._ours):
            return True
        if holder is not None and (lock is None or lock.value != holder):
            return True
        held = () if holder is None else (Compare(LEADER, Target.VALUE, holder),)
        compares = (unchanged(FAILOVER, entry.revision), *held)
        with contextlib.suppress(NotAnswered, EtcdAnswerWrong, LeaseGone):
            return self._dcs.write(Transaction(compares, (Delete(FAILOVER),))) is not None
        return False

    def standing(self) -> Standing | None:
        found = self._snapshot()
        if found is None:
            return None
        entry = found.get(FAILOVER)
        offered = entry is not None and _is_offer(entry, self._ours)
        words = poolers_of(found, self._config.poolers)
        return Standing(found[LEADER].value if LEADER in found else None, offered, words)

    def writable(self, host: str) -> bool:
        if host not in self._config.addresses:
            return False
        try:
            return self._run(host, "SELECT NOT pg_is_in_recovery()", COMMIT_S) is True
        except psycopg2.Error:
            return False

    def commits(self, host: str) -> bool:
        """A message in the WAL, acknowledged by every sync standby."""
        message = "SELECT pg_logical_emit_message(true, 'hanbat', 'switchover') IS NOT NULL"
        try:
            return self._run(host, f"SET synchronous_commit = on; {message}", COMMIT_S) is True
        except psycopg2.Error:
            return False

    def _run(self, host: str, sql: str, limit_s: float) -> Any:
        """First column of the first row, None without rows. Bounded by closing the connection."""
        connection: Any = psycopg2.connect(self._config.dsn(host))
        timer = threading.Timer(limit_s, lambda: _shut(connection))
        timer.start()
        try:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
        finally:
            timer.cancel()
            connection.close()

    def unsettled(self) -> str:
        found = self._looker.look()
        if found.trouble:
            return f"the DCS was not seen: {found.trouble}"
        away = [
            row.host
            for row in found.hosts
            if row.host != found.primary and (row.role != "standby" or "reachable" not in row.reach.values())
        ]
        if away:
            return f"not back as standbys: {', '.join(away)}"
        return "" if found.site_safe == "yes" else f"site-safe: {found.site_safe}"

    def close(self) -> None:
        self._stop.set()
        self._dcs.close()


def _may_have_acted(error: NotAnswered | EtcdAnswerWrong | LeaseGone) -> bool:
    """Whether a transaction that ended so may have been carried out, or may still be."""
    return error.sent if isinstance(error, NotAnswered) else isinstance(error, EtcdAnswerWrong)


def _offer(handover: Handover, kept: list[str]) -> str:
    """As stored in /failover. Patroni reads only fields that it knows; `handover` says whose offer it is."""
    return json.dumps(
        {"leader": handover.old, "member": handover.candidate, "kept": kept, "handover": handover.id}
    )


def _is_offer(entry: Entry, handover: Handover | None) -> bool:
    """Whether /failover holds the offer of just this handover."""
    try:
        read: Any = json.loads(entry.value)
        return handover is not None and read.get("handover") == handover.id
    except (ValueError, AttributeError):
        return False


def _until_done(attempt: Callable[[], bool]) -> None:
    """A few times; each is bounded by the client."""
    for _ in range(TRIES):
        if attempt():
            return
        time.sleep(AGAIN_S)


def _shut(connection: Any) -> None:
    """End a wait for an answer; nothing is cancelled on the server."""
    with (
        contextlib.suppress(OSError, psycopg2.Error),
        socket.socket(fileno=os.dup(connection.fileno())) as one,
    ):
        one.shutdown(socket.SHUT_RDWR)
