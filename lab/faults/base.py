"""What every fault is: injected, proved by observation, healed from any process."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lab.errors import FaultNotActive, FaultNotHealed
from lab.record import Injected

if TYPE_CHECKING:
    from lab.laboratory import Lab

PROOF_S = 5.0
HEAL_LIMIT_S = 20.0


class Fault(ABC):
    """One fault on one target. Injecting or healing twice is the same as once."""

    name: str

    def __init__(self, lab: Lab, target: str) -> None:
        self.lab = lab
        self.target = target
        self.check()

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.target

    @abstractmethod
    def check(self) -> None:
        """Raises BadTarget when this fault cannot hit that target."""

    @abstractmethod
    def inject(self) -> None:
        """Make it happen; returns when it has. Raises LabNotUp."""

    @abstractmethod
    def active(self) -> bool:
        """Whether it acts now, by observation."""

    @abstractmethod
    def heal(self) -> None:
        """Undo it; returns when the target works again as far as this fault goes."""

    @abstractmethod
    def describe(self) -> str:
        """One sentence for a report."""

    def prove(self) -> None:
        """Raises FaultNotActive."""
        if not self.active():
            raise FaultNotActive(f"{self.name} {self.target} had no effect")

    def journaled(self) -> Injected | None:
        """What the journal says of this fault; None when it is not injected."""
        return self.lab.faults.find(self.key)

    def _enter_journal(self, **facts: Any) -> None:
        self.lab.faults.add(Injected(self.name, self.target, time.time(), facts))


def wait(
    holds: Callable[[], bool],
    what: str,
    limit_s: float,
    error: type[FaultNotActive | FaultNotHealed] = FaultNotActive,
) -> None:
    """Wait until something holds. Raises the error when it does not in time."""
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            raise error(f"{what}: still false after {limit_s:g} s")
        time.sleep(0.02)
