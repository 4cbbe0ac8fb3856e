"""A matrix scenario as data: what is done to whom, what must hold, and every bound.

Targets are written with roles in braces (`{primary}:postgres`, `{home}-{backup}`), because who plays a role
is known only when the drill runs. A role that several hosts play makes one fault for each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from random import Random
from string import Formatter
from typing import Any

from lab.drill.matrix_edges import CUT_BACK_S
from lab.drill.scenario import Bounds, Scenario

Range = tuple[float, float]  # seconds, drawn by the seed
Cast = Mapping[str, tuple[str, ...]]  # role -> who plays it now

ROLES: dict[str, str] = {
    "primary": "the primary's host",
    "in_site_standby": "the sync standby at the primary's site",
    "backup_db": "the database host of the backup site",
    "home": "the site of the primary",
    "backup": "the backup site",
    "witness": "the host of the witness site",
    "etcd_leader": "the host of the leader of etcd",
    "etcd_hosts": "each host of etcd",
    "db_hosts": "each database host",
    "sites": "each site",
}


class Once(StrEnum):
    """A moment of a handover, as etcd tells it."""

    HELD = "held"  # the hold and the offer are written
    LOCKED = "locked"  # the candidate has taken the lock


@dataclass(frozen=True, slots=True)
class Break:
    """One fault by its name in `lab.faults`.

    `once`: the pause begins when this moment of the switchover under way was seen.
    """

    fault: str
    target: str
    after_s: Range = (0.0, 0.0)
    once: Once | None = None


@dataclass(frozen=True, slots=True)
class Mend:
    """Heals one fault before all others: the one with this name and target."""

    fault: str
    target: str
    after_s: Range = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Switchover:
    """A planned switchover. Unless `wait`, the next step comes while it is under way."""

    to: str
    after_s: Range = (0.0, 0.0)
    wait: bool = True


Step = Break | Mend | Switchover


@dataclass(frozen=True, slots=True)
class Insiders:
    """Clients who stand at an application host of a site and write to the old primary, whoever it is now.

    Some write straight to PostgreSQL, past every pooler and edge; of them some cancel a COMMIT that waits.
    """

    site: str  # its role
    direct: int = 4
    at_edge: int = 2
    cancelling: int = 2
    period_s: float = 0.25  # between two writes of each


@dataclass(frozen=True, slots=True)
class Expect:
    """What must hold. Durations are what clients see, in seconds.

    `primary_at`: roles that may have the primary while the fault lasts; the first is the one expected.
    `takeovers`: how many promotions may happen, at least and at most, until the cluster is whole again.
    `outage_s`: the longest a client stream with a way in may be without an acknowledgement, fault to heal.
    `wait_s`: the longest a single client may wait for one operation, its own time-outs and tries counted in.
    Without a word `outage_s`, and ASKED_IN_VAIN_S more where an edge has no way in.
    `outage_expected`: nobody is served before the heal; then `return_s` is the limit after it.
    `no_way_in`: roles of sites whose edge leads nowhere while the fault lasts; `way_back_s` after the heal
    it counts again at the latest (`matrix_edges`).
    """

    primary_at: tuple[str, ...]
    takeovers: tuple[int, int] = (0, 0)
    outage_s: float = 5.0
    wait_s: float | None = None
    outage_expected: bool = False
    return_s: float = 60.0
    hold_s: float = 5.0
    heal_outage_s: float = 1.5
    heal_failed_requests: int = 0
    no_way_in: tuple[str, ...] = ()
    way_back_s: float = CUT_BACK_S
    no_failed_request: bool = False  # also while the "fault" acts: for a switchover
    slowest_request_s: float | None = None
    insiders: Insiders | None = None
    answers_held: bool = False  # what was sent before may be answered when the frozen primary wakes
    cancels: bool = False  # a cancelled COMMIT must have been seen there
    leaves_sync: tuple[str, ...] = ()  # roles that must be out of /sync until the heal, and then back
    leaves_within_s: float = 12.0
    back_within_s: float = 20.0
    poolers_release_s: float | None = None  # from the fault on: the hold is gone, every pooler is open
    not_asked: tuple[str, ...] = ()  # checks of the audit that this fault makes meaningless


# A client's time-out (`LoadPlan.request_timeout_s`) and its pause before it asks the next edge (Retry-After).
TRY_S = 3.0
ASKED_IN_VAIN_S = 2 * TRY_S  # it takes the edges in turn, and may meet the one without a way in so often
TRIES_S = 4 * TRY_S  # while a line goes on being bad, several tries may find it so


def wait_limit_s(expect: Expect) -> float:
    """How long one client may wait for one operation, in seconds."""
    if expect.wait_s is not None:
        return expect.wait_s
    return expect.outage_s + (ASKED_IN_VAIN_S if expect.no_way_in else 0.0)


# A drill of the matrix is short: few parties, quick lives of tenders, no official tender.
MATRIX_BOUNDS = Bounds(
    steady_s=45.0,
    steady_hold_s=1.5,
    takeover_s=45.0,
    rejoin_s=90.0,
    switchover_s=40.0,
    fault_proof_s=10.0,
    outage_s=60.0,
    load_s=400.0,
)


@dataclass(frozen=True, slots=True)
class MatrixScenario(Scenario):
    """A scenario of the fault matrix."""

    steps: tuple[Step, ...] = ()
    expect: Expect = field(default_factory=lambda: Expect(("{primary}",)))


def scenario(
    name: str,
    titles: tuple[str, str],
    holds: tuple[str, str],
    steps: tuple[Step, ...],
    expect: Expect,
    bounds: Bounds = MATRIX_BOUNDS,
) -> MatrixScenario:
    """`titles` and `holds` (what must hold, in one line) are Korean and English."""
    return MatrixScenario(
        name=name,
        title_ko=titles[0],
        title_en=titles[1],
        summary_ko=holds[0],
        summary_en=holds[1],
        fault="",
        bounds=bounds,
        official_bidding_s=0,
        steps=steps,
        expect=expect,
    )


def roles_in(text: str) -> list[str]:
    """The roles that a target or an expectation names. Raises KeyError for a word that is no role."""
    names = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    for name in names:
        ROLES[name]
    return names


def resolve(text: str, cast: Cast) -> tuple[str, ...]:
    """All targets that a text stands for. Raises KeyError for a role that nobody plays."""
    names = sorted(set(roles_in(text)))
    choices = product(*(cast[name] for name in names))
    return tuple(text.format(**dict(zip(names, chosen, strict=True))) for chosen in choices)


def resolve_all(texts: tuple[str, ...], cast: Cast) -> frozenset[str]:
    """Everything that several texts stand for."""
    return frozenset(found for text in texts for found in resolve(text, cast))


def pauses(steps: tuple[Step, ...], seed: int, name: str) -> tuple[float, ...]:
    """The pause before each step: the same seed gives the same pauses."""
    random = Random(f"{seed}/{name}/pauses")
    return tuple(round(random.uniform(*step.after_s), 3) for step in steps)


def as_plain(value: Any) -> Any:
    """Tuples as lists, for JSON that reads back equal."""
    return [as_plain(each) for each in value] if isinstance(value, tuple | list) else value
