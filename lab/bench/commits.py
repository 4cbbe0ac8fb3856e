"""What zero loss costs: commits acknowledged by all sync standbys against commits flushed locally.

pgbench on the primary's machine, one small INSERT a transaction, both ways side by side in alternating
rounds. What is compared is the ratio; the absolute figures are of this computer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from hanbat.topology import HostRole
from lab.errors import LabError
from lab.laboratory import Lab

CLIENTS = (1, 16, 64)
WAYS = {"zero_loss": "on", "local": "local"}  # synchronous_commit
PGBENCH = "/usr/lib/postgresql/{version}/bin/pgbench"
TABLE = "CREATE TABLE IF NOT EXISTS public.hanbat_bench (id bigserial PRIMARY KEY, note text)"
SCRIPT = "INSERT INTO public.hanbat_bench (note) VALUES ('benchmark');\n"
TPS = re.compile(r"^tps = ([0-9.]+) \(without initial connection time\)", re.MULTILINE)
LATENCY = re.compile(r"^latency average = ([0-9.]+) ms", re.MULTILINE)
FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Round:
    """One run of pgbench. `latency_ms` is its average."""

    clients: int
    way: str
    tps: float
    latency_ms: float


@dataclass(frozen=True, slots=True)
class Compared:
    """Medians over the rounds of one number of clients."""

    clients: int
    rounds: int
    zero_loss_tps: float
    local_tps: float
    zero_loss_ms: float
    local_ms: float

    @property
    def ratio(self) -> float:
        """Throughput with zero loss as a share of the local one."""
        return self.zero_loss_tps / self.local_tps


def parsed(text: str, clients: int, way: str) -> Round:
    """Raises ValueError for what pgbench did not print, and for failed transactions."""
    tps, latency, failed = TPS.search(text), LATENCY.search(text), FAILED.search(text)
    if not tps or not latency:
        raise ValueError(f"no result of pgbench in: {text[-300:]}")
    if failed and int(failed.group(1)):
        raise ValueError(f"{failed.group(1)} transactions failed")
    return Round(clients, way, float(tps.group(1)), float(latency.group(1)))


def compared(rounds: Sequence[Round]) -> tuple[Compared, ...]:
    """Raises statistics.StatisticsError when one way has no round."""

    def of(clients: int, way: str, figure: str) -> float:
        return median(getattr(one, figure) for one in rounds if (one.clients, one.way) == (clients, way))

    made = []
    for clients in sorted({one.clients for one in rounds}):
        number = sum((one.clients, one.way) == (clients, "zero_loss") for one in rounds)
        figures = [of(clients, way, figure) for figure in ("tps", "latency_ms") for way in WAYS]
        made.append(Compared(clients, number, *figures))
    return tuple(made)


def measure(lab: Lab, primary: str, *, rounds: int, seconds: int, say: Say) -> tuple[Round, ...]:
    """Runs on a lab that is up and whole. Raises LabError when pgbench fails. The table is dropped again."""
    _psql(lab, primary, TABLE)
    done: list[Round] = []
    try:
        for number in range(1, rounds + 1):
            for clients in CLIENTS:
                for way in WAYS:
                    done.append(_round(lab, primary, clients, way, seconds))
                    one = done[-1]
                    say(f"round {number}, {clients} clients, {way}: {one.tps:.0f}/s, {one.latency_ms:.2f} ms")
    finally:
        _psql(lab, primary, "DROP TABLE public.hanbat_bench")
    return tuple(done)


def primary_of(lab: Lab) -> str:
    """The one database host that is not in recovery. Raises LabError when there is none, or two."""
    argv = ["psql", "-h", "/run/postgresql", "-XAtc", "SELECT pg_is_in_recovery()", "postgres"]
    hosts = [host.name for host in lab.topology.hosts_with(HostRole.DB)]
    found = [
        host
        for host in hosts
        if lab.machine(host).run(argv, timeout_s=10, user="postgres").stdout.strip() == "f"
    ]
    if len(found) != 1:
        raise LabError(f"primaries: {', '.join(found) or 'none'}; there must be one")
    return found[0]


def _round(lab: Lab, primary: str, clients: int, way: str, seconds: int) -> Round:
    program = PGBENCH.format(version=lab.topology.postgresql.version)
    options = f"-n -f - -c {clients} -j 2 -T {seconds} -h /run/postgresql -U postgres postgres"
    argv = ["env", f"PGOPTIONS=-c synchronous_commit={WAYS[way]}", program, *options.split()]
    done = lab.machine(primary).run(argv, timeout_s=seconds + 30, stdin=SCRIPT, user="postgres")
    if done.returncode != 0:
        raise LabError(f"pgbench on {primary}: {done.stderr.strip()[-300:]}")
    return parsed(done.stdout, clients, way)


def _psql(lab: Lab, primary: str, sql: str) -> None:
    argv = ["psql", "-h", "/run/postgresql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql, "postgres"]
    done = lab.machine(primary).run(argv, timeout_s=30, user="postgres")
    if done.returncode != 0:
        raise LabError(f"psql on {primary}: {done.stderr.strip()[-300:]}")
