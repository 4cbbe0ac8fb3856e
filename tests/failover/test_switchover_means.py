"""Two switchovers on one etcd: each takes back what is its own, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import psycopg2
import pytest

from failover import switchover_means
from failover.etcd_dcs import NotAnswered
from failover.handover import HANDOVER, Handover, decode_handover
from failover.switchover import End, Limits, Switchover, Unanswered
from failover.switchover_means import ANNOUNCED, RealMeans
from failover.transaction import CONFIG, FAILOVER, HOLD, LEADER, SYNC
from replication.mends.announced import Announcement, decode
from replication.mends.in_force import SHOWN

from .memory_etcd import Client, MemoryEtcd

OLD, NEW, OTHER = "dj-db1", "gg-db1", "dj-db2"
LIMITS = Limits(handover_s=8.0, settle_s=5.0)


@dataclass
class Told:
    """The configuration, as far as it is used; every client that is made is one of this process."""

    etcd_client: Client
    cluster: str = "hanbat"
    etcd: tuple[tuple[str, int], ...] = ()
    poolers: tuple[str, ...] = ()
    addresses: dict[str, str] = field(default_factory=dict[str, str])

    def dcs(self) -> Client:
        return self.etcd_client


class Means(RealMeans):
    """The real keys; PostgreSQL of the lock's holder always accepts writes, and nothing is waited for."""

    def announce(self, id: str, candidate: str) -> str:
        """Here it is about hold and offer."""
        return "not announced"

    def checkpoint(self, host: str) -> str:
        return ""

    def busy(self, host: str) -> str:
        return ""

    def writable(self, host: str) -> bool:
        return True

    def wait(self, seconds: float) -> None:
        """Time is the test's."""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switchover_means, "AGAIN_S", 0.0, raising=False)


@pytest.fixture
def etcd() -> MemoryEtcd:
    store = MemoryEtcd()
    store.put(LEADER, OLD)
    store.put(SYNC, json.dumps({"leader": OLD, "sync_standby": f"{NEW},{OTHER}"}))
    store.put(CONFIG, json.dumps({"synchronous_mode": True}))
    return store


@pytest.fixture
def person(etcd: MemoryEtcd) -> Iterator[Any]:
    """Makes somebody with a client of their own, and ends what they left running."""
    made: list[Means] = []

    def somebody(client: Client | None = None) -> Means:
        means = Means(cast(Any, Told(client or Client(etcd))), cast(Any, None))
        made.append(means)
        return means

    yield somebody
    for means in made:
        means.release()
        means.close()


def switchover(means: Means, name: str, candidate: str = NEW, **changes: Any) -> Switchover:
    clock = [0.0]

    def passes(seconds: float) -> None:
        clock[0] += seconds

    return Switchover(
        means, name, OLD, candidate, lambda: clock[0], passes, passes, limits=LIMITS, **changes
    )  # fmt: skip


def announced(etcd: MemoryEtcd) -> str:
    return etcd.keys[ANNOUNCED].value if ANNOUNCED in etcd.keys else ""


def announces(means: Means, name: str, candidate: str = NEW) -> str:
    return RealMeans.announce(means, name, candidate)


def test_an_announcement_stands_until_the_release_and_is_read_as_patroni_reads_it(
    etcd: MemoryEtcd, person: Any
) -> None:
    means = person()
    assert announces(means, "a1") == ""
    assert decode(announced(etcd)) == Announcement("a1", NEW)
    begun(means, "a1")
    means.release()
    assert announced(etcd) == ""
    assert not etcd.leases


def test_an_announcement_is_bound_to_its_process(etcd: MemoryEtcd, person: Any) -> None:
    announces(person(), "a1")
    etcd.end(etcd.keys[ANNOUNCED].lease)
    assert announced(etcd) == ""


def test_a_second_announcement_leaves_the_first(etcd: MemoryEtcd, person: Any) -> None:
    announces(person(), "a1")
    loser = person()
    assert announces(loser, "a2", OTHER) == "another handover is announced"
    loser.release()
    assert decode(announced(etcd)) == Announcement("a1", NEW)


def test_without_a_host_to_keep_nothing_is_announced(etcd: MemoryEtcd, person: Any) -> None:
    """The gate would only cost time."""
    etcd.put(SYNC, json.dumps({"leader": OLD, "sync_standby": NEW}))
    assert announces(person(), "a1") == "no other host is in the sync set"
    assert announced(etcd) == ""


def test_an_etcd_that_does_not_answer_announces_nothing(etcd: MemoryEtcd, person: Any) -> None:
    assert announces(person(Client(etcd, mute=True)), "a1").startswith("etcd:")


@pytest.mark.parametrize(("answer", "holds"), [(True, True), (False, False), (psycopg2.Error(), False)])
def test_the_candidate_is_asked_for_the_session_of_this_handover(
    person: Any, monkeypatch: pytest.MonkeyPatch, answer: Any, holds: bool
) -> None:
    asked: list[tuple[str, str]] = []

    def run(self: Means, host: str, sql: str, limit_s: float) -> Any:
        asked.append((host, sql))
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(RealMeans, "_run", run)
    assert person().gate_in_force("a1", NEW) is holds
    assert asked[0][0] == NEW
    assert "application_name = 'hanbat_gate_a1'" in asked[0][1]


@pytest.mark.parametrize(
    ("answer", "is_open"),
    [("", True), ('"gg-db1"', True), ("hanbat_gate", False), (psycopg2.OperationalError("gone"), False)],
)
def test_a_gate_that_is_not_known_to_be_open_is_not(
    person: Any, monkeypatch: pytest.MonkeyPatch, answer: Any, is_open: bool
) -> None:
    def run(self: Means, host: str, sql: str, limit_s: float) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer if (host, sql) == (NEW, SHOWN) else None

    monkeypatch.setattr(RealMeans, "_run", run)
    assert person().gate_open(NEW) is is_open


def begun(means: Means, name: str) -> None:
    """A switchover in its middle."""
    assert means.begin(Handover(name, OLD, NEW, 9000)) == ""


def held_for(etcd: MemoryEtcd) -> str:
    return decode_handover(etcd.keys[HANDOVER].value).id if HANDOVER in etcd.keys else ""


def offered_to(etcd: MemoryEtcd) -> str:
    entry = etcd.keys.get(FAILOVER)
    return json.loads(entry.value).get("member", "") if entry else ""


def test_the_loser_of_a_race_leaves_the_winners_hold_and_offer(etcd: MemoryEtcd, person: Any) -> None:
    begun(person(), "winner")
    before = dict(etcd.keys)
    result = switchover(person(), "loser").run()
    assert (result.end, result.reason) == (End.UNCHANGED, "the cluster changed in this moment")
    assert etcd.keys == before


def test_a_race_that_is_lost_in_the_last_moment(etcd: MemoryEtcd, person: Any) -> None:
    """Both have read that nothing stands in the way."""
    winner, client = person(), Client(etcd)

    def overtaken() -> None:
        client.before_write = lambda: None
        begun(winner, "winner")

    client.before_write = overtaken
    assert switchover(person(client), "loser").run().end is End.UNCHANGED
    assert (held_for(etcd), offered_to(etcd)) == ("winner", NEW)
    assert winner.standing().offered


def test_the_winner_takes_its_own_back(etcd: MemoryEtcd, person: Any) -> None:
    result = switchover(person(), "winner").run()  # the world stands still: nobody takes the offer
    assert result.end is End.UNCHANGED
    assert (held_for(etcd), offered_to(etcd)) == ("", "")


def test_a_begin_whose_answer_was_lost_is_cleaned_up(etcd: MemoryEtcd, person: Any) -> None:
    result = switchover(person(Client(etcd, lose="answer")), "unlucky").run()
    assert (result.end, result.reason) == (End.UNCHANGED, "etcd: the answer was lost")
    assert (held_for(etcd), offered_to(etcd)) == ("", "")


def test_a_begin_that_was_surely_not_sent_is_refused(etcd: MemoryEtcd, person: Any) -> None:
    """There is nothing to take back then, and nobody to watch."""
    client = Client(etcd)

    def refused() -> None:
        raise NotAnswered("connection refused", sent=False)

    client.before_write = refused
    assert person(client).begin(Handover("mine", OLD, NEW, 9000)) == "etcd: connection refused"


def test_a_begin_that_arrives_after_it_was_given_up_has_no_effect(etcd: MemoryEtcd, person: Any) -> None:
    """Its lease is revoked by then."""
    result = switchover(person(Client(etcd, lose="request")), "unlucky").run()
    assert result.end is End.UNCHANGED
    assert etcd.deliver() == [False]
    assert (held_for(etcd), offered_to(etcd)) == ("", "")


def test_after_a_lost_answer_somebody_elses_are_left_alone(etcd: MemoryEtcd, person: Any) -> None:
    unlucky = person(Client(etcd, lose="request"))
    with pytest.raises(Unanswered):
        unlucky.begin(Handover("unlucky", OLD, NEW, 9000))
    begun(person(), "winner")
    before = dict(etcd.keys)
    unlucky.release()
    unlucky.withdraw()
    assert etcd.keys == before


def test_an_offer_is_not_taken_back_from_under_a_handover_that_goes_on(etcd: MemoryEtcd, person: Any) -> None:
    """The old primary gave up the lock between the look and the withdrawal."""
    client = Client(etcd)
    means = person(client)
    begun(means, "mine")
    client.before_write = lambda: etcd.keys.pop(LEADER, None) and None
    means.withdraw(OLD)
    assert offered_to(etcd) == NEW
    means.withdraw()
    assert offered_to(etcd) == ""


def test_an_offer_without_an_answer_is_tried_again(etcd: MemoryEtcd, person: Any) -> None:
    client = Client(etcd)
    means = person(client)
    begun(means, "mine")
    client.lose = "request"
    means.withdraw(OLD)
    assert offered_to(etcd) == ""


def test_without_etcd_nothing_is_raised_and_the_lease_ends_the_hold(etcd: MemoryEtcd, person: Any) -> None:
    client = Client(etcd)
    means = person(client)
    begun(means, "mine")
    client.mute = True
    means.withdraw()
    means.release()
    assert (held_for(etcd), offered_to(etcd)) == ("mine", NEW)
    etcd.end(etcd.last_lease)
    assert held_for(etcd) == ""


def test_a_hold_of_a_person_stops_it(etcd: MemoryEtcd, person: Any) -> None:
    etcd.put(HOLD, "kim")
    assert switchover(person(), "mine").run().end is End.UNCHANGED
    assert (held_for(etcd), offered_to(etcd), etcd.keys[HOLD].value) == ("", "", "kim")
