"""Requests at an application host that is gone, at this edge: cut, so that their clients ask again.

HAProxy ends what a server of `alive_at_SITE` has under way when its check says that it is down. Requests go
through `ready_at_SITE`, where down is not dead (the host answers, and has no way to the database): there they
would wait for a dead host until `timeout server` (35 s), and those that are tried again when none is up for
`timeout queue` (5 s). So what `alive_at_SITE` says of a host is done to its requests there.

Read in HAProxy 2.6: `server.c` (on-marked-down), `backend.c`, `queue.c`; shown in the lab.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ALIVE, READY = "alive_at_", "ready_at_"
UP, DOWN = "UP", "DOWN"
LOOK_MS = 1000
LOOK_SOON_MS = 100  # while one is on its way down
Row = Mapping[str, str]  # of `show stat`, by its column


@dataclass(frozen=True, slots=True)
class Dead:
    """`hosts`: (backend, host) with requests to cut. `stuck`: backends in whose queue nobody is served.

    `soon`: a check of one that was alive has failed, and not yet often enough.
    """

    hosts: tuple[tuple[str, str], ...]
    stuck: tuple[str, ...]
    soon: bool


def dead(rows: Iterable[Row]) -> Dead:
    """What HAProxy's own figures say. Raises KeyError for rows that are none of `show stat`."""
    status: dict[str, dict[str, str]] = {}
    under_way: dict[str, dict[str, int]] = {}
    queued: dict[str, int] = {}
    for row in rows:
        backend, server = row["pxname"], row["svname"]
        if not backend.startswith((ALIVE, READY)):
            continue
        if server == "BACKEND":
            queued[backend] = int(row["qcur"] or 0)
            continue
        status.setdefault(backend, {})[server] = row["status"]
        under_way.setdefault(backend, {})[server] = int(row["scur"] or 0) + int(row["qcur"] or 0)
    hosts: list[tuple[str, str]] = []
    stuck: list[str] = []
    for alive, servers in status.items():
        if not alive.startswith(ALIVE):
            continue
        ready = READY + alive.removeprefix(ALIVE)
        gone = [host for host, word in servers.items() if word.startswith(DOWN)]
        hosts += [(ready, host) for host in gone if under_way.get(ready, {}).get(host, 0)]
        if len(gone) == len(servers):
            stuck += [backend for backend in (ready, alive) if queued.get(backend, 0)]
    words = [word for name, servers in status.items() if name.startswith(ALIVE) for word in servers.values()]
    return Dead(tuple(hosts), tuple(stuck), any(word.startswith(f"{UP} ") for word in words))


def waiting_in(backend: str, sessions: Sequence[str]) -> tuple[str, ...]:
    """Which sessions, by their address in `show sess`, wait in a backend and have no server."""
    return tuple(
        line.partition(":")[0]
        for line in sessions
        if f" be={backend} " in line and " srv=<none> " in line and line.startswith("0x")
    )
