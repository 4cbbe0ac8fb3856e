"""What a person who must decide is told besides: by the candidate's LSN ring, the lease, the tenders.

Each figure is asked for once, bounded in time; what does not answer is unknown, and said to be.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.request import urlopen

from failover.config import Config
from failover.etcd_dcs import EtcdDcs
from failover.view import NotSeen, Prospect, View, Waiting

RING_S = 1.5
SQL_S = 3.0
DATABASE = "procurement"
# The application's schema is its own; this is all that is known of it here. The next hour's deadlines.
DEADLINES = (
    "SELECT count(*) FROM procurement.tender "
    "WHERE NOT rehearsal AND deadline BETWEEN now() AND now() + interval '1 hour'"
)

Ring = Callable[[str], Mapping[str, Any] | None]


def ring_of(address: str) -> Mapping[str, Any] | None:
    """`GET /rpo` of one database host; None when it gave no answer in time."""
    from replication.layout import LSN_RING_PORT  # the topology's model is heavy, and not always needed

    try:
        with urlopen(f"http://{address}:{LSN_RING_PORT}/rpo", timeout=RING_S) as answer:
            document: Any = json.load(answer)
    except (OSError, ValueError):
        return None
    return cast(dict[str, Any], document) if isinstance(document, dict) else None


def deadlines() -> int | None:
    """Tenders whose deadline falls within the next hour, asked of this host's own PostgreSQL, read only."""
    try:
        postgres = pwd.getpwnam("postgres")
        done = subprocess.run(
            ["psql", "-X", "-A", "-t", "-d", DATABASE, "-c", DEADLINES],
            capture_output=True, text=True, timeout=SQL_S, check=True, cwd="/",
            user=postgres.pw_uid if os.geteuid() == 0 else None,
            env={"PATH": "/usr/bin:/bin", "PGCONNECT_TIMEOUT": "2", "PGOPTIONS": "-c statement_timeout=2000"},
        )  # fmt: skip
        return int(done.stdout.strip())
    except (OSError, KeyError, ValueError, subprocess.SubprocessError):
        return None


def with_ring(prospect: Prospect, report: Mapping[str, Any] | None) -> Prospect:
    """The prospect with its time, if the candidate's ring tells of the same primary.

    The time runs until now: what the old primary has written since it was last seen is not in any
    position, but it is not older than the first byte that the candidate lacks, or than the last sight. So
    a candidate that lacked no byte then is given a time too, unless it is proved to lose nothing. The ring
    takes a sample a second: "about".
    """
    if prospect.proved or report is None or report.get("primary") != prospect.primary:
        return prospect
    exposed_s, age_s = report.get("exposed_seconds"), report.get("age_seconds")
    if not isinstance(exposed_s, int | float) or not isinstance(age_s, int | float):
        return prospect
    return replace(prospect, back_ms=round(1000 * max(exposed_s, age_s)))


def informed(
    view: View,
    config: Config,
    dcs: EtcdDcs,
    ring: Ring = ring_of,
    due: Callable[[], int | None] = deadlines,
) -> View:
    """The view with all that can be found out now, for people."""
    if isinstance(view.dcs, NotSeen):
        return view
    lock = view.dcs.lock
    prospects = tuple(
        one if one.proved else with_ring(one, ring(config.addresses[one.candidate])) for one in view.prospects
    )
    left = dcs.time_left_ms(lock.lease) if lock is not None else 0
    return replace(view, prospects=prospects, waiting=Waiting(left, due()))
