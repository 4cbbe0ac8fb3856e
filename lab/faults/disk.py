"""The disk of a database host is full, hangs, or is slow.

In the reference shape data and WAL share one volume, so a full disk is full for both.
"""

from __future__ import annotations

from pathlib import Path

from lab import disks
from lab.disks import Outcome
from lab.errors import BadTarget, FaultNotActive
from lab.faults import background
from lab.faults.base import PROOF_S, Fault, wait

FILLER = ".hanbat-filler"
FULL_PROOF_S, HANG_PROOF_S = 10.0, 0.7
SLOW_CLOSED_S, SLOW_OPEN_S = 0.8, 0.05  # above replication.drag_limit of the reference shape
SLOW_PROOF_S, SLOW_TRIES, SLOW_LIMIT_S = 0.2, 8, 5.0


class DiskFault(Fault):
    """What the three share. One of them a host at a time: each would lift or block the other's work."""

    def check(self) -> None:
        names = [host.name for host in self.lab.topology.hosts if disks.has_disk(host)]
        if self.target not in names:
            raise BadTarget(f"{self.name} takes a database host, not {self.target}", hint=", ".join(names))

    @property
    def point(self) -> Path:
        return disks.point_of(self.lab.machine(self.target))

    def _begin(self) -> None:
        """Into the journal, unless another disk fault is on this host. Call while holding the journal."""
        for row in self.lab.faults.read():
            if row.name.startswith("disk-") and row.target == self.target and row.name != self.name:
                raise BadTarget(f"{self.target} has {row.name} already", hint="heal that one first")
        if self.point not in disks.points_below(self.point):
            raise BadTarget(f"{self.target} has no disk of its own: an older lab; take it down and up")
        self._enter_journal()

    def _probe(self, limit_s: float) -> disks.Probe:
        return disks.probe(self.lab.machine(self.target), limit_s=limit_s)


class DiskFull(DiskFault):
    """No byte is left for PostgreSQL: a file takes all, and takes at once what PostgreSQL frees.

    WAL segments that are there already can still be written, until a new one is needed.
    """

    name = "disk-full"

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            self._begin()
            words = [str(self.point / FILLER), str(background.LIMIT_S)]
            pid = background.begin(self.lab.names, self.key, "disk_filler.py", words)
            self._enter_journal(pid=pid)
        wait(self.active, f"{self.name} {self.target}: postgres gets ENOSPC", FULL_PROOF_S)

    def active(self) -> bool:
        """The user postgres gets ENOSPC for a kilobyte."""
        return self.journaled() is not None and self._probe(PROOF_S).outcome is Outcome.FULL

    def heal(self) -> None:
        with self.lab.faults.change():
            background.end(self.lab.names, self.key)
            if self.journaled() is not None:
                (self.point / FILLER).unlink(missing_ok=True)
                self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"the disk of {self.target} has no byte left for data or WAL"


class DiskHang(DiskFault):
    """Every write blocks in the kernel and neither ends nor fails; what is in memory can be read.

    A power cut of the host thaws the disk: a machine's processes could not die otherwise.
    """

    name = "disk-hang"

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            self._begin()
            disks.freeze(self.point)
        if not self.active():
            raise FaultNotActive(f"{self.name} {self.target}: a write still ends")

    def active(self) -> bool:
        """A small write does not end. It is left behind, and ends when the disk thaws."""
        return self.journaled() is not None and self._probe(HANG_PROOF_S).outcome is Outcome.BLOCKED

    def heal(self) -> None:
        with self.lab.faults.change():
            if self.journaled() is not None:
                disks.thaw_below(self.point)
                self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"the disk of {self.target} hangs: a write neither ends nor fails"


class DiskSlow(DiskFault):
    """The disk takes writes for 50 ms, then none for 800 ms, and so on: a sync lasts up to 0.8 s."""

    name = "disk-slow"

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            if self.journaled() and background.alive(self.lab.names, self.key):
                return
            self._begin()
            times = [SLOW_CLOSED_S, SLOW_OPEN_S, background.LIMIT_S]
            words = [str(self.point), *(str(each) for each in times)]
            pid = background.begin(self.lab.names, self.key, "disk_slower.py", words)
            self._enter_journal(pid=pid)
        wait(self.active, f"{self.name} {self.target}: a small write takes long, and ends", PROOF_S)

    def active(self) -> bool:
        """What slows it lives, and of some small writes one is slow; all of them end."""
        for _ in range(SLOW_TRIES):
            if not background.alive(self.lab.names, self.key):
                return False
            found = self._probe(SLOW_LIMIT_S)
            if found.outcome is Outcome.BLOCKED:
                return False
            if found.outcome is Outcome.WRITTEN and found.seconds >= SLOW_PROOF_S:
                return True
        return False

    def heal(self) -> None:
        with self.lab.faults.change():
            background.end(self.lab.names, self.key)
            if self.journaled() is not None:
                disks.thaw_below(self.point)
                self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"the disk of {self.target} is slow: a sync takes up to {SLOW_CLOSED_S:g} s"
