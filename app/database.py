"""Transactions that never say more than they know.

Rules (design.md §5, Traps), each kept here and nowhere else:

- Nothing is ever cancelled. A wait is bounded by shutting the socket down (app/watchdog.py); the limits
  of the server (``statement_timeout``, ``lock_timeout``) are set with SET LOCAL, so that they suit a
  transaction pooler. ``statement_timeout`` does not fire while COMMIT waits for its sync standby.
- Before COMMIT is sent, every failure means: this attempt wrote nothing (``NotWritten``).
- After COMMIT is sent there are three outcomes. A lost answer is *unknown*. So is any warning that comes
  with the answer: a cancelled wait for the sync standby commits locally and answers success with the
  warning "canceling wait for synchronous replication due to user request". psycopg2 gives a notice as
  translated text only, so *every* notice of COMMIT counts, whatever its words.
- ``synchronous_commit`` is never touched here.
- **The barrier.** A row can be visible on an isolated primary though no other host has it (a cancelled
  wait, or a crash restart there). An answer made from such a row would acknowledge what can vanish. So a
  replay, a refusal and a read wait for replication too before they are answered, in the transaction that
  saw the rows: another one may run on another primary. In PostgreSQL 15 a
  commit waits in SyncRepWaitForLSN only if the transaction has an xid *and* wrote WAL
  (RecordTransactionCommit: ``wrote_xlog && markXidCommitted``); ``pg_current_xact_id()`` alone writes
  none and does not wait. ``pg_logical_emit_message(true, ...)`` gives both with one small WAL record, no
  table and no bloat. Its LSN lies after everything this transaction could see, so its wait covers that.
  tests/app/test_database.py proves both halves against a server whose sync standby is missing.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import psycopg2
import psycopg2.extras
from psycopg2.extensions import connection as Connection

from app.errors import AppError, NotWritten, OutcomeUnknown, ReadUnconfirmed, Refusal
from app.settings import Settings
from app.watchdog import WATCHDOG, Guard

T = TypeVar("T")
Row = dict[str, Any]
Parameters = Sequence[Any] | Mapping[str, Any] | None

TRIES = 4
"""How often a transaction is run when the server rolled it back by itself (40001, 40P01)."""
PAUSE_S = 0.05
LONGEST_PAUSE_S = 0.5
"""Between two tries while the database is away."""
ROLLED_BACK = ("40001", "40P01")
REFUSED_CLASSES = ("08", "53", "55", "57", "58", "3D", "28")
"""Classes of SQLSTATE that speak of the server's state, not of our statement."""
REFUSED_STATES = ("25006", "25P02", "42P01", "3F000", "42501", "XX000")
"""Read-only server, lost transaction, schema not there yet, and a standby asked for an xid (XX000)."""
CONNECT = {
    "connect_timeout": 2,
    "tcp_user_timeout": 5000,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "application_name": "procurement",
}
SAVEPOINT = "before_work"
"""What a refusal goes back to, to be confirmed in the same transaction."""
BARRIER = """
    SELECT pg_is_in_recovery() AS standby,
           CASE WHEN NOT pg_is_in_recovery()
                THEN pg_logical_emit_message(true, 'procurement.barrier', '') END AS lsn
"""


class Transaction:
    """One open transaction: run SQL in it, get rows as dicts."""

    def __init__(self, connection: Connection) -> None:
        self._cursor = connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)

    def run(self, sql: str, parameters: Parameters = None) -> int:
        """Run a statement; the number of rows it touched."""
        self._cursor.execute(sql, parameters)
        return self._cursor.rowcount

    def all(self, sql: str, parameters: Parameters = None) -> list[Row]:
        self._cursor.execute(sql, parameters)
        return [dict(row) for row in self._cursor.fetchall()]

    def maybe(self, sql: str, parameters: Parameters = None) -> Row | None:
        """The first row, or None when there is really none."""
        self._cursor.execute(sql, parameters)
        row = self._cursor.fetchone()
        return None if row is None else dict(row)

    def one(self, sql: str, parameters: Parameters = None) -> Row:
        """The one row of a statement that always has one."""
        row = self.maybe(sql, parameters)
        if row is None:
            raise LookupError(f"no row from: {sql.split()[:4]}")
        return row

    def lock(self, what: str, number: int | str) -> None:
        """Serialize on a named thing until the transaction ends (also while COMMIT waits)."""
        self.run("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{what}:{number}",))

    @property
    def command(self) -> str:
        return self._cursor.statusmessage or ""


class Pool:
    """Connections of one process: last in, first out; a wait for a free one is bounded.

    Connecting happens outside any lock: while the database is away, callers fail side by side.
    """

    def __init__(self, dsn: str, size: int, wait_s: float) -> None:
        self._dsn = dsn
        self._idle: list[Connection] = []
        self._free = threading.BoundedSemaphore(size)
        self._wait_s = wait_s

    def take(self) -> tuple[Connection, bool]:
        """A connection and whether it was used before; NotWritten when none can be had in time."""
        if not self._free.acquire(timeout=self._wait_s):
            raise NotWritten("every connection to the database is in use")
        try:
            return self._idle.pop(), True
        except IndexError:
            return self._connect(), False

    def _connect(self) -> Connection:
        try:
            connection = psycopg2.connect(self._dsn, **CONNECT)
            connection.autocommit = True  # this module sends BEGIN and COMMIT itself
        except psycopg2.Error as error:
            self._free.release()
            raise NotWritten("the database cannot be reached", detail=first_line(error)) from error
        return connection

    def give(self, connection: Connection, *, healthy: bool) -> None:
        """Hand a connection back; one that is not surely healthy is closed."""
        if healthy and not connection.closed:
            self._idle.append(connection)
        else:
            connection.close()
        self._free.release()

    def drop_idle(self) -> None:
        """Close every idle connection (after one proved dead: the others are of the same age)."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return


class Stale(Exception):
    """A pooled connection was dead before its transaction began: take a new one."""


class RolledBack(NotWritten):
    """The server rolled the transaction back (serialization, deadlock): it may be run again."""


class Database:
    """The one way to the database. ``write`` and ``read`` run a function in one transaction."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = Pool(settings.dsn, settings.pool_size, settings.pool_wait_s)
        self._scouting = threading.Lock()
        self._back = threading.Event()

    def write(self, work: Callable[[Transaction], T], *, barrier: Callable[[T], bool] | None = None) -> T:
        """Run ``work`` and commit; its result is returned only when the commit is a fact.

        ``work`` may run more than once, each time in a new transaction, so it does SQL only.
        ``barrier(result)`` true: the work wrote nothing itself (a replay), wait for replication anyway.
        Raises NotWritten, OutcomeUnknown, or what ``work`` raised; a Refusal only when it is confirmed.
        """
        for attempt in range(TRIES):
            try:
                return self._patiently(work, barrier)
            except RolledBack:
                if attempt == TRIES - 1:
                    raise
                time.sleep(0.01 * 2**attempt)
        raise AssertionError("unreachable")

    def read(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` and answer only what is replicated (see "The barrier").

        Raises ReadUnconfirmed when the database cannot be asked, or did not confirm in time, and a Refusal
        of ``work`` only when it is confirmed.
        """
        try:
            return self._patiently(work, lambda _: True)
        except (NotWritten, OutcomeUnknown) as error:
            raise ReadUnconfirmed(f"the answer could not be confirmed: {error}") from error

    def peek(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` without the barrier: for facts that are not records (the clock, readiness)."""
        try:
            return self._attempt(work, None)
        except (NotWritten, OutcomeUnknown) as error:
            raise ReadUnconfirmed(str(error), detail=error.detail) from error

    def close(self) -> None:
        self._pool.drop_idle()

    def _patiently(self, work: Callable[[Transaction], T], barrier: Callable[[T], bool] | None) -> T:
        """While nothing was written, try again for a moment: a takeover is over in seconds.

        A client that waits is served as soon as there is a primary; one that is sent away comes back
        when its Retry-After is over, and what was lost then is a second. Where the database can be read and
        takes nothing (a full disk), each try waits longer than the one before: it has enough to refuse.
        """
        end = time.monotonic() + self._settings.patience_s
        for tries in itertools.count():
            try:
                return self._attempt(work, barrier)
            except RolledBack:
                raise
            except NotWritten:
                if not self._comes_back(end):
                    raise
                pause_s = min(PAUSE_S * 2**tries, LONGEST_PAUSE_S) if tries else 0.0
                time.sleep(max(0.0, min(pause_s, end - time.monotonic())))
        raise AssertionError("unreachable")

    def _comes_back(self, end: float) -> bool:
        """Waits until the database can be written, at most until `end`; whether it is worth another try.

        One thread looks, the others wait for its word. Were all of them to knock again and again, each
        with a login of its own, the processor would be busy with that just when it is needed most.
        """
        while (left_s := end - time.monotonic()) > PAUSE_S:
            if self._scouting.acquire(blocking=False):
                try:
                    return self._scout(end)
                finally:
                    self._scouting.release()
            if self._back.wait(min(left_s, 4 * PAUSE_S)):  # the scout may give up before we do
                return True
        return False

    def _scout(self, end: float) -> bool:
        self._back.clear()
        while time.monotonic() + PAUSE_S < end:
            time.sleep(PAUSE_S)
            if self._writable():
                self._back.set()
                return True
        return False

    def _writable(self) -> bool:
        try:
            return not self._attempt(
                lambda tx: tx.one("SELECT pg_is_in_recovery() AS standby")["standby"], None
            )
        except (NotWritten, OutcomeUnknown):
            return False

    def _attempt(self, work: Callable[[Transaction], T], barrier: Callable[[T], bool] | None) -> T:
        for _ in range(3):
            connection, used = self._pool.take()
            healthy = False
            try:
                with WATCHDOG.guard(connection) as guard:
                    result = self._transaction(connection, guard, used, work, barrier)
                healthy = True
                return result
            except Stale:
                self._pool.drop_idle()
            except RolledBack:
                healthy = True
                raise
            except AppError as error:
                healthy = isinstance(error, Refusal)
                raise
            finally:
                self._pool.give(connection, healthy=healthy)
        raise NotWritten("the connections to the database are broken")

    def _transaction(
        self,
        connection: Connection,
        guard: Guard,
        used: bool,
        work: Callable[[Transaction], T],
        barrier: Callable[[T], bool] | None,
    ) -> T:
        guard.limit(self._settings.query_limit_s)
        try:
            tx = Transaction(connection)
            begin(tx, self._settings)
        except psycopg2.Error as error:
            if used and connection.closed:
                raise Stale from error
            raise before_commit(error) from error
        try:
            result = work(tx)
            if barrier is not None and barrier(result):
                emit_barrier(tx)
        except psycopg2.Error as error:
            meaning = before_commit(error)
            if isinstance(meaning, Refusal):
                self._confirm_refusal(connection, guard, tx)
            else:
                rollback(connection)
            raise meaning from error
        except Refusal:
            self._confirm_refusal(connection, guard, tx)
            raise
        except BaseException:
            rollback(connection)
            raise
        guard.limit(self._settings.commit_limit_s)
        commit(connection, tx)
        return result

    def _confirm_refusal(self, connection: Connection, guard: Guard, tx: Transaction) -> None:
        """A refusal tells of rows, too: it is given out only when they are replicated.

        In the transaction that saw them. Another one may run on another primary, which never had them and
        would confirm all the same.
        """
        try:
            tx.run(f"ROLLBACK TO SAVEPOINT {SAVEPOINT}")
            emit_barrier(tx)
            guard.limit(self._settings.commit_limit_s)
            commit(connection, tx)
        except (psycopg2.Error, NotWritten, OutcomeUnknown) as error:
            rollback(connection)
            message = f"refused, but the reason could not be confirmed: {first_line(error)}"
            raise NotWritten(message) from error


def emit_barrier(tx: Transaction) -> None:
    """From here the transaction's COMMIT waits for replication; NotWritten on a standby."""
    if tx.one(BARRIER)["standby"]:
        raise NotWritten("this server is a standby")


def begin(tx: Transaction, settings: Settings) -> None:
    """Open the transaction and set its limits: one round trip, all of it local to the transaction."""
    tx.run(
        "BEGIN ISOLATION LEVEL READ COMMITTED;"
        f"SET LOCAL statement_timeout = {int(settings.query_limit_s * 1000)};"
        f"SET LOCAL lock_timeout = {int(settings.lock_limit_s * 1000)};"
        f"SET LOCAL idle_in_transaction_session_timeout = {int(settings.query_limit_s * 2000)};"
        "SET LOCAL client_min_messages = warning;"
        f"SAVEPOINT {SAVEPOINT}"
    )


def commit(connection: Connection, tx: Transaction) -> None:
    """Send COMMIT and believe only a clean answer."""
    connection.notices.clear()
    try:
        tx.run("COMMIT")
    except psycopg2.Error as error:
        if error.pgcode in ROLLED_BACK:
            raise RolledBack(f"the server rolled the transaction back: {first_line(error)}") from error
        raise OutcomeUnknown(f"the answer to COMMIT was lost: {first_line(error)}") from error
    if connection.notices:
        notice = " ".join(connection.notices[0].split())
        raise OutcomeUnknown(f"COMMIT was answered with a warning: {notice[:200]}")
    if tx.command != "COMMIT":
        raise NotWritten(f"the server answered {tx.command} to COMMIT")


def rollback(connection: Connection) -> None:
    """End the transaction; a connection that cannot is closed, which ends it too."""
    try:
        connection.cursor().execute("ROLLBACK")
    except psycopg2.Error:
        connection.close()


def before_commit(error: psycopg2.Error) -> Exception:
    """What a failure before COMMIT means: nothing was written; is it ours, or the server's state?"""
    state = error.pgcode
    if state in ROLLED_BACK:
        return RolledBack(f"the server rolled the transaction back: {first_line(error)}")
    if state is None or state[:2] in REFUSED_CLASSES or state in REFUSED_STATES:
        return NotWritten(f"the database did not take it: {first_line(error)}")
    return conflict(error) or error


CONFLICTS: dict[str, tuple[str, str]] = {
    "bid_one_per_company": ("already_bid", "this company has a bid in this tender already"),
    "payment_once": ("already_paid", "this claim is paid already"),
    "subcontract_payment_once": ("already_paid", "this subcontract was paid from this payment already"),
    "party_key_once": ("key_in_use", "this key belongs to a party already"),
    "party_business_number_once": ("already_registered", "this business number is registered already"),
    "bid_in_time": ("deadline_passed", "no bid is received after the deadline"),
    "opening_once": ("already_opened", "this tender is opened already"),
    "award_once": ("already_awarded", "this tender is awarded already"),
    "idempotency_party_id_fkey": ("unknown_key", "this key belongs to no party"),
    "tender_number_once": ("already_noticed", "this institution has a tender of this number already"),
}


def conflict(error: psycopg2.Error) -> Refusal | None:
    """The refusal of a constraint that stands for a rule; None for any other error, which is a bug."""
    known = CONFLICTS.get(error.diag.constraint_name or "")
    return None if known is None else Refusal(409, *known, "read the current state first")


def first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__
