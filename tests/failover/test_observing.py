"""From single probes to a published word, and back: streaks, publications, what an error means."""

from __future__ import annotations

import json
from dataclasses import replace

import psycopg2
import pytest

from failover.etcd_json import Entry
from failover.probe_sql import Silent, outcome_of, reach_of, waits_for
from failover.publication import (
    PULSE,
    Detail,
    EdgeSeen,
    EdgeState,
    MemberSeen,
    Pulse,
    Remembered,
    decode,
    encode,
    publish,
    pulses,
    verdict,
)
from failover.streaks import Probe, Streak, extended, seen, told
from failover.transaction import VERDICT, Put, unchanged
from failover.view import HostSeen, Reach, Role

UP, GONE, UNKNOWN = Reach.REACHABLE, Reach.UNREACHABLE, Reach.UNKNOWN


def probe(began: int, reach: Reach, sync_lsn: int | None = None) -> Probe:
    return Probe(began, began + 50, reach, sync_lsn=sync_lsn)


def after(*probes: Probe) -> Streak:
    streak: Streak | None = None
    for one in probes:
        streak = extended(streak, one)
    assert streak is not None
    return streak


def test_silence_counts_from_the_first_question_without_an_answer() -> None:
    streak = after(probe(0, UP), probe(200, GONE), probe(600, GONE))
    assert seen("h", streak, 1700, 5000) == HostSeen("h", GONE, 1500)


def test_how_far_a_primary_was_is_remembered_while_it_is_silent() -> None:
    """Planted: the first silence overwrote its last word, just when a person asks what would be lost."""
    known = Detail(primary_lsn=490, xid=900, timeline=3)
    first = replace(probe(0, UP), detail=known)
    silent = replace(probe(200, GONE), detail=Detail("silent"))
    streak = after(first, silent, replace(probe(600, UNKNOWN), detail=Detail("starved")), silent)
    assert streak.last.detail == Detail("silent", primary_lsn=490, xid=900)
    back = after(first, silent, replace(probe(900, UP), detail=Detail(replayed_lsn=480, xid=880)))
    assert back.last.detail == Detail(replayed_lsn=480, xid=880)


def test_the_age_of_a_primarys_position_counts_from_its_question() -> None:
    first = replace(probe(0, UP), detail=Detail(primary_lsn=490, xid=900))
    silent = replace(probe(200, GONE), detail=Detail("silent"))
    assert told(after(first), 60).primary_age_ms == 60
    assert told(after(first, silent, probe(600, UNKNOWN), silent), 1700).primary_age_ms == 1700
    assert told(after(first, replace(probe(900, UP), detail=Detail(xid=880))), 1700).primary_age_ms is None
    assert told(after(silent), 1700).primary_age_ms is None


def test_a_primary_that_cannot_commit_still_tells_how_far_it_is() -> None:
    """Planted: its older position was kept, and would have been called new."""
    first = replace(probe(0, UP), detail=Detail(primary_lsn=490, xid=900))
    stuck = replace(probe(2000, GONE), detail=Detail("stuck", primary_lsn=495, xid=901))
    found = told(after(first, stuck), 2300)
    assert (found.primary_lsn, found.xid, found.primary_age_ms) == (495, 901, 300)
    later = told(after(first, stuck, replace(probe(2400, GONE), detail=Detail("silent"))), 2900)
    assert (later.primary_lsn, later.primary_age_ms) == (495, 900)


def test_one_answer_breaks_it() -> None:
    streak = after(probe(0, GONE), probe(600, UP), probe(800, GONE))
    assert seen("h", streak, 900, 1000).for_ms == 100


def test_so_does_a_probe_that_told_nothing() -> None:
    streak = after(probe(0, GONE), probe(600, UNKNOWN), probe(800, GONE))
    assert seen("h", streak, 900, 1000).for_ms == 100


def test_what_took_long_to_be_sure_of_counts_from_its_beginning() -> None:
    sure = replace(probe(3000, GONE), since_ms=900)
    assert seen("h", after(probe(0, UP), sure), 3100, 1000).for_ms == 2200
    assert seen("h", after(probe(0, UP), probe(2800, GONE), sure), 3100, 1000).for_ms == 2200
    later = replace(probe(3200, GONE), since_ms=3000)
    assert seen("h", after(probe(0, UP), sure, later), 3300, 1000).for_ms == 2400


def test_an_observer_without_a_recent_probe_knows_nothing() -> None:
    assert seen("h", after(probe(0, GONE)), 1100, 1000).reach is UNKNOWN
    assert seen("h", None, 0, 1000).reach is UNKNOWN


def test_the_last_known_position_of_the_sync_set_outlives_the_primary() -> None:
    streak = after(probe(0, UP, 480), probe(200, UP), probe(400, GONE), probe(900, GONE))
    assert seen("h", streak, 1000, 1000).sync_lsn == 480
    assert seen("h", streak, 9000, 1000).sync_lsn == 480


PULSE_1 = Pulse(
    "daejeon/dj-db1",
    "daejeon",
    4,
    (
        HostSeen("dj-db1", UP, 9000, Role.PRIMARY, sync_lsn=480),
        HostSeen("gg-db1", GONE, 200, received_lsn=470),
    ),
    {
        "dj-db1": Detail(primary_lsn=490, xid=900, commit_ms=3, patroni="answers", primary_age_ms=120),
        "gg-db1": Detail("silent", patroni="refused", patroni_mute_ms=200),
    },
    (
        EdgeSeen("daejeon", EdgeState.OK, 9000, 12, 300),
        EdgeSeen("gyeonggi", EdgeState.FAILED, 400, None, 100, "silent"),
        EdgeSeen("none", EdgeState.UNKNOWN),
    ),
    Remembered(40, 1200),
    (MemberSeen("dj-db1", UP, 9000, 300), MemberSeen("sj-wt1", GONE, 400, 100, "no leader")),
    Remembered(43, 700),
)


def test_a_pulse_comes_back_as_it_was() -> None:
    assert decode(PULSE_1.observer, encode(PULSE_1)) == PULSE_1


def test_a_pulse_of_an_observer_that_asks_no_edge_and_no_member_is_read_too() -> None:
    old = json.loads(encode(PULSE_1))
    del old["edges"], old["operation"], old["members"], old["offer"]
    for row in old["hosts"]:
        row.pop("patroni", None)
        row.pop("patroni_mute_ms", None)
        row.pop("primary_age_ms", None)
    found = decode(PULSE_1.observer, json.dumps(old))
    assert (found.edges, found.operation, found.members, found.offer) == ((), None, (), None)
    assert found.hosts == PULSE_1.hosts
    assert found.details["dj-db1"] == Detail(primary_lsn=490, xid=900, commit_ms=3)


def test_the_verdict_is_written_only_when_it_changes() -> None:
    first = publish(PULSE_1, lease=5, last_revision=0, last_verdict=None)
    assert [change.key for change in first.changes] == [PULSE + PULSE_1.observer, VERDICT + PULSE_1.observer]
    assert first.compares == (unchanged(PULSE + PULSE_1.observer, 0),)
    again = publish(PULSE_1, lease=5, last_revision=8, last_verdict=verdict(PULSE_1))
    assert [change.key for change in again.changes] == [PULSE + PULSE_1.observer]
    assert all(isinstance(change, Put) and change.lease == 5 for change in first.changes)


def test_a_pulse_that_cannot_be_read_is_named() -> None:
    read = {PULSE + "a": Entry(encode(PULSE_1), 1), PULSE + "b": Entry("{}", 2), "hanbat/hold": Entry("", 3)}
    found, unreadable = pulses(read)
    assert set(found) == {"a"}
    assert unreadable == ("b",)


@pytest.mark.parametrize(
    ("error", "reach"),
    [
        (Silent("no answer in time"), GONE),
        (psycopg2.OperationalError("connection failed: Connection refused"), GONE),
        (psycopg2.OperationalError("FATAL:  the database system is starting up"), GONE),
        (psycopg2.OperationalError("FATAL:  terminating connection due to administrator command"), GONE),
        (psycopg2.OperationalError("connection failed: No route to host"), GONE),
        (psycopg2.OperationalError('FATAL:  password authentication failed for user "x"'), UNKNOWN),
        (psycopg2.OperationalError("FATAL:  sorry, too many clients already"), UNKNOWN),
        (psycopg2.ProgrammingError("permission denied"), UNKNOWN),
    ],
)
def test_what_an_error_says_of_the_host(error: Exception, reach: Reach) -> None:
    assert reach_of(error)[0] is reach


@pytest.mark.parametrize(
    ("names", "number"),
    [("", 0), ("gg-db1", 1), ("2 (a,b)", 2), ("FIRST 3 (a,b,c)", 3), ("ANY 1 (a,b)", 1), ("*", 1)],
)
def test_how_many_standbys_a_commit_waits_for(names: str, number: int) -> None:
    assert waits_for(names) == number


def test_a_primary_with_its_whole_sync_set_has_a_sync_position() -> None:
    found = outcome_of((False, 500, None, 2, 480, "2 (a,b)", 900), 0, 5)
    assert (found.role, found.sync_lsn, found.detail.primary_lsn) == (Role.PRIMARY, 480, 500)


def test_without_one_of_them_it_has_none() -> None:
    """The others are ahead of the missing one, who may be the candidate."""
    assert outcome_of((False, 500, None, 1, 480, "2 (a,b)", 900), 0, 5).sync_lsn is None
    assert outcome_of((False, 500, None, 0, None, "", 900), 0, 5).sync_lsn is None


def test_a_standby_has_a_received_position() -> None:
    found = outcome_of((True, 470, 460, 0, None, "2 (a,b)", 900), 0, 5)
    assert (found.role, found.received_lsn, found.detail.replayed_lsn) == (Role.STANDBY, 470, 460)
    assert found.detail.xid == 900
