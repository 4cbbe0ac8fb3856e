"""The gate: a candidate asks PostgreSQL to wait for a standby that does not exist (ADR 9).

A standby acknowledges nothing anyway; promoted, it still acknowledges nothing until the gate is opened
(`kept_members`). It is shut while a planned handover to this host is announced (`announced`), and known to be
in force before it begins: a promotion does not wait until PostgreSQL has taken a new value in. Without an
announcement it is open: PostgreSQL opens it only when its checkpointer reads the settings, which may take as
long as a restartpoint, and after an unplanned promotion nobody may wait for that.

In `max_protection` it stands always: commits wait for another site after every promotion, from the first one
on. There it is never opened but exchanged for names (`remote_sync`), which takes no checkpointer, once it is
in force: until it is shown to be, the host is not promoted (`kept_members`).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any

import psycopg2

from replication.local_sql import Local
from replication.mends.announced import SESSION
from replication.mends.in_force import read_by_checkpointer, shown

GATE = "hanbat_gate"  # no member may have this name; underscores are none in host names
ALIVE = "SELECT 1"
TELL_S = 0.7


class Gate:
    """What this process knows of the gate. `in_use`: a promotion has the session, and nobody may end it.

    `told`: the handover after which the session is named. `always`: it stands without an announcement, too.
    """

    def __init__(self) -> None:
        self.look: Future[Local | None] | None = None
        self.in_use = False
        self.told = ""
        self.always = False

    def session(self) -> Local | None:
        """The session that saw the gate in force; None while it looks, and when it could not look."""
        return _found(self.look)

    def awaited(self, server: Any) -> bool:
        """Whether it always stands and is not shown to be in force: the host must not be promoted yet."""
        return self.always and is_shut(server) and self.session() is None

    def forget(self) -> None:
        """Whatever was seen counts no more."""
        if self.in_use:
            return
        look, self.look, self.told = self.look, None, ""
        if look is not None:
            look.add_done_callback(_close)

    def tell(self, handover: str) -> None:
        """Show whoever asks PostgreSQL here that the gate is in force for this handover."""
        local = self.session()
        if local is not None and handover not in ("", self.told):
            local.run(f"SET application_name = '{SESSION}{handover}'", TELL_S)
            self.told = handover

    def spent(self) -> None:
        """The promotion that used it has ended."""
        self.in_use = False
        self.forget()


def in_force(new: Callable[[], Local] = Local) -> Local | None:
    """The session to which PostgreSQL here has shown that the gate is in force; None when it is not.

    It is the checkpointer that makes commits wait. While the session lives, so does that postmaster.
    Raises psycopg2.Error or TimeoutError.
    """
    local = shown(GATE, new)
    if local is not None:
        try:
            read_by_checkpointer(local)
        except BaseException:
            local.close()
            raise
    return local


def tend(
    ha: Any, gate: Gate, look: Callable[[], Future[Local | None]], announced: str, offered: bool = False
) -> None:
    """Shut the gate on a sync standby to which a handover is announced, open it on others; not on a primary.

    `announced`: the handover's id. `offered`: the lock is offered to this host, as planned. Then a gate that
    is shut stays so: who announced may have ended. An open one is not shut then: it would not be in force.
    """
    server = ha.state_handler
    if server.role != "replica" or server.state != "running":
        gate.forget()
        return
    if ha._async_executor.busy:
        return
    gate.in_use = False  # a promotion that was given up leaves it so
    sync, name = ha.cluster.sync if ha.cluster else None, server.name
    is_sync = bool(sync and ha.is_synchronous_mode() and sync.leader != name and sync.matches(name, False))
    stands = is_shut(server)
    shut = is_sync and (gate.always or bool(announced) or (stands and offered))
    if shut != stands:
        gate.forget()
        server.config.set_synchronous_standby_names(GATE if shut else None)  # not by way of `remote_sync`
    if not shut or not (announced or offered or gate.always):
        gate.forget()
    elif gate.look is None or (gate.look.done() and not _lives(gate.session())):
        gate.forget()
        gate.look = look()
    else:
        gate.tell(announced)


def is_shut(server: Any) -> bool:
    """Whether PostgreSQL here was told to wait for the gate."""
    return server.config._server_parameters.get("synchronous_standby_names") == GATE


def in_a_thread() -> Future[Local | None]:
    """`in_force`, beside Patroni's loop."""
    future: Future[Local | None] = Future()

    def look() -> None:
        try:
            future.set_result(in_force())
        except Exception as error:  # told by the future; the next loop looks again
            future.set_exception(error)

    Thread(target=look, name="looks at the gate", daemon=True).start()
    return future


def _close(look: Future[Local | None]) -> None:
    local = _found(look)
    if local is not None:
        local.close()


def _found(look: Future[Local | None] | None) -> Local | None:
    if look is None or not look.done() or look.exception() is not None:
        return None
    return look.result()


def _lives(local: Local | None) -> bool:
    try:
        return local is not None and local.ask(ALIVE) == 1
    except (psycopg2.Error, TimeoutError):
        return False
