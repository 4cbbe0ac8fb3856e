"""Injects the faults of a matrix scenario, one step after the other, and heals them all."""

from __future__ import annotations

import time

from hanbat.errors import HanbatError
from lab.drill import matrix
from lab.drill.drill import Drill
from lab.drill.errors import FaultWithoutEffect
from lab.drill.handover import hand_over
from lab.drill.matrix import Break, Mend, Step, Switchover
from lab.drill.planned import Planned
from lab.faults import make_fault

JOIN_S = 45.0


class Breaker:
    """The faults of one drill. `mend` is safe to call at any time, also when `strike` did not end."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self._injected: list[tuple[str, str]] = []  # (name, target), the oldest first
        self._planned: Planned | None = None

    def strike(self) -> None:
        """All steps, with the pauses that the seed gives. Raises FaultWithoutEffect."""
        drill, scenario = self._drill, self._drill.scenario
        assert isinstance(scenario, matrix.MatrixScenario)
        for step, pause_s in zip(
            scenario.steps, matrix.pauses(scenario.steps, drill.seed, scenario.name), strict=True
        ):
            self._await_moment(step)
            time.sleep(pause_s)
            drill.moments.setdefault("fault", drill.clock.now())
            drill.moments["struck"] = drill.clock.now()
            self._take(step)

    def _await_moment(self, step: Step) -> None:
        """Raises FaultWithoutEffect when the moment does not come."""
        if isinstance(step, Break) and step.once is not None:
            if self._planned is None:
                raise FaultWithoutEffect("no switchover is under way")
            self._planned.wait(step.once, JOIN_S)

    def _take(self, step: Step) -> None:
        if isinstance(step, Switchover):
            self._switch_over(step)
        elif isinstance(step, Mend):
            for target in matrix.resolve(step.target, self._drill.cast):
                self._heal(step.fault, target)
        else:
            self._break(step)

    def _break(self, step: Break) -> None:
        faults = [
            make_fault(self._drill.lab, step.fault, target)
            for target in matrix.resolve(step.target, self._drill.cast)
        ]
        for fault in faults:
            self._injected.append((fault.name, fault.target))
            fault.inject()
            self._drill.moments["in_force"] = self._drill.clock.now()
            self._drill.note("fault_active", fault.target, fault.describe())
        for fault in faults:
            if not fault.active():
                raise FaultWithoutEffect(f"{fault.name} {fault.target} does not act")
        self._drill.note("fault_proved", ", ".join(fault.target for fault in faults), step.fault)

    def _switch_over(self, step: Switchover) -> None:
        """Under way in a thread of its own when the next step is to fall into its middle."""
        (candidate,) = matrix.resolve(step.to, self._drill.cast)
        self._drill.note("switchover", candidate, "planned, under load")
        if step.wait:
            hand_over(self._drill, candidate)
            return
        self._planned = Planned(self._drill, candidate, JOIN_S - 5.0)
        self._planned.begin()

    def mend(self) -> None:
        """Heals what is left, the newest first; one that cannot be healed does not keep the others."""
        drill = self._drill
        drill.moments["heal"] = drill.clock.now()
        failed: HanbatError | None = None
        for name, target in reversed(list(self._injected)):
            try:
                self._heal(name, target)
            except HanbatError as error:
                drill.note("heal_failed", target, str(error))
                failed = failed or error
        if self._planned is not None:
            self._planned.finish(JOIN_S)
            moments = drill.moments
            drill.middle = self._planned.middle(moments.get("struck"), moments.get("in_force"))
        if failed is not None:
            raise failed

    def _heal(self, name: str, target: str) -> None:
        make_fault(self._drill.lab, name, target).heal()
        self._injected.remove((name, target))
        self._drill.note("healed", target, name)
