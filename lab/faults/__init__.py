"""Faults: each is injected, proves by observation that it acts, and can be healed from any process.

The journal is written before the effect, so a process that dies in between leaves nothing that another
one could not heal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hanbat.errors import HanbatError, UnknownName
from lab.faults.base import Fault
from lab.faults.clock import Clock
from lab.faults.disk import DiskFull, DiskFullWal, DiskHang, DiskSlow
from lab.faults.flap import Flap
from lab.faults.freeze import Freeze
from lab.faults.links import POWER_CUT
from lab.faults.partition import Partition
from lab.faults.power import PowerCut
from lab.faults.processes import KillProcess, StopProcess
from lab.faults.replication import ReplicationCut
from lab.faults.slow_wan import SlowWan
from lab.faults.units import Kill

if TYPE_CHECKING:
    from lab.laboratory import Lab

__all__ = ["FAULTS", "POWER_CUT", "Fault", "heal_all", "injected", "make_fault"]

FAULTS: dict[str, type[Fault]] = {
    each.name: each
    for each in (
        PowerCut, Partition, ReplicationCut, Flap, SlowWan, Freeze, Kill, KillProcess, StopProcess,
        DiskFull, DiskFullWal, DiskHang, DiskSlow, Clock,
    )
}  # fmt: skip


def make_fault(lab: Lab, name: str, target: str) -> Fault:
    """Raises UnknownName or BadTarget."""
    if name not in FAULTS:
        raise UnknownName(f"no fault is called {name}", hint=f"faults: {', '.join(FAULTS)}")
    return FAULTS[name](lab, target)


def injected(lab: Lab) -> list[Fault]:
    """Every fault that is injected now, the newest first: the order to heal them in."""
    return [make_fault(lab, row.name, row.target) for row in reversed(lab.faults.read())]


def heal_all(lab: Lab, say: Callable[[str], None]) -> list[Fault]:
    """Heal what is injected. One that cannot be healed keeps no other one: its error comes at the end."""
    healed: list[Fault] = []
    first: HanbatError | None = None
    for each in injected(lab):
        try:
            each.heal()
        except HanbatError as error:
            say(f"not healed: {each.name} {each.target}: [{error.code:03d}] {error}")
            first = first or error
        else:
            say(f"healed: {each.name} {each.target}")
            healed.append(each)
    if first is not None:
        raise first
    return healed
