"""Single programs of a machine are killed or stopped, found among its processes by what they are.

All of it is read in /proc and done with signals from the computer, so it works whatever the machine's
own systemd can do at that moment.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from lab.errors import BadTarget, FaultNotHealed
from lab.faults.base import HEAL_LIMIT_S, PROOF_S, Fault, wait

POSTGRES, PATRONI, ETCD, FAILOVER = "postgres", "patroni", "etcd", "failover"
UNITS = {
    POSTGRES: "hanbat-patroni",
    PATRONI: "hanbat-patroni",
    ETCD: "hanbat-etcd",
    FAILOVER: "hanbat-failover",
}
SWITCHOVER = "switchover"  # of no unit: a person gave the command
PROGRAMS = (*UNITS, SWITCHOVER)


@dataclass(frozen=True, slots=True)
class Process:
    """One process. A number is used again one day; with its start it is not."""

    pid: int
    started: int  # ticks since the computer's boot
    parent: int
    state: str
    program: str  # the file that it runs, without its folder
    unit: str

    @property
    def mark(self) -> list[int]:
        return [self.pid, self.started]


def read(pid: int) -> Process | None:
    """A process as it is now; None when it is gone or dead."""
    folder = Path(f"/proc/{pid}")
    try:
        fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rsplit(")", 1)[1].split()
        program = (folder / "exe").readlink().name.removesuffix(" (deleted)")
        groups = (folder / "cgroup").read_text(encoding="utf-8")
    except OSError:
        return None
    units = [part for line in groups.splitlines() for part in line.split("/") if part.endswith(".service")]
    if fields[0] in "ZX":
        return None
    unit = units[-1].removesuffix(".service") if units else ""
    return Process(pid, int(fields[19]), int(fields[1]), fields[0], program, unit)


def chosen(processes: Iterable[Process], program: str) -> list[Process]:
    """Those that make up a program of a unit, parents before their children."""
    by_pid = {each.pid: each for each in processes}
    servers = _with_children(by_pid, {pid for pid, each in by_pid.items() if each.program == "postgres"})
    unit = UNITS[program]
    if program == POSTGRES:
        found = servers
    elif program in (PATRONI, FAILOVER):
        inside = {pid for pid, each in by_pid.items() if each.unit == unit}
        found = {pid for pid in inside - servers if by_pid[pid].program.startswith("python")}
    else:
        found = {pid for pid, each in by_pid.items() if each.unit == unit and each.program == "etcd"}
    return sorted((by_pid[pid] for pid in found), key=lambda each: (each.started, each.pid))


def _with_children(by_pid: Mapping[int, Process], roots: set[int]) -> set[int]:
    """PostgreSQL's processes and what they started, such as an archive command."""
    found = set(roots)
    while more := {pid for pid, each in by_pid.items() if each.parent in found} - found:
        found |= more
    return found


def commanded(leader: int | None, command: str) -> list[Process]:
    """`hanbat COMMAND` in the machine of this first process, however it was entered: by its PID namespace."""
    return [found for pid in _fellows(leader) if _is_command(pid, command) and (found := read(pid))]


def _fellows(leader: int | None) -> list[int]:
    def space(pid: int | None) -> Path | None:
        try:
            return Path(f"/proc/{pid}/ns/pid").readlink()
        except OSError:
            return None

    mine = space(leader)
    every = (int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit())
    return [pid for pid in every if mine and space(pid) == mine]


def _is_command(pid: int, command: str) -> bool:
    """The interpreter itself, not what wraps it: `timeout 40 hanbat switchover` lives on."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return False
    return words[0].rpartition("/")[2].startswith("python") and any(
        first.endswith("/hanbat") and then == command for first, then in pairwise(words)
    )


class _OneProgram(Fault):
    """What `kill-process` and `stop-process` share."""

    def check(self) -> None:
        self.host, _, self.program = self.target.partition(":")
        if self.host not in self.lab.machines or self.program not in PROGRAMS:
            raise BadTarget(f"{self.name} takes HOST:{'|'.join(PROGRAMS)}, not {self.target}")

    @property
    def unit(self) -> str:
        return UNITS[self.program]

    def now(self) -> list[Process]:
        """The program's processes now."""
        if self.program == SWITCHOVER:
            return commanded(self.lab.machine(self.host).leader(), SWITCHOVER)
        found = (read(pid) for pid in self.lab.machine(self.host).group.processes())
        return chosen([each for each in found if each], self.program)

    def _some(self) -> list[Process]:
        found = self.now()
        if not found:
            raise BadTarget(f"{self.host}: {self.program} does not run, so there is nothing to hit")
        return found

    def marked(self) -> list[list[int]]:
        """Numbers and starts of the processes that were hit."""
        row = self.journaled()
        facts: dict[str, Any] = row.facts if row else {}
        return facts.get("processes", [])


def _signal(processes: Iterable[Process], number: signal.Signals) -> None:
    for each in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(each.pid, number)


def _alive(mark: list[int]) -> Process | None:
    """The marked process, unless it is gone and its number used again."""
    found = read(mark[0])
    return found if found and found.started == mark[1] else None


class KillProcess(_OneProgram):
    """SIGKILL to one program: `postgres` (Patroni lives on), `patroni` (PostgreSQL lives on), `etcd`,
    `failover` (observer and controller), `switchover` (the command that somebody gave).

    Who is to start it again does so: Patroni starts PostgreSQL, systemd the others, nobody a command.
    """

    name = "kill-process"

    def inject(self) -> None:
        self.lab.require_up()
        if self.active():
            return
        found = self._some()
        with self.lab.faults.change():
            self._enter_journal(processes=[each.mark for each in found])
        _signal(found, signal.SIGKILL)
        wait(self.active, f"{self.name} {self.target}: its processes are gone", PROOF_S)

    def active(self) -> bool:
        """Every process that was hit is gone, and the fault was not healed since."""
        marks = self.marked()
        return bool(marks) and not any(_alive(mark) for mark in marks)

    def heal(self) -> None:
        """Start the unit if systemd has not yet. PostgreSQL is Patroni's to start, or not to."""
        if self.journaled() is None:
            return
        machine = self.lab.machine(self.host)
        if machine.running() and self.program != SWITCHOVER:
            self.lab.run(self.host, ["systemctl", "start", self.unit], timeout_s=HEAL_LIMIT_S)
            if self.program != POSTGRES:
                what = f"heal {self.name} {self.target}: it runs again"
                wait(lambda: bool(self.now()), what, HEAL_LIMIT_S, FaultNotHealed)
        with self.lab.faults.change():
            self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"{self.program} on {self.host} was killed"


class StopProcess(_OneProgram):
    """SIGSTOP to one program: it stands still, and its connections stay open and silent."""

    name = "stop-process"

    def inject(self) -> None:
        self.lab.require_up()
        found = self._some()
        with self.lab.faults.change():
            self._enter_journal(processes=[each.mark for each in found])

        def stopped() -> bool:
            _signal((each for each in self.now() if each.state != "T"), signal.SIGSTOP)
            return self.active()

        wait(stopped, f"{self.name} {self.target}: all its processes stand still", PROOF_S)
        with self.lab.faults.change():
            self._enter_journal(processes=[each.mark for each in self.now()])

    def active(self) -> bool:
        """All of its processes are in state T (stopped)."""
        found = self.now()
        return bool(found) and all(each.state == "T" for each in found)

    def heal(self) -> None:
        with self.lab.faults.change():
            if self.journaled() is None:
                return
            marked = [each for mark in self.marked() if (each := _alive(mark))]
            _signal([*self.now(), *marked], signal.SIGCONT)
            self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"{self.program} on {self.host} stands still, its connections stay open"
