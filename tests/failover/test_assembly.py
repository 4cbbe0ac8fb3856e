"""From what stands in etcd to the planner's view: ages by the reader's clock, the last word of the silent."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failover import planner, transaction
from failover.assembly import Assembly
from failover.candidates import acknowledged_lsn
from failover.etcd_json import Entry
from failover.freshness import NEVER_MS
from failover.manual import assess
from failover.policy import MoveKind, Policy
from failover.preflight import preflight
from failover.publication import PULSE, Detail, Pulse, encode
from failover.table import Action
from failover.transaction import OPERATION, VERDICT
from failover.view import DcsState, HostSeen, NotSeen, Phase, Prospect

from .test_patroni_keys import READ
from .views import HOSTS, INTENT, gone, primary, standby


def pulse(name: str, site: str, sequence: int, *hosts: HostSeen) -> dict[str, Entry]:
    details = {"dj-db1": Detail(primary_lsn=520, xid=900), "gg-db1": Detail(xid=859)}
    text = encode(Pulse(name, site, sequence, hosts, details))
    return {PULSE + name: Entry(text, 100 + sequence), VERDICT + name: Entry("{}", 70)}


def assembly() -> Assembly:
    return Assembly("sejong", Policy(), HOSTS)


def test_an_observation_is_as_old_as_the_change_of_its_sequence_here() -> None:
    reader = assembly()
    first = READ | pulse("wt", "sejong", 1, primary("dj-db1"))
    assert reader.view(first, 0, 10).observations[0].age_ms == NEVER_MS  # perhaps a dead observer's last word
    second = READ | pulse("wt", "sejong", 2, primary("dj-db1"))
    assert reader.view(second, 990, 1000).observations[0].age_ms == 0
    assert reader.view(second, 1390, 1400).observations[0].age_ms == 400


def test_a_word_from_before_a_break_is_not_met() -> None:
    """etcd's majority was lost right after the observer's last word, and is there again."""
    reader, cut = assembly(), 60_000
    for sequence, at in ((1, 0), (2, 300)):
        reader.view(READ | pulse("wt", "sejong", sequence, primary("dj-db1")), at, at + 10)
    last = READ | pulse("wt", "sejong", 3, primary("dj-db1"))
    for at in range(cut, cut + 3000, 250):
        view = reader.view(last, at, at + 10)
        assert (view.observations[0].age_ms, view.met) == (NEVER_MS, frozenset())
    for sequence, at in ((4, cut + 3000), (5, cut + 5900)):
        view = reader.view(READ | pulse("wt", "sejong", sequence, primary("dj-db1")), at, at + 10)
    assert (view.observations[0].age_ms, view.met) == (0, frozenset({"dj-db1"}))


def test_a_silent_observer_keeps_its_last_word_and_is_not_alive() -> None:
    reader = assembly()
    reader.view(READ | pulse("wt", "sejong", 1, primary("dj-db1", 480)), 0, 10)
    seen = reader.view(READ, 5000, 5010).observations[0]
    assert (seen.alive, seen.of("dj-db1").sync_lsn) == (False, 480)
    assert seen.verdict_revision == 70


def test_the_read_is_as_old_as_its_beginning() -> None:
    assert assembly().view(READ, 100, 350).dcs_age_ms == 250


def test_the_operation_ages_from_when_it_was_first_seen_here() -> None:
    reader = assembly()
    read = READ | {OPERATION: Entry(transaction.encode(INTENT), 40)}
    assert reader.view(read, 0, 1000).operation_age_ms == 0
    assert reader.view(read, 0, 1700).operation_age_ms == 700


def operation(phase: Phase, old: str = "dj-db1", candidate: str = "gg-db1") -> dict[str, Entry]:
    one = replace(INTENT, phase=phase, old=old, candidate=candidate)
    return {OPERATION: Entry(transaction.encode(one), 40)}


@pytest.mark.parametrize(
    ("named", "where"),
    [
        ({"patroni/leader": Entry("stranger", 10, 7)}, "the lock"),
        ({"patroni/sync": Entry('{"leader":"dj-db1","sync_standby":"gg-db1,stranger"}', 20)}, "/sync"),
        ({"patroni/sync": Entry('{"leader":"stranger","sync_standby":"gg-db1"}', 20)}, "/sync"),
        (operation(Phase.TAKEN, old="stranger"), "the takeover under way"),
        (operation(Phase.INTENDED, candidate="stranger"), "the takeover under way"),
    ],
)
def test_a_host_that_the_topology_does_not_name_makes_all_unseen(named: dict[str, Entry], where: str) -> None:
    dcs = assembly().view(READ | named, 0, 10).dcs
    assert isinstance(dcs, NotSeen)
    assert dcs.reason == f"sites.yml does not name stranger ({where})"
    assert "sites.yml" in dcs.hint


@pytest.mark.parametrize("phase", [Phase.DONE, Phase.ABORTED])
@pytest.mark.parametrize("names", [{"old": "stranger"}, {"candidate": "stranger"}])
def test_whom_an_ended_takeover_names_may_have_left(phase: Phase, names: dict[str, str]) -> None:
    """Planted: a host was taken out of sites.yml, and nobody saw anything until the next takeover."""
    read = READ | operation(phase, **names)
    read |= pulse("wt", "sejong", 1, primary("dj-db1"), standby("dj-db2"), standby("gg-db1"))
    seen = assembly().view(read, 0, 10)
    assert isinstance(seen.dcs, DcsState)
    assert planner.plan(seen).row.action is Action.NOTHING
    assert assess(seen, seen.dcs, "gyeonggi", "any").kind is MoveKind.CROSS_SITE
    assert preflight(seen, "gyeonggi", {}, {}, {}).candidate == "gg-db1"


def test_no_answer_of_etcd_is_not_an_empty_etcd() -> None:
    view = assembly().unseen("no majority", 10)
    assert planner.plan(view).row is planner.NO_ROW


OUTSIDE = {"patroni/sync": Entry('{"leader":"dj-db1","sync_standby":"dj-db2"}', 20)}
ASYNC = {"patroni/config": Entry('{"synchronous_mode": "off"}', 30)}
SIGHT = Detail(primary_lsn=520, xid=900, primary_age_ms=4000)


def prospects(
    read: dict[str, Entry], seen: tuple[HostSeen, ...], dj: Detail = SIGHT, gg: int | None = 859
) -> dict[str, Prospect]:
    """As the second look at one observer, 100 ms after its last word, finds them."""
    reader, details = assembly(), {"dj-db1": dj, "gg-db1": Detail(xid=gg)}
    for sequence in (1, 2):
        word = Pulse("wt", "sejong", sequence, seen, details)
        found = READ | read | {PULSE + "wt": Entry(encode(word), 100 + sequence)}
        reader.view(found, 0, 10)
    return {one.candidate: one for one in reader.view(found, 100, 110).prospects}


def test_what_promoting_would_lose() -> None:
    found = prospects(OUTSIDE, (gone("dj-db1"), standby("dj-db2", 500), standby("gg-db1", 400)))
    assert found == {
        "dj-db2": Prospect("dj-db2", "dj-db1", True, 0, 0, 4100),
        "gg-db1": Prospect("gg-db1", "dj-db1", False, 120, 41, 4100),
    }


@pytest.mark.parametrize("read", [OUTSIDE, ASYNC, OUTSIDE | ASYNC])
@pytest.mark.parametrize("lsn", [520, 521])
def test_positions_prove_nothing(read: dict[str, Entry], lsn: int) -> None:
    """Planted: who was level when the primary was last seen was said to lose nothing."""
    found = prospects(read, (gone("dj-db1"), standby("gg-db1", lsn)))["gg-db1"]
    assert found == Prospect("gg-db1", "dj-db1", False, 0, 0, 4100)


@pytest.mark.parametrize(
    ("change", "proved"),
    [
        ({}, True),
        (OUTSIDE, False),
        ({"patroni/sync": Entry('{"leader":"dj-db2","sync_standby":"gg-db1"}', 20)}, False),  # another's
        # The lock's holder was to take it over, and has not: /sync decides who may be.
        ({"patroni/sync": Entry('{"leader":"dj-db2","sync_standby":"dj-db1,gg-db1"}', 20)}, True),
        (ASYNC, False),
        ({"patroni/config": Entry('{"synchronous_mode": "quorum"}', 30)}, False),
        ({"patroni/sync": Entry('{"leader":"dj-db1","quorum":1,"sync_standby":"dj-db2,gg-db1"}', 20)}, False),
    ],
)
def test_the_primarys_own_register_proves(change: dict[str, Entry], proved: bool) -> None:
    assert prospects(change, (gone("dj-db1"), standby("gg-db1", 400)))["gg-db1"].proved is proved


@pytest.mark.parametrize(
    ("sync_lsn", "lsn", "proved"), [(400, 400, True), (401, 400, False), (400, None, False)]
)
def test_who_lost_what_it_had_acknowledged_is_not_proved(
    sync_lsn: int, lsn: int | None, proved: bool
) -> None:
    """It is in /sync, and its data directory was restored since: as `candidate_not_behind`."""
    found = prospects({}, (gone("dj-db1", sync_lsn=sync_lsn), standby("gg-db1", lsn)))
    assert found["gg-db1"].proved is proved


def test_an_unknown_age_and_an_unknown_position_stay_unknown() -> None:
    seen = (gone("dj-db1"), standby("gg-db1", 500))
    ageless = prospects(OUTSIDE, seen, Detail(primary_lsn=520), None)["gg-db1"]
    assert ageless == Prospect("gg-db1", "dj-db1", False, 20, None, None)
    unseen = prospects(OUTSIDE, seen, Detail())["gg-db1"]
    assert unseen == Prospect("gg-db1", "dj-db1", False, None, None, None)


def test_the_newest_word_of_the_primary_counts() -> None:
    """A higher one that is older may be of a history that was given up; one that is ageless may be any."""
    reader = assembly()
    seen = (gone("dj-db1"), standby("gg-db1", 400))
    ages = {"wt": (520, 4000), "dj": (900, 60_000), "gg": (510, 4500)}
    for sequence in (1, 2):
        read = READ | OUTSIDE
        for name, (lsn, age_ms) in ages.items():
            details = {"dj-db1": Detail(primary_lsn=lsn, xid=900, primary_age_ms=age_ms)}
            read[PULSE + name] = Entry(encode(Pulse(name, "sejong", sequence, seen, details)), 100 + sequence)
        dead = Pulse("dead", "sejong", 1, seen, {"dj-db1": Detail(primary_lsn=999, primary_age_ms=1)})
        read[PULSE + "dead"] = Entry(encode(dead), 99)
        found = reader.view(read, 0, 10)
    assert found.prospects == (Prospect("gg-db1", "dj-db1", False, 120, None, 4000),)


def test_a_word_that_was_never_seen_to_change_is_of_unknown_age() -> None:
    reader = assembly()
    dead = Pulse("dead", "sejong", 1, (gone("dj-db1"),), {"dj-db1": SIGHT})
    for sequence in (1, 2):
        word = Pulse("wt", "sejong", sequence, (standby("gg-db1", 400),), {})
        read = READ | OUTSIDE | {PULSE + one.observer: Entry(encode(one), 99) for one in (word, dead)}
        found = reader.view(read, 0, 10)
    assert found.prospects == (Prospect("gg-db1", "dj-db1", False, 120, None, None),)


def test_a_lost_site_ends_in_an_intent() -> None:
    """The observer of Daejeon is silent; its lease still runs, and its opinion is not needed."""
    reader, decisions = assembly(), list[planner.Decision]()
    for sequence in (-1, 0):  # all was well
        read = READ | pulse("wt", "sejong", sequence, primary("dj-db1"))
        reader.view(read, 1000 * sequence - 4010, 1000 * sequence - 4000)
    window_ms = Policy().window_ms
    for sequence in range(1, 5):
        now = sequence * window_ms // 4
        missed = (gone("dj-db1", now), gone("dj-db2", now), standby("gg-db1"))
        read = READ | pulse("dj", "daejeon", 1, primary("dj-db1", 480))
        read |= pulse("gg", "gyeonggi", sequence, *missed) | pulse("wt", "sejong", sequence, *missed)
        decisions.append(planner.plan(reader.view(read, now, now + 10)))
    assert [one.row.action for one in decisions[:3]] == [Action.NOTHING] * 3
    assert decisions[3].row.action is Action.INTEND
    written = decisions[3].commands[0]
    assert isinstance(written, planner.commands.Write)
    assert written.what == Phase.INTENDED


def test_whom_a_controller_has_met_is_forgotten_when_the_dcs_was_away() -> None:
    reader = assembly()
    cut_ms = Policy().cut_ms
    settled = 2000 + Policy().window_ms + Policy().fresh_ms
    for sequence, now in ((1, 1000), (2, 2000), (3, settled - 1), (4, settled)):
        read = READ | pulse("wt", "sejong", sequence, primary("dj-db1"), gone("dj-db2"))
        seen = reader.view(read, now, now)
        assert seen.met == (frozenset({"dj-db1"}) if now == settled else frozenset())  # the others' time
    assert seen.seeing_ms == settled - 1000
    # away for so long: an election takes its time
    later = READ | pulse("wt", "sejong", 5, gone("dj-db1"))
    assert reader.view(later, settled + cut_ms, settled + cut_ms).met == {"dj-db1"}
    reader.unseen("no majority", settled + 3 * cut_ms)
    again = reader.view(later, settled + 2 * cut_ms + 1, settled + 4 * cut_ms)
    assert (again.met, again.seeing_ms) == (frozenset(), 0)


def test_a_dead_observers_last_word_introduces_nobody() -> None:
    reader = assembly()
    assert reader.view(READ | pulse("wt", "sejong", 1, primary("dj-db1")), 0, 10).met == frozenset()


def test_positions_from_before_a_forced_failover_are_forgotten() -> None:
    """dj-db1 had more than gg-db1, which was forced; dj-db1 is primary again, with less."""
    reader = assembly()

    def position(epoch: int, sync_lsn: int, signed: bool) -> int | None:
        operation = replace(INTENT, phase=Phase.DONE, epoch=epoch)
        read = READ | {OPERATION: Entry(transaction.encode(operation), 40 + epoch)}
        read |= {transaction.SIGNED + "5": Entry("{}", 50)} if signed else {}
        read |= pulse("wt", "sejong", 1, primary("dj-db1", sync_lsn))
        view = reader.view(read, 0, 10)
        return acknowledged_lsn(view, "dj-db1")

    assert position(4, 900, signed=False) == 900
    assert position(5, 900, signed=True) is None
    assert position(6, 850, signed=True) == 850
    assert position(6, 850, signed=True) == 850
