"""Every expectation with planted bugs: a drill that is wrong in one thing fails in that one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lab.drill.case import CheckVerdict
from lab.drill.matrix import MATRIX_BOUNDS, Expect, Insiders
from lab.drill.matrix_absence import Absence, absences
from lab.drill.matrix_checks import Wanted, judge
from lab.drill.matrix_edges import CUT_BACK_S, POWER_BACK_S
from lab.drill.matrix_facts import Facts, Inside, WayHome, facts, failed, promotions
from lab.drill.matrix_unprotected import Interval, intervals
from lab.drill.operations import Attempt, Outcome
from lab.drill.rto import Gap, RoleSample
from lab.lifecycle import BOOT_LIMIT_S
from replication.unprotected import Intervals

MOVES = Expect(("{in_site_standby}",), takeovers=(1, 1), insiders=Insiders("{home}"), cancels=True)
WANTED = Wanted(MOVES, frozenset({"dj-db2"}))
GOOD = Facts(
    old="dj-db1",
    under="dj-db2",
    takeovers=1,
    operations=1,
    epochs={"sj-wt1": (3, 4), "gg-db1": (3,)},
    stall=Gap(0.0, 2.5),
    outage=Gap(0.0, 3.4),
    return_s=0.1,
    primaries_under=frozenset({"dj-db1", "dj-db2"}),
    heal_outage_s=0.4,
    heal_requests=200,
    heal_failed=(),
    requests=250,
    failed=("canary at daejeon: refused, 503",),
    slowest_s=2.0,
    slowest_wait_s=3.4,
    failed_later=(),
    way_home=WayHome(150, (), 0.8),
    whole=True,
    inside=Inside(12, 3, (), after_heal=40),
)
DARK = Wanted(
    Expect(("{db_hosts}",), takeovers=(0, 1), outage_expected=True, return_s=30.0), frozenset({"dj-db1"})
)
GOOD_DARK = replace(GOOD, under=None, return_s=12.0, primaries_under=frozenset({"dj-db1"}), inside=None)
PLANNED = Wanted(
    Expect(("{backup_db}",), takeovers=(1, 1), no_failed_request=True, slowest_request_s=1.5),
    frozenset({"gg-db1"}),
)
DRAGGED = Wanted(
    Expect(("{primary}",), leaves_sync=("{backup_db}",)), frozenset({"dj-db1"}), frozenset({"gg-db1"})
)
GOOD_DRAGGED = replace(
    GOOD,
    under="dj-db1",
    takeovers=0,
    operations=0,
    absences={"gg-db1": Absence(7.0, True, 8.0)},
    struck=10.0,
    heal=30.0,
    unprotected=(Interval("gg-db1", 16.8, 38.4),),
)
GOOD_PLANNED = replace(GOOD, under="gg-db1", failed=(), slowest_s=0.8, inside=None)


def verdicts(seen: Facts, wanted: Wanted) -> dict[str, CheckVerdict]:
    return {each.name: each.verdict for each in judge(seen, wanted)}


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [(GOOD, WANTED), (GOOD_DARK, DARK), (GOOD_PLANNED, PLANNED), (GOOD_DRAGGED, DRAGGED)],
    ids=["moves", "dark", "planned", "dragged"],
)
def test_a_good_drill_holds_everything(seen, wanted):
    assert set(verdicts(seen, wanted).values()) == {CheckVerdict.PASSED}


PLANTED = {
    "primary_where_expected": (GOOD, WANTED, {"under": "gg-db1"}),
    "takeovers_as_expected": (GOOD, WANTED, {"takeovers": 2}),
    "no_false_alarm": (GOOD, WANTED, {"operations": 2}),
    "epochs_only_rise": (GOOD, WANTED, {"epochs": {"sj-wt1": (3, 4, 3)}}),
    "outage_within_limit": (GOOD, WANTED, {"outage": Gap(0.0, 5.1)}),
    "no_client_waits_longer": (GOOD, WANTED, {"slowest_wait_s": 5.1}),
    "service_stays_back": (GOOD, WANTED, {"failed_later": ("canary",)}),
    "way_home_without_failure": (GOOD, WANTED, {"way_home": WayHome(150, ("canary",), 0.8)}),
    "heal_without_outage": (GOOD, WANTED, {"heal_outage_s": 1.6}),
    "heal_without_failure": (GOOD, WANTED, {"heal_failed": ("canary",)}),
    "one_acknowledging": (GOOD, WANTED, {"inside": Inside(12, 3, ("k by dj-db1",), ("k by dj-db1",), 40)}),
    "whole_again": (GOOD, WANTED, {"whole": False}),
    "nothing_moves_alone": (GOOD_DARK, DARK, {"primaries_under": frozenset({"dj-db1", "gg-db1"})}),
    "returns_after_heal": (GOOD_DARK, DARK, {"return_s": 30.1}),
    "no_request_fails": (GOOD_PLANNED, PLANNED, {"failed": ("bidders bid: unknown, 500",)}),
    "no_request_is_slow": (GOOD_PLANNED, PLANNED, {"slowest_s": 1.6}),
    "left_the_sync_set": (GOOD_DRAGGED, DRAGGED, {"absences": {"gg-db1": Absence(7.0, False, 8.0)}}),
    "back_in_the_sync_set": (
        GOOD_DRAGGED,
        DRAGGED,
        {"absences": {"gg-db1": Absence(7.0, True, 20.1)}, "unprotected": (Interval("gg-db1", 16.8, 50.2),)},
    ),
    "unprotected_recorded": (GOOD_DRAGGED, DRAGGED, {"unprotected": ()}),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_bug_fails_its_expectation_and_no_other(name):
    seen, wanted, change = PLANTED[name]
    judged = verdicts(replace(seen, **change), wanted)
    assert {n for n, v in judged.items() if v is not CheckVerdict.PASSED} == {name}
    assert judged[name] is CheckVerdict.FAILED


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("primary_where_expected", {"under": None}),
        ("takeovers_as_expected", {"takeovers": None}),
        ("no_false_alarm", {"operations": None}),
        ("epochs_only_rise", {"epochs": {}}),
        ("outage_within_limit", {"outage": None}),
        ("no_client_waits_longer", {"slowest_wait_s": None}),
        ("way_home_without_failure", {"way_home": WayHome(0, (), None)}),
        ("heal_without_outage", {"heal_outage_s": None}),
        ("heal_without_failure", {"heal_requests": 0}),
        ("one_acknowledging", {"inside": Inside(0, 3, (), after_heal=40)}),
        ("one_acknowledging", {"inside": Inside(12, 3, (), after_heal=0)}),
        ("one_acknowledging", {"inside": None}),
        ("cancelled_commits", {"inside": Inside(12, 0, (), after_heal=40)}),
    ],
)
def test_what_was_not_seen_is_in_doubt(name, change):
    assert verdicts(replace(GOOD, **change), WANTED)[name] is CheckVerdict.UNKNOWN


@pytest.mark.parametrize(
    ("good", "wanted", "name", "change"),
    [
        (GOOD_PLANNED, PLANNED, "no_request_fails", {"requests": 0}),
        (GOOD_DARK, DARK, "nothing_moves_alone", {"primaries_under": None}),
    ],
)
def test_of_nothing_nothing_is_known(good, wanted, name, change):
    assert verdicts(replace(good, **change), wanted)[name] is CheckVerdict.UNKNOWN


@pytest.mark.parametrize(
    "found",
    [
        (Interval("gg-db1", 16.8, None),),
        (Interval("gg-db1", 16.8, 36.0),),
        (Interval("gg-db1", 19.0, 38.4),),
        (Interval("dj-db2", 16.8, 38.4),),
        (Interval("gg-db1", 16.8, 38.4), Interval("dj-db2", 16.8, 38.4)),
        (Interval("gg-db1", 12.0, 14.0), Interval("gg-db1", 16.8, 38.4)),
    ],
    ids=["not closed", "closed too early", "begun too late", "another host", "one too many", "twice"],
)
def test_a_record_that_does_not_say_what_happened_fails(found):
    seen = verdicts(replace(GOOD_DRAGGED, unprotected=found), DRAGGED)
    assert seen["unprotected_recorded"] is CheckVerdict.FAILED


def test_a_record_that_was_not_read_is_in_doubt():
    seen = verdicts(replace(GOOD_DRAGGED, unprotected=None), DRAGGED)
    assert seen["unprotected_recorded"] is CheckVerdict.UNKNOWN


def test_the_record_of_the_product_is_read():
    """With the product's own lines, so that a change of its words is seen here."""
    made = Intervals()
    none: list[str] = []
    early = made.take("dj-db1", ["gg-db1"], none.__contains__, "slow", 5.0, 1000.0)
    early += made.take("dj-db1", none, ["gg-db1"].__contains__, "", 9.0, 1004.0)
    ours = made.take("dj-db1", ["gg-db1"], none.__contains__, "slow", 20.0, 1015.0)
    opened = "".join(f"{event.line}\n" for event in early + ours)
    assert intervals(opened, 1010.0) == (Interval("gg-db1", 1015.0, None),)
    ours += made.take("dj-db1", none, ["gg-db1"].__contains__, "", 41.5, 1036.5)
    text = "".join(f"{event.line}\n" for event in early + ours)
    assert intervals(text, 1010.0) == (Interval("gg-db1", 1015.0, 1036.5),)
    assert len(intervals(text, 0.0)) == 2
    with pytest.raises(ValueError, match="Expecting value"):
        intervals("not a record", 0.0)


@pytest.mark.parametrize("absence", [Absence(None, False, None), Absence(7.0, False, 8.0)])
def test_one_that_did_not_leave_or_came_back_too_early(absence):
    seen = verdicts(replace(GOOD_DRAGGED, absences={"gg-db1": absence}), DRAGGED)
    assert seen["left_the_sync_set"] is CheckVerdict.FAILED


def test_a_sync_set_that_was_not_seen_is_in_doubt():
    seen = verdicts(replace(GOOD_DRAGGED, absences={}), DRAGGED)
    assert seen["left_the_sync_set"] is seen["back_in_the_sync_set"] is CheckVerdict.UNKNOWN


def sync(at: float, revision: int, *names: str) -> dict[str, object]:
    told = {"sync": sorted(names), "sync_revision": revision, "holder": "dj-db1"}
    return {"probe": "leader", "host": "sj-wt1", "seen_at": at, **told}


LEFT = [
    sync(5.0, 3, "dj-db2", "gg-db1"),
    sync(15.0, 4, "dj-db2"),
    sync(15.1, 3, "dj-db2", "gg-db1"),  # told before, and later on the way
    sync(24.0, 5, "dj-db2", "gg-db1"),
]


def test_who_left_the_sync_set_and_when():
    told = absences([*LEFT, {"probe": "leader", "seen_at": 16.0, "holder": None}], 10.0, 20.0, 30.0)
    assert told == {"dj-db2": Absence(None, False, 4.0), "gg-db1": Absence(5.0, True, 4.0)}
    early = absences([*LEFT[:3], sync(17.0, 5, "gg-db1"), sync(18.0, 6)], 10.0, 20.0, 30.0)
    assert early["gg-db1"] == Absence(5.0, False, None)
    assert absences(LEFT[1:], 14.0, 20.0, 30.0) == {}
    assert seen_of(probes=[*PROBES, *LEFT]).absences["gg-db1"] == Absence(5.0, True, 4.0)


def test_where_nothing_moved_the_stall_of_commits_counts():
    still = replace(GOOD, takeovers=0, stall=Gap(0.0, 5.1), outage=Gap(0.0, 2.0))
    assert verdicts(still, WANTED)["outage_within_limit"] is CheckVerdict.FAILED
    patient = replace(GOOD, takeovers=0, stall=Gap(0.0, 4.9), outage=Gap(0.0, 5.9))
    assert verdicts(patient, WANTED)["outage_within_limit"] is CheckVerdict.PASSED


def test_a_slow_way_home_fails_at_the_limit_of_what_is_planned():
    slow = replace(GOOD_PLANNED, way_home=WayHome(150, (), 1.6))
    assert verdicts(slow, PLANNED)["way_home_without_failure"] is CheckVerdict.FAILED
    assert verdicts(replace(GOOD, way_home=WayHome(150, (), 1.6)), WANTED)["way_home_without_failure"] is (
        CheckVerdict.PASSED
    )


def test_what_never_moved_has_no_way_home_and_no_service_to_stay_back():
    still = verdicts(replace(GOOD, takeovers=0, way_home=None, failed_later=("canary",)), WANTED)
    assert not {"service_stays_back", "way_home_without_failure"} & set(still)


def test_a_service_that_never_returned_has_failed():
    assert verdicts(replace(GOOD_DARK, return_s=None), DARK)["returns_after_heal"] is CheckVerdict.FAILED


def attempt(
    at: float, outcome: Outcome, *, edge: str = "daejeon", stream: str = "r:canary-daejeon", **more
) -> Attempt:
    status = more.pop("status", 201 if outcome is Outcome.ACKNOWLEDGED else None)
    return Attempt(stream, "canary", f"{stream}:{at}", edge, "/c", {}, at, at + 0.01, outcome, status, **more)


def primary(at: float, host: str, timeline: int) -> RoleSample:
    return RoleSample(at, host, "primary", None, timeline)


MOMENTS = {"fault": 10.0, "struck": 10.0, "heal": 20.0, "rejoined": 30.0}
ACKS = [attempt(n / 10, Outcome.ACKNOWLEDGED) for n in range(320) if not 100 <= n < 125]


def probe(at: float, host: str, role: str, timeline: int) -> dict[str, object]:
    return {"probe": "patroni", "seen_at": at, "host": host, "role": role, "timeline": timeline}


PROBES = [
    probe(5.0, "dj-db1", "primary", 4),
    probe(12.0, "dj-db2", "primary", 5),
    {"probe": "leader", "host": "sj-wt1", "seen_at": 5.0, "holder": "dj-db1", "epoch": 2},
    {"probe": "leader", "host": "sj-wt1", "seen_at": 12.0, "holder": "dj-db2", "epoch": 3},
    {"probe": "leader", "host": "gg-db1", "seen_at": 12.5, "holder": None},
]


def seen_of(attempts=ACKS, probes=PROBES, closed=frozenset(), moments=MOMENTS) -> Facts:
    found = facts(attempts, probes, moments, "dj-db1", "dj-db2", closed)
    assert found is not None
    return found


def test_the_facts_of_a_takeover():
    seen = seen_of()
    assert (seen.takeovers, seen.operations, seen.epochs) == (1, 1, {"sj-wt1": (2, 3)})
    assert seen.stall is not None
    assert seen.stall.seconds == pytest.approx(2.6, abs=0.02)
    assert seen.heal_failed == ()
    assert seen.inside is None


def test_without_a_fault_there_are_no_facts():
    assert facts(ACKS, PROBES, {"load": 1.0}, "dj-db1", None, frozenset()) is None


def bid(
    sent: float, ended: float, outcome: Outcome, *, key: str = "k", edge: str = "daejeon", **more
) -> Attempt:
    status = 201 if outcome is Outcome.ACKNOWLEDGED else None
    return Attempt("r:bidders", "bid", key, edge, "/b", {}, sent, ended, outcome, status, **more)


def test_one_client_may_wait_longer_than_its_stream():
    """The first bid hangs and is sent again after a pause; other bidders are served meanwhile."""
    hung = (bid(11.0, 13.0, Outcome.UNKNOWN), bid(14.0, 14.2, Outcome.ACKNOWLEDGED))
    others = [bid(n / 10, n / 10 + 0.02, Outcome.ACKNOWLEDGED, key=str(n)) for n in range(320)]
    seen = seen_of([*ACKS, *others, *hung])
    assert seen.slowest_wait_s == pytest.approx(3.2)
    assert seen.slowest_s == pytest.approx(2.0)
    before = (bid(9.0, 11.0, Outcome.UNKNOWN), bid(12.0, 16.0, Outcome.ACKNOWLEDGED))
    assert seen_of([*ACKS, *before]).slowest_wait_s == pytest.approx(7.0), "under way at the fault"
    never = (bid(11.0, 13.0, Outcome.UNKNOWN), bid(14.0, 29.0, Outcome.UNKNOWN))
    assert seen_of([*ACKS, *never]).slowest_wait_s == pytest.approx(18.0), "until its last try ended"


def test_a_canary_without_an_answer_waited_for_nothing_and_one_at_a_closed_edge_has_no_way_in():
    ordinary = seen_of().slowest_wait_s
    assert seen_of([*ACKS, attempt(11.0, Outcome.UNKNOWN)]).slowest_wait_s == ordinary
    late = replace(attempt(12.0, Outcome.ACKNOWLEDGED, **CLOSED), ended_at=19.0)
    assert seen_of([*ACKS, late], closed=GYEONGGI).slowest_wait_s == ordinary
    assert seen_of([*ACKS, late]).slowest_wait_s == pytest.approx(7.0)


def test_what_fails_once_the_service_is_back():
    moments = MOMENTS | {"resumed": 12.6}
    late, early = attempt(15.0, Outcome.UNKNOWN), attempt(12.0, Outcome.UNKNOWN)
    shut = bid(15.0, 17.0, Outcome.UNKNOWN, edge="gyeonggi")
    found = seen_of([*ACKS, late, early, shut], closed=GYEONGGI, moments=moments)
    assert len(found.failed_later) == 1
    assert len(seen_of([*ACKS, late, early, shut], moments=moments).failed_later) == 2


def test_the_way_home_is_looked_at_from_the_command_to_the_sight_of_it():
    moments = MOMENTS | {"switchover": 30.5, "home": 31.5}
    home = seen_of(
        [*ACKS, attempt(31.0, Outcome.UNKNOWN), attempt(31.6, Outcome.UNKNOWN)], moments=moments
    ).way_home
    assert home is not None
    assert (home.requests, len(home.failed)) == (11, 1)
    unseen = seen_of(
        [*ACKS, attempt(31.6, Outcome.UNKNOWN)], moments={**MOMENTS, "switchover": 30.5}
    ).way_home
    assert unseen is not None
    assert len(unseen.failed) == 1, "it did not come home: to the end"
    assert seen_of().way_home is None


def test_a_stall_that_has_not_ended_at_the_heal_counts_to_the_heal():
    stopped = [each for each in ACKS if not 10.0 <= each.sent_at < 20.0]
    stall = seen_of(stopped).stall
    assert stall is not None
    assert stall.seconds == pytest.approx(10.1, abs=0.02)


def test_a_request_that_fails_at_the_heal_is_seen_and_one_refused_by_rule_is_not():
    bad = attempt(21.0, Outcome.UNKNOWN)
    by_rule = replace(attempt(21.0, Outcome.REFUSED, status=409), kind="bid")
    assert len(seen_of([*ACKS, bad, by_rule]).heal_failed) == 1


@pytest.mark.parametrize("status", [302, 401, 409, 422, 503])
def test_a_canary_is_refused_by_no_rule(status):
    refused = attempt(21.0, Outcome.UNKNOWN if status == 302 else Outcome.REFUSED, status=status)
    assert failed(refused)
    assert failed(replace(refused, kind="bid")) == (status >= 500)
    assert len(seen_of([*ACKS, refused]).heal_failed) == 1


def test_an_edge_without_a_way_in_is_not_counted():
    lost = [
        attempt(n / 10, Outcome.REFUSED, edge="gyeonggi", stream="r:canary-gyeonggi") for n in range(100, 200)
    ]
    early = [
        attempt(n / 10, Outcome.ACKNOWLEDGED, edge="gyeonggi", stream="r:canary-gyeonggi") for n in range(100)
    ]
    counted, excused = (
        seen_of([*ACKS, *early, *lost]),
        seen_of([*ACKS, *early, *lost], closed=frozenset({"gyeonggi"})),
    )
    assert counted.stall is not None
    assert counted.stall.seconds > 9.0
    assert len(counted.failed) == 100
    assert excused.stall == seen_of().stall
    assert excused.failed == ()


GYEONGGI = frozenset({"gyeonggi"})
CLOSED = {"edge": "gyeonggi", "stream": "r:canary-gyeonggi"}


def returning(*, first: float, until: float = 32.0) -> list[Attempt]:
    """The canary of an edge that is closed from 10.0 on and acknowledges again from `first` on."""
    ticks = (n / 10 for n in range(round(until * 10)))
    return [
        attempt(at, Outcome.UNKNOWN if 10.0 <= at < first else Outcome.ACKNOWLEDGED, **CLOSED) for at in ticks
    ]


def healed(*attempts: Attempt, closed=GYEONGGI) -> tuple[tuple[str, ...], float | None]:
    seen = seen_of([*ACKS, *attempts], closed=closed)
    return seen.heal_failed, seen.heal_outage_s


def test_a_closed_edge_may_come_back_within_the_bound():
    failed, outage = healed(*returning(first=21.5))
    assert failed == ()
    assert outage == pytest.approx(0.1, abs=0.02)


def test_an_edge_that_comes_back_too_late_was_out_since_the_heal():
    failed, outage = healed(*returning(first=24.0))
    assert len(failed) == 20, "all from the bound on"
    assert outage == pytest.approx(4.0, abs=0.02)
    assert healed(*returning(first=99.0))[1] == pytest.approx(10.0)


def test_a_second_outage_of_an_edge_that_came_back_counts():
    again = [each for each in returning(first=20.5) if not 25.0 <= each.sent_at < 28.0]
    failed, outage = healed(*again, *(attempt(25.0 + n, Outcome.UNKNOWN, **CLOSED) for n in range(3)))
    assert len(failed) == 3
    assert outage == pytest.approx(3.1, abs=0.02)


def test_with_every_edge_closed_the_heal_is_still_looked_at():
    both = frozenset({"daejeon", "gyeonggi"})
    bad = attempt(25.0, Outcome.UNKNOWN)
    assert len(healed(bad, *returning(first=20.5), closed=both)[0]) == 1
    assert seen_of([*ACKS, *returning(first=20.5)], closed=both).heal_requests > 150


@pytest.mark.parametrize(
    ("outcome", "status", "counted"),
    [(Outcome.UNKNOWN, None, 1), (Outcome.UNKNOWN, 503, 1), (Outcome.REFUSED, None, 0)],
    ids=["time-out", "answered", "nobody there"],
)
def test_bidders_count_at_a_closed_edge_unless_nobody_was_there(outcome, status, counted):
    bad = {"edge": "gyeonggi", "stream": "r:bidders", "status": status}
    edges = returning(first=21.5)
    assert len(healed(*edges, attempt(20.5, outcome, **bad))[0]) == counted
    assert len(seen_of([*ACKS, *edges, attempt(15.0, outcome, **bad)], closed=GYEONGGI).failed) == counted
    assert len(healed(*edges, attempt(23.0, outcome, **bad))[0]) == 1, "it is back: somebody must be there"


def test_the_bound_of_a_cut_edge_is_what_the_edge_is_set_to():
    text = (Path(__file__).parents[1] / "golden/dj-app1/etc/hanbat/haproxy.cfg").read_text(encoding="utf-8")
    assert "timeout check 1s" in text
    assert "downinter 500ms" in text
    assert pytest.approx(1.0 + 0.5 + MATRIX_BOUNDS.normal_gap_s) == CUT_BACK_S
    assert POWER_BACK_S < BOOT_LIMIT_S


def test_where_nobody_was_asked_nothing_is_known():
    assert seen_of(probes=[PROBES[0]]).primaries_under is None


def test_promotions_are_not_guessed():
    assert promotions([primary(5.0, "a", 3), primary(12.0, "b", 5)], 10.0, 30.0) == 2
    assert promotions([primary(12.0, "b", 5)], 10.0, 30.0) is None
    assert promotions([primary(5.0, "a", 3)], 10.0, 30.0) is None


def inside(
    at: float, outcome: Outcome, *, timeline: int = 4, notices: tuple[str, ...] = (), error: str = ""
) -> Attempt:
    said = json.dumps({"host": "dj-db1", "timeline": timeline, "notices": list(notices)})
    made = attempt(at, outcome, edge="inside:dj-db1", stream="r:inside-daejeon-0", error=error or said)
    return replace(made, path="COMMIT")


READ_ONLY = "cannot execute INSERT in a read-only transaction"
FAILED = 'connection to server at "10.71.1.11", port 5432 failed: '
REFUSED = (
    FAILED + "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?"
)
STARTING = FAILED + "FATAL:  the database system is starting up"


@pytest.mark.parametrize("timeline", [4, 5, 6])
def test_no_host_acknowledges_on_a_timeline_that_another_has_or_has_passed(timeline):
    """Another is seen as primary on timeline 5 at 12.0."""
    seen = seen_of([*ACKS, inside(13.0, Outcome.ACKNOWLEDGED, timeline=timeline)]).inside
    assert seen is not None
    assert len(seen.late) == (timeline <= 5)
    judged = verdicts(replace(GOOD, inside=seen), WANTED)["one_acknowledging"]
    assert judged is (CheckVerdict.FAILED if timeline <= 5 else CheckVerdict.UNKNOWN)


def test_its_own_timeline_is_nobody_elses():
    seen = seen_of([*ACKS, inside(9.0, Outcome.ACKNOWLEDGED)]).inside
    assert seen == Inside(1, 0, (), (), 0)


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        (inside(21.0, Outcome.REFUSED, error=READ_ONLY), CheckVerdict.PASSED),
        (inside(21.0, Outcome.ACKNOWLEDGED, timeline=6), CheckVerdict.PASSED),
        (inside(21.0, Outcome.UNKNOWN, notices=("canceling wait",)), CheckVerdict.PASSED),
        (inside(21.0, Outcome.REFUSED, error=REFUSED), CheckVerdict.UNKNOWN),
        (inside(21.0, Outcome.REFUSED, error=STARTING), CheckVerdict.UNKNOWN),
        (inside(19.0, Outcome.REFUSED, error=READ_ONLY), CheckVerdict.UNKNOWN),
        (replace(inside(21.0, Outcome.ACKNOWLEDGED), path="/api/v1/canary", error=""), CheckVerdict.UNKNOWN),
    ],
    ids=["read-only", "acknowledged", "warned", "refused", "starting", "before the heal", "at the edge"],
)
def test_an_old_primary_that_answered_nobody_after_the_heal_is_in_doubt(after, wanted):
    seen = seen_of([*ACKS, inside(9.0, Outcome.ACKNOWLEDGED), after])
    assert verdicts(replace(GOOD, inside=seen.inside), WANTED)["one_acknowledging"] is wanted


def test_an_acknowledgement_of_the_old_primary_after_the_new_one_is_seen():
    early, late = inside(11.0, Outcome.ACKNOWLEDGED), inside(13.0, Outcome.ACKNOWLEDGED)
    warned = inside(13.5, Outcome.UNKNOWN, notices=("canceling wait",))
    assert seen_of([*ACKS, early, warned]).inside == Inside(1, 1, (), (), 0)
    planted = seen_of([*ACKS, early, late]).inside
    assert planted is not None
    assert len(planted.late) == 1
    assert planted.held == ()


def test_an_answer_that_a_frozen_host_held_is_told_apart_from_a_new_one():
    """Sent before the other was primary (12.0), answered when the host woke (21.0)."""
    waited = replace(inside(11.0, Outcome.ACKNOWLEDGED), ended_at=21.0)
    seen = seen_of([*ACKS, waited])
    assert seen.inside is not None
    assert seen.inside.late == seen.inside.held != ()
    assert seen.inside.after_heal == 0
    judged = replace(GOOD, inside=seen.inside)
    frozen = replace(WANTED, expect=replace(MOVES, answers_held=True))
    assert verdicts(judged, WANTED)["one_acknowledging"] is CheckVerdict.FAILED
    assert verdicts(judged, frozen)["one_acknowledging"] is CheckVerdict.UNKNOWN, "nobody asked it anew"
    asked = seen_of([*ACKS, waited, inside(22.0, Outcome.REFUSED, error=READ_ONLY)])
    assert verdicts(replace(GOOD, inside=asked.inside), frozen)["one_acknowledging"] is CheckVerdict.PASSED
    awake = seen_of([*ACKS, waited, inside(21.0, Outcome.ACKNOWLEDGED)])
    assert verdicts(replace(GOOD, inside=awake.inside), frozen)["one_acknowledging"] is CheckVerdict.FAILED


def test_clients_inside_do_not_count_as_clients_at_an_edge():
    seen = seen_of([*ACKS, inside(21.0, Outcome.UNKNOWN, notices=("w",))])
    assert seen.heal_failed == ()
