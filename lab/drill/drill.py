"""A running drill: the lab, the load, the clock and the timeline that a scenario's steps share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from hanbat.topology import Site, SiteRole
from lab.drill.audit import Audit
from lab.drill.clock import Clock
from lab.drill.errors import ServiceFailed
from lab.drill.evidence import Evidence
from lab.drill.journal import attempts
from lab.drill.middle import Middle
from lab.drill.operations import Attempt, Operation
from lab.drill.plan import LoadPlan
from lab.drill.scenario import Scenario

Report = Callable[[float, str, str, str], None]  # seconds, event, host, detail


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the timeline; `at` is in seconds since the epoch."""

    at: float
    event: str
    host: str
    detail: str


@dataclass
class Drill:
    """What the steps of a scenario work on and leave behind."""

    lab: Any  # lab.laboratory.Lab
    scenario: Scenario
    run_id: str
    seed: int
    clock: Clock
    plan: LoadPlan
    evidence: Evidence
    report: Report
    events: list[Event] = field(default_factory=list)
    steps: dict[str, float] = field(default_factory=dict)
    moments: dict[str, float] = field(default_factory=dict)
    opening: dict[str, Any] | None = None
    official_tender: str | None = None
    wan: str = "unknown"  # how the lab makes its WAN: netem or wirefilter
    operations: tuple[Operation, ...] = ()
    audit: Audit | None = None
    cast: dict[str, tuple[str, ...]] = field(default_factory=dict)  # who plays which role, from steady on
    served_under: str | None = None  # the primary just before the heal
    middle: Middle | None = None  # of the switchover that a fault was to strike in its middle
    has_switchover: bool | None = None  # whether the product has `hanbat switchover`; None: not asked yet
    failures: list[str] = field(default_factory=list)  # what the service owed and did not do

    @property
    def run(self) -> str:
        """What every idempotency key of this run begins with."""
        return self.plan.run

    @property
    def home(self) -> Site:
        return self.lab.topology.site_with(SiteRole.PRIMARY)

    @property
    def backup(self) -> Site:
        return self.lab.topology.site_with(SiteRole.BACKUP)

    def plan_with_key(self) -> LoadPlan:
        """The load's plan with the operator's key. Raises LabNotUp before the lab is up."""
        return replace(self.plan, operator_key=self.lab.secrets.app_operator_key)

    def attempts(self) -> tuple[Attempt, ...]:
        """All attempts of all clients, those inside a site among them."""
        return (*attempts(self.evidence.operations), *attempts(self.evidence.inside))

    def note(self, event: str, host: str = "", detail: str = "") -> float:
        """Adds an event to the timeline and shows it; answers its time."""
        at = self.clock.now()
        self.events.append(Event(at, event, host, detail))
        self.report(at - self.clock.wall, event, host, detail)
        return at

    @contextmanager
    def owed(self) -> Iterator[None]:
        """What the service owes: its absence is written down, and the drill goes on to its end."""
        try:
            yield
        except ServiceFailed as error:
            self.failures.append(str(error))
            self.note("service_failed", "", str(error))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures a step, also one that fails."""
        start = self.clock.now()
        try:
            yield
        finally:
            self.steps[name] = self.clock.now() - start
