"""The verdict of a drill: a pure function of what is known. Doubt is never a pass."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hanbat.errors import Exit
from lab.drill.case import CheckVerdict


class Verdict(StrEnum):
    """The outcome of a drill."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


EXIT_STATUS = {Verdict.PASSED: Exit.DONE, Verdict.FAILED: Exit.FAILED, Verdict.INCONCLUSIVE: Exit.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Known:
    """What is known at the end. None is not known."""

    audit: CheckVerdict | None
    failed_checks: tuple[str, ...]
    unknown_checks: tuple[str, ...]
    service_failure: str | None  # the service did not do what the scenario requires
    broken_off: str | None  # the drill itself was stopped or could not go on
    rto_seconds: float | None
    rto_limit_s: float
    scheduled_price: int | None
    published_price: int
    asked: frozenset[str] = frozenset({"rto", "tender"})  # what this scenario is to measure
    broken: tuple[str, ...] = ()  # expectations of the scenario that did not hold
    doubtful: tuple[str, ...] = ()  # expectations of which nothing is known


def verdict(known: Known) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and why it is not passed. A proved failure outweighs any doubt."""
    failures = list(_failures(known))
    doubts = list(_doubts(known))
    if failures:
        return Verdict.FAILED, (*failures, *doubts)
    if doubts:
        return Verdict.INCONCLUSIVE, tuple(doubts)
    return Verdict.PASSED, ()


def _failures(known: Known):
    if known.service_failure:
        yield known.service_failure
    if known.audit is CheckVerdict.FAILED:
        yield f"audit failed: {', '.join(known.failed_checks)}"
    yield from known.broken
    if "rto" in known.asked and known.rto_seconds is not None and known.rto_seconds > known.rto_limit_s:
        yield f"rto_seconds {known.rto_seconds:.1f} is over the scenario's limit of {known.rto_limit_s:g}"
    if known.scheduled_price is not None and known.scheduled_price != known.published_price:
        yield f"scheduled price {known.scheduled_price}, published {known.published_price}"


def _doubts(known: Known):
    if known.broken_off:
        yield known.broken_off
    if known.audit is None:
        yield "no audit was made"
    if known.audit is CheckVerdict.UNKNOWN:
        yield f"audit in doubt: {', '.join(known.unknown_checks)}"
    yield from known.doubtful
    if known.rto_seconds is None and "rto" in known.asked:
        yield "rto_seconds was not measured"
    if known.scheduled_price is None and "tender" in known.asked:
        yield "the official tender was not opened"
