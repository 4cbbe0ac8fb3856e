"""The expectations of a matrix scenario, each a pure function of what was seen. Doubt is never a pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from lab.drill.case import CheckVerdict
from lab.drill.matrix import Expect, wait_limit_s
from lab.drill.matrix_facts import Facts
from lab.drill.matrix_unprotected import covers

SHOWN = 3  # failed requests that are named


@dataclass(frozen=True, slots=True)
class Wanted:
    """The expectations with their roles filled in."""

    expect: Expect
    allowed: frozenset[str]  # hosts that may have the primary while the fault lasts
    leaving: frozenset[str] = frozenset()  # hosts that must be out of /sync until the heal


@dataclass(frozen=True, slots=True)
class Held:
    """One expectation: what was wanted, what was seen, and what that says."""

    name: str
    verdict: CheckVerdict
    wanted: str
    seen: str


def _held(name: str, truth: bool | None, wanted: str, seen: str) -> Held:
    verdict = {True: CheckVerdict.PASSED, False: CheckVerdict.FAILED, None: CheckVerdict.UNKNOWN}[truth]
    return Held(name, verdict, wanted, seen)


def _within(name: str, seen: float | None, limit: float) -> Held:
    """Seconds that must not be above a limit."""
    truth, said = (None, "unknown") if seen is None else (seen <= limit, f"{seen:.2f} s")
    return _held(name, truth, f"{limit:g} s", said)


def primary_where_expected(facts: Facts, wanted: Wanted) -> Held | None:
    """Just before the heal the primary is where it may be. Not asked where nobody is to serve."""
    if wanted.expect.outage_expected:
        return None
    where = " or ".join(sorted(wanted.allowed))
    truth = None if facts.under is None else facts.under in wanted.allowed
    return _held("primary_where_expected", truth, where, facts.under or "nobody, or not seen")


def nothing_moves_alone(facts: Facts, wanted: Wanted) -> Held | None:
    """Without a majority no other host becomes primary before the heal."""
    if not wanted.expect.outage_expected:
        return None
    seen = facts.primaries_under
    others = sorted((seen or frozenset()) - {facts.old})
    said = "nobody was asked" if seen is None else ", ".join(others) or "none"
    truth = None if seen is None else not others
    return _held("nothing_moves_alone", truth, "no other primary before the heal", said)


def takeovers_as_expected(facts: Facts, wanted: Wanted) -> Held:
    """Neither a takeover that is missing nor a needless one."""
    low, high = wanted.expect.takeovers
    text = f"{low}" if low == high else f"{low} to {high}"
    seen = facts.takeovers
    truth = None if seen is None else low <= seen <= high
    return _held("takeovers_as_expected", truth, text, "unknown" if seen is None else str(seen))


def no_false_alarm(facts: Facts, wanted: Wanted) -> Held:
    """The controllers take the lock no more often than a takeover may happen."""
    high, seen = wanted.expect.takeovers[1], facts.operations
    truth = None if seen is None else seen <= high
    return _held("no_false_alarm", truth, f"at most {high}", "unknown" if seen is None else str(seen))


def epochs_only_rise(facts: Facts, wanted: Wanted) -> Held:
    """The epoch of the controllers' operations never goes back."""
    falls = [
        f"{a} to {b} by {host}" for host, told in facts.epochs.items() for a, b in pairwise(told) if b < a
    ]
    seen = sorted({epoch for told in facts.epochs.values() for epoch in told})
    return _held(
        "epochs_only_rise", not falls if seen else None, "rise", ", ".join(falls) or ", ".join(map(str, seen))
    )


def outage_within_limit(facts: Facts, wanted: Wanted) -> Held | None:
    """No client stream with a way in is without an acknowledgement for longer while the fault lasts.

    After a takeover the slowest stream counts (RTO); where nothing moved, the stall of commits.
    """
    if wanted.expect.outage_expected:
        return None
    gap = facts.stall if facts.takeovers == 0 else facts.outage
    return _within("outage_within_limit", gap.seconds if gap else None, wanted.expect.outage_s)


def no_client_waits_longer(facts: Facts, wanted: Wanted) -> Held | None:
    """No client waits longer for one operation, its time-outs and tries counted in."""
    if wanted.expect.outage_expected:
        return None
    return _within("no_client_waits_longer", facts.slowest_wait_s, wait_limit_s(wanted.expect))


def service_stays_back(facts: Facts, wanted: Wanted) -> Held | None:
    """After a takeover no request fails any more, though the fault lasts. Asked at edges with a way in."""
    if wanted.expect.outage_expected or not facts.takeovers:
        return None
    return _held("service_stays_back", not facts.failed_later, "none failed", _named(facts.failed_later))


def way_home_without_failure(facts: Facts, wanted: Wanted) -> Held | None:
    """No request fails in the planned switchover home, none is slow."""
    home = facts.way_home
    if home is None:
        return None
    limit = wanted.expect.slowest_request_s or wanted.expect.outage_s
    text = f"none failed, none over {limit:g} s"
    if not home.requests or home.slowest_s is None:
        return _held("way_home_without_failure", None, text, "no request")
    good = not home.failed and home.slowest_s <= limit
    said = f"{_named(home.failed)} failed, slowest {home.slowest_s:.2f} s"
    return _held("way_home_without_failure", good, text, said)


def returns_after_heal(facts: Facts, wanted: Wanted) -> Held | None:
    """Where nobody could be served, every client is within the limit after the heal."""
    if not wanted.expect.outage_expected:
        return None
    limit, seen = wanted.expect.return_s, facts.return_s
    return _held(
        "returns_after_heal",
        seen is not None and seen <= limit,
        f"{limit:g} s",
        "did not return" if seen is None else f"{seen:.2f} s",
    )


def heal_without_outage(facts: Facts, wanted: Wanted) -> Held | None:
    """The heal stops nobody. Not asked where the heal is what brings the service back."""
    if wanted.expect.outage_expected:
        return None
    return _within("heal_without_outage", facts.heal_outage_s, wanted.expect.heal_outage_s)


def heal_without_failure(facts: Facts, wanted: Wanted) -> Held | None:
    """No request fails because of the heal. Of no request nothing is known."""
    if wanted.expect.outage_expected:
        return None
    most, failed = wanted.expect.heal_failed_requests, facts.heal_failed
    truth = len(failed) <= most if facts.heal_requests else None
    return _held("heal_without_failure", truth, f"at most {most}", _of(failed, facts.heal_requests))


def no_request_fails(facts: Facts, wanted: Wanted) -> Held | None:
    """Asked of what is planned: a switchover under load."""
    if not wanted.expect.no_failed_request:
        return None
    truth = not facts.failed if facts.requests else None
    return _held("no_request_fails", truth, "none", _of(facts.failed, facts.requests))


def no_request_is_slow(facts: Facts, wanted: Wanted) -> Held | None:
    """Asked of what is planned: a switchover under load."""
    limit = wanted.expect.slowest_request_s
    return None if limit is None else _within("no_request_is_slow", facts.slowest_s, limit)


def one_acknowledging(facts: Facts, wanted: Wanted) -> Held | None:
    """No host acknowledges after another is primary on the same or a later timeline.

    Without one it is in doubt when no client inside was acknowledged, or PostgreSQL answered none that asked
    after the heal. `answers_held`: a COMMIT that was sent before may be answered when the host wakes; whether
    it is lost the audit says.
    """
    if wanted.expect.insiders is None:
        return None
    seen = facts.inside
    excused = frozenset(seen.held if seen and wanted.expect.answers_held else ())
    late = tuple(each for each in seen.late if each not in excused) if seen else ()
    if not late and (seen is None or not seen.acknowledged or not seen.after_heal):
        return _held("one_acknowledging", None, "none after another", "no client inside was answered")
    said = _named(late) + (f", besides {len(excused)} held answers" if excused else "")
    return _held("one_acknowledging", not late, "none after another", said)


def cancelled_commits(facts: Facts, wanted: Wanted) -> Held | None:
    """Clients inside did cancel a COMMIT and were warned: else the drill says nothing about it."""
    if not wanted.expect.cancels:
        return None
    warned = facts.inside.warned if facts.inside else 0
    return _held("cancelled_commits", True if warned else None, "at least 1", str(warned))


def left_the_sync_set(facts: Facts, wanted: Wanted) -> Held | None:
    """A standby that drags is out of /sync within the limit, and until the heal."""
    if not wanted.leaving:
        return None
    limit = wanted.expect.leaves_within_s
    seen = {host: facts.absences.get(host) for host in sorted(wanted.leaving)}
    truth = None
    if all(seen.values()):
        truth = all(
            one and one.left_s is not None and one.left_s <= limit and one.stayed for one in seen.values()
        )
    said = (f"{host} {'unknown' if one is None else one.told_left()}" for host, one in seen.items())
    return _held("left_the_sync_set", truth, f"within {limit:g} s, until the heal", "; ".join(said))


def back_in_the_sync_set(facts: Facts, wanted: Wanted) -> Held | None:
    """After the heal it is in /sync again within the limit."""
    if not wanted.leaving:
        return None
    limit = wanted.expect.back_within_s
    seen = {host: facts.absences.get(host) for host in sorted(wanted.leaving)}
    truth = None
    if all(one is not None and one.left_s is not None for one in seen.values()):
        truth = all(one and one.back_s is not None and one.back_s <= limit for one in seen.values())
    said = (f"{host} {'unknown' if one is None else one.told_back()}" for host, one in seen.items())
    return _held("back_in_the_sync_set", truth, f"within {limit:g} s", "; ".join(said))


def unprotected_recorded(facts: Facts, wanted: Wanted) -> Held | None:
    """The primary wrote down exactly the absence: from when it was left out until /sync named it again."""
    if not wanted.leaving:
        return None
    found = facts.unprotected
    absent = [(host, one) for host in sorted(wanted.leaving) if (one := facts.absences.get(host))]
    truth = None
    if found is not None and len(absent) == len(wanted.leaving):
        truth = covers(found, absent, facts.struck, facts.heal)
    said = "not read" if found is None else "; ".join(each.told() for each in found) or "none"
    return _held("unprotected_recorded", truth, "one closed interval an absence", said)


def whole_again(facts: Facts, wanted: Wanted) -> Held:
    """After the heal all machines are whole again by themselves."""
    return _held("whole_again", facts.whole, "sync set, etcd, edges", "whole" if facts.whole else "not whole")


def reasons(held: Iterable[Held], verdict: CheckVerdict) -> tuple[str, ...]:
    """In words, those of one verdict."""
    return tuple(
        f"{each.name}: wanted {each.wanted}, seen {each.seen}" for each in held if each.verdict is verdict
    )


def as_plain(held: Iterable[Held]) -> list[dict[str, str]]:
    """For result.json."""
    return [
        {"name": each.name, "verdict": each.verdict.value, "wanted": each.wanted, "seen": each.seen}
        for each in held
    ]


def _of(failed: tuple[str, ...], requests: int) -> str:
    return _named(failed) if requests else "no request"


def _named(failed: tuple[str, ...]) -> str:
    if not failed:
        return "0"
    return f"{len(failed)}: {'; '.join(failed[:SHOWN])}" + ("; ..." if len(failed) > SHOWN else "")


EXPECTATIONS: tuple[Callable[[Facts, Wanted], Held | None], ...] = (
    primary_where_expected,
    nothing_moves_alone,
    takeovers_as_expected,
    no_false_alarm,
    epochs_only_rise,
    outage_within_limit,
    no_client_waits_longer,
    service_stays_back,
    returns_after_heal,
    heal_without_outage,
    heal_without_failure,
    no_request_fails,
    no_request_is_slow,
    one_acknowledging,
    cancelled_commits,
    left_the_sync_set,
    back_in_the_sync_set,
    unprotected_recorded,
    whole_again,
    way_home_without_failure,
)


def judge(facts: Facts, wanted: Wanted) -> tuple[Held, ...]:
    """Every expectation that this scenario has."""
    judged = (expectation(facts, wanted) for expectation in EXPECTATIONS)
    return tuple(each for each in judged if each is not None)
