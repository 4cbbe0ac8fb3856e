"""The audit of a drill that was broken off: what was acknowledged by then is looked up all the same."""

from __future__ import annotations

import time
import traceback

from lab.drill.drill import Drill
from lab.drill.errors import Interrupted
from lab.drill.snapshot import accepts_writes
from lab.drill.stages import audit_now, db_hosts

SETTLE_S = 5.0  # what the load had sent may still be carried out: a request's limit, and some
WAIT_S = 40.0  # after the heal, until every database host answers and one accepts writes
PAUSE_S = 1.0


def audit_late(drill: Drill) -> None:
    """Audits a drill whose load has ended, unless it never ran, the audit was made, or there is no lab.

    Bounded: SETTLE_S and WAIT_S, and the limits of `snapshot`. What goes wrong here is a line of the
    timeline: the reason why the drill was broken off is the one to be told. Raises Interrupted only.
    """
    if drill.audit is not None or "load" not in drill.moments or not drill.lab.is_up():
        return
    try:
        with drill.step("audit"):
            time.sleep(SETTLE_S)
            audit_now(drill, writable_in_time(drill))
    except Interrupted:
        raise
    except Exception as error:  # whatever it is: it must not hide the first reason
        drill.note("audit_failed", "", f"{type(error).__name__}: {error}")
        drill.evidence.write_log("audit-error.log", traceback.format_exc())


def writable_in_time(drill: Drill) -> str | None:
    """The one host that accepts writes, when all answer or the time is over; None when none or several do."""
    hosts, end = sorted(db_hosts(drill)), time.monotonic() + WAIT_S
    while True:
        told = accepts_writes(drill.lab, hosts)
        writable = [host for host, yes in told.items() if yes]
        only = writable[0] if len(writable) == 1 else None
        if (only and None not in told.values()) or time.monotonic() >= end:
            return only
        time.sleep(PAUSE_S)
