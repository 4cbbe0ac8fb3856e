"""When a standby was not in /sync, from the journal of the probes. Pure; None is not seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Absence:
    """Of one standby that /sync named at the fault. Durations in seconds."""

    left_s: float | None  # from the fault to the first /sync without it
    stayed: bool  # no later /sync named it before the heal
    back_s: float | None  # from the heal to the first /sync with it

    def told_left(self) -> str:
        if self.left_s is None:
            return "did not leave"
        return f"{self.left_s:.1f} s" + ("" if self.stayed else ", and came back before the heal")

    def told_back(self) -> str:
        return "was not seen back" if self.back_s is None else f"{self.back_s:.1f} s"


def absences(
    probes: Iterable[Mapping[str, Any]], fault: float, heal: float, until: float
) -> dict[str, Absence]:
    """By name. Ordered by the revision of /sync: answers of several members of etcd cross."""
    found: dict[int, tuple[float, frozenset[str]]] = {}
    for record in probes:
        if record["probe"] != "leader" or record.get("sync") is None or record["seen_at"] > until:
            continue
        at, revision = record["seen_at"], record["sync_revision"]
        if revision not in found or at < found[revision][0]:
            found[revision] = (at, frozenset(record["sync"]))
    states = [state for _, state in sorted(found.items())]
    before = [names for at, names in states if at <= fault]
    return {name: _absence(name, states, fault, heal) for name in (before[-1] if before else ())}


def _absence(name: str, states: list[tuple[float, frozenset[str]]], fault: float, heal: float) -> Absence:
    under = [(at, name in names) for at, names in states if fault < at < heal]
    without = next((place for place, (_, named) in enumerate(under) if not named), None)
    back = next((at - heal for at, names in states if at >= heal and name in names), None)
    if without is None:
        return Absence(None, False, back)
    stayed = not any(named for _, named in under[without:])
    return Absence(under[without][0] - fault, stayed, back)
