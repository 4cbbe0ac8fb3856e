"""A restart that its Patroni is doing is waited for, so long and no longer; nothing else is."""

from __future__ import annotations

import json

import pytest

from failover.planned_restart import RESTART_MS, WithRestart, state_of_primary
from failover.publication import Detail
from failover.streaks import Probe
from failover.view import Reach
from replication.mends.told_restart import RESTARTS

from .test_probe_patroni import server

UP, GONE, UNKNOWN = Reach.REACHABLE, Reach.UNREACHABLE, Reach.UNKNOWN
ANSWERS, REFUSED, SILENT = Probe(0, 5, UP), Probe(0, 5, GONE), Probe(0, 5, GONE, detail=Detail("silent"))
STARVED = Probe(0, 5, UNKNOWN)
Row = list[tuple[Probe, str]]


class Host:
    """One probe every 500 ms: PostgreSQL's answer, and what Patroni would say."""

    def __init__(self, row: Row) -> None:
        self._row, self.at, self.asked = row, -1, 0

    def probe(self) -> Probe:
        self.at += 1
        one = self._row[self.at][0]
        began = 500 * self.at
        return Probe(began, began + 5, one.reach, detail=one.detail)

    def says(self) -> str:
        self.asked += 1
        return self._row[self.at][1]


def reaches(row: Row) -> tuple[list[Reach], int]:
    host = Host(row)
    prober = WithRestart(host, host.says)
    return [prober.probe().reach for _ in row], host.asked


RESTART: Row = [(ANSWERS, "running"), (REFUSED, "restarting"), (REFUSED, "starting")]


@pytest.mark.parametrize(
    ("row", "found", "asked"),
    [
        ([*RESTART, (ANSWERS, "running")], [UP, UNKNOWN, UNKNOWN, UP], 2),
        ([(REFUSED, "crashed"), (REFUSED, "restarting")], [GONE, GONE], 1),  # Patroni mends a crash
        ([(REFUSED, "starting")], [GONE], 1),
        ([(REFUSED, "")] * 2, [GONE, GONE], 1),  # frozen, gone, or no primary
        ([(SILENT, "restarting")] * 3, [GONE] * 3, 0),
        ([*RESTART, (SILENT, "")], [UP, UNKNOWN, UNKNOWN, GONE], 2),  # the host is lost meanwhile
        ([*RESTART, (REFUSED, "start failed")], [UP, UNKNOWN, UNKNOWN, GONE], 3),
        ([*RESTART, (STARVED, ""), (REFUSED, "starting")], [UP, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN], 3),
        ([(REFUSED, "restarting"), (ANSWERS, "running")] * 2, [UNKNOWN, UP] * 2, 2),
    ],
)
def test_what_a_refusal_means(row: Row, found: list[Reach], asked: int) -> None:
    assert reaches(row) == (found, asked)


def test_it_is_waited_for_so_long_and_no_longer() -> None:
    """Planted: each answer of Patroni began the time anew; a restart that hangs was waited for for ever."""
    row: Row = [(REFUSED, "restarting")] * 12
    most = RESTART_MS // 500
    assert reaches(row) == ([UNKNOWN] * most + [GONE] * (12 - most), most)


@pytest.mark.parametrize(
    ("status", "body", "state"),
    [
        ("503", {"state": "restarting", "role": "primary"}, "restarting"),
        ("200", {"state": "running", "role": "primary"}, "running"),
        ("503", {"state": "restarting", "role": "replica"}, ""),
        ("503", {"state": "starting", "role": "primary", RESTARTS: True}, "restarting"),
        ("503", {"state": "starting", "role": "primary"}, "starting"),  # a crash, or a Patroni from before
        ("503", {"state": "starting", "role": "replica", RESTARTS: True}, ""),
        ("503", {"state": "restarting"}, ""),
        ("503", ["restarting"], ""),
    ],
)
def test_what_patroni_says(status: str, body: object, state: str) -> None:
    with server(f"HTTP/1.0 {status} any\r\n\r\n{json.dumps(body)}".encode()) as port:
        assert state_of_primary("127.0.0.1", port) == state


def test_nobody_says_anything() -> None:
    with server(None) as port:
        assert state_of_primary("127.0.0.1", port) == ""
    assert state_of_primary("127.0.0.1", port) == ""
