"""The disks of a database host: one of the two is full, or both hang, or both are slow.

Data and WAL have a volume each. A full one is full alone. What hangs or is slow is the storage below: both.
"""

from __future__ import annotations

import time
from pathlib import Path

from lab import disks
from lab.disks import DATA, DISKS, WAL, Disk, Outcome
from lab.errors import BadTarget, CommandTimedOut, FaultNotActive
from lab.faults import background, wal_filler
from lab.faults.base import PROOF_S, Fault, wait

FILLER = ".hanbat-filler"
FULL_PROOF_S, HANG_PROOF_S = 10.0, 0.7
SLOW_CLOSED_S, SLOW_OPEN_S = 0.8, 0.05  # above replication.drag_limit of the reference shape
SLOW_PROOF_S, SLOW_LIMIT_S = 0.2, 5.0
SLOW_TRIES_S = SLOW_CLOSED_S + 2 * SLOW_OPEN_S  # one of the writes in this time meets a closed disk
SWITCH_LIMIT_S, SWITCHES = 3.0, 5
# A record into the segment, and on to the next one.
SWITCH = "SELECT pg_logical_emit_message(false, 'hanbat', 'to the end'), pg_switch_wal()"


class DiskFault(Fault):
    """What they share. One of them a host at a time: each would lift or block the other's work."""

    beside: frozenset[str] = frozenset()  # faults that may be on the same host

    def check(self) -> None:
        names = [host.name for host in self.lab.topology.hosts if disks.has_disks(host)]
        if self.target not in names:
            raise BadTarget(f"{self.name} takes a database host, not {self.target}", hint=", ".join(names))

    def _point(self, disk: Disk) -> Path:
        return disks.point_of(self.lab.machine(self.target), disk)

    def _begin(self) -> None:
        """Into the journal, unless another disk fault is on this host. Call while holding the journal."""
        for row in self.lab.faults.read():
            allowed = {self.name, *self.beside}
            if row.name.startswith("disk-") and row.target == self.target and row.name not in allowed:
                raise BadTarget(f"{self.target} has {row.name} already", hint="heal that one first")
        if {self._point(disk) for disk in DISKS} != set(
            disks.points_below(self.lab.machine(self.target).root)
        ):
            raise BadTarget(f"{self.target} lacks a disk of its own: an older lab; take it down and up")
        self._enter_journal()

    def _probe(self, disk: Disk, limit_s: float) -> disks.Probe:
        return disks.probe(self.lab.machine(self.target), disk, limit_s=limit_s)


class DiskFull(DiskFault):
    """No byte is left for data: a file takes all, and takes at once what PostgreSQL frees.

    A commit that needs no new page goes on: WAL has its own volume.
    """

    name = "disk-full"
    beside = frozenset({"disk-full-wal"})  # both together: as on a host whose data and WAL share a volume
    disk, script = DATA, "disk_filler.py"

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            self._begin()
            words = [str(self._point(self.disk) / FILLER), str(background.LIMIT_S)]
            pid = background.begin(self.lab.names, self.key, self.script, words)
            self._enter_journal(pid=pid)
        wait(self.active, f"{self.name} {self.target}: postgres gets ENOSPC", FULL_PROOF_S)

    def active(self) -> bool:
        """The user postgres gets ENOSPC for a kilobyte."""
        return self.journaled() is not None and self._probe(self.disk, PROOF_S).outcome is Outcome.FULL

    def heal(self) -> None:
        with self.lab.faults.change():
            background.end(self.lab.names, self.key)
            if self.journaled() is not None:
                (self._point(self.disk) / FILLER).unlink(missing_ok=True)
                self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"the disk of {self.target} has no byte left for data"


class DiskFullWal(DiskFull):
    """No byte is left for WAL, nor a segment that PostgreSQL holds ready for later.

    As where something keeps all WAL from being removed. A primary's WAL is moved on to the end of what it
    has: the next record finds no room, and PostgreSQL ends every session (PANIC).
    """

    name = "disk-full-wal"
    beside = frozenset({"disk-full"})
    disk, script = WAL, "wal_filler.py"

    def inject(self) -> None:
        super().inject()
        wait(self._none_ready, f"{self.name} {self.target}: no segment is held ready", FULL_PROOF_S)
        for _ in range(SWITCHES):
            if not self._next_segment():
                return

    def active(self) -> bool:
        """The user postgres gets ENOSPC for a kilobyte, and no segment is held ready."""
        return super().active() and self._none_ready()

    def _none_ready(self) -> bool:
        return not wal_filler.held_ready(self._point(self.disk))

    def _next_segment(self) -> bool:
        """Whether there was a primary, and a segment for it to go on to."""
        words = ["psql", "-X", "-q", "-d", "postgres", "-c", SWITCH]
        try:
            done = self.lab.run(self.target, words, timeout_s=SWITCH_LIMIT_S, user="postgres")
        except CommandTimedOut:
            return False
        return done.returncode == 0

    def describe(self) -> str:
        return f"the disk of {self.target} has no byte left for WAL"


class DiskHang(DiskFault):
    """Every write blocks in the kernel and neither ends nor fails; what is in memory can be read.

    A power cut of the host thaws the disks: a machine's processes could not die otherwise.
    """

    name = "disk-hang"

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            self._begin()
            for disk in DISKS:
                disks.freeze(self._point(disk))
        if not self.active():
            raise FaultNotActive(f"{self.name} {self.target}: a write still ends")

    def active(self) -> bool:
        """A small write does not end, to none of them. It is left behind, and ends when the disk thaws."""
        return self.journaled() is not None and all(
            self._probe(disk, HANG_PROOF_S).outcome is Outcome.BLOCKED for disk in DISKS
        )

    def heal(self) -> None:
        with self.lab.faults.change():
            if self.journaled() is not None:
                disks.thaw_below(self.lab.machine(self.target).root)
                self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"the disks of {self.target} hang: a write neither ends nor fails"


class DiskSlow(DiskFault):
    """The disks take writes for 50 ms, then none for 800 ms, and so on: a sync lasts up to 0.8 s."""

    name = "disk-slow"

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            if self.journaled() and background.alive(self.lab.names, self.key):
                return
            self._begin()
            times = [SLOW_CLOSED_S, SLOW_OPEN_S, background.LIMIT_S]
            words = [str(each) for each in (*times, *(self._point(disk) for disk in DISKS))]
            pid = background.begin(self.lab.names, self.key, "disk_slower.py", words)
            self._enter_journal(pid=pid)
        wait(self.active, f"{self.name} {self.target}: a small write takes long, and ends", PROOF_S)

    def active(self) -> bool:
        """What slows them lives, and of some small writes to each one is slow; all of them end."""
        return all(self._is_slow(disk) for disk in DISKS)

    def _is_slow(self, disk: Disk) -> bool:
        end = time.monotonic() + SLOW_TRIES_S
        while time.monotonic() < end:
            if not background.alive(self.lab.names, self.key):
                return False
            found = self._probe(disk, SLOW_LIMIT_S)
            if found.outcome is Outcome.BLOCKED:
                return False
            if found.outcome is Outcome.WRITTEN and found.seconds >= SLOW_PROOF_S:
                return True
        return False

    def heal(self) -> None:
        with self.lab.faults.change():
            background.end(self.lab.names, self.key)
            if self.journaled() is not None:
                disks.thaw_below(self.lab.machine(self.target).root)
                self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"the disks of {self.target} are slow: a sync takes up to {SLOW_CLOSED_S:g} s"
