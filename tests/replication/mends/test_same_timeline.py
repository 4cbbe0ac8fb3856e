"""A standby of a history that was given up is not asked to be sync; in Patroni's own list."""

from __future__ import annotations

import json
from types import SimpleNamespace

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs import Member
from patroni.postgresql import sync

from replication.mends import same_timeline
from replication.mends.same_timeline import on_another


def member(name: str, timeline: int | None) -> Member:
    data = {"state": "running", "role": "replica"} | ({"timeline": timeline} if timeline else {})
    return Member.from_node(1, name, "7", json.dumps(data))


def postgresql(timeline: int, *names: str):
    rows = [{"pid": 7, "application_name": name, "sync_state": "async", "flush_lsn": 900} for name in names]
    return SimpleNamespace(
        name="gg-db1",
        synchronous_commit=lambda: "on",
        pg_stat_replication=lambda: rows,
        last_operation=lambda: 500,
        get_primary_timeline=lambda: timeline,
    )


@pytest.fixture(autouse=True)
def wrapped(monkeypatch):
    original = sync._ReplicaList.__init__
    monkeypatch.setattr(sync._ReplicaList, "__init__", original)  # put back afterwards
    same_timeline.install()
    return original


def asked(timeline: int, *members: Member) -> set[str]:
    found = sync._ReplicaList(
        postgresql(timeline, *(one.name for one in members)), SimpleNamespace(members=members)
    )
    return {one.application_name for one in found}


def test_a_standby_of_the_old_history_is_left_out():
    assert asked(3, member("dj-db1", 3), member("dj-db2", 2)) == {"dj-db1"}


def test_without_the_mend_it_would_be_asked_first(wrapped, monkeypatch):
    monkeypatch.setattr(sync._ReplicaList, "__init__", wrapped)
    assert asked(3, member("dj-db2", 2)) == {"dj-db2"}


def test_one_that_has_not_said_its_timeline_is_as_good_as_before():
    assert asked(3, member("dj-db2", None)) == {"dj-db2"}


def test_a_primary_that_does_not_know_its_own_timeline_leaves_nobody_out():
    assert asked(0, member("dj-db2", 2)) == {"dj-db2"}


def test_names_are_compared_as_patroni_does():
    assert on_another([member("DJ-db2", 2)], 3) == {"dj-db2"}
