"""Judgements on what the probes say: stale sight is no sight, and two primaries are none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from lab.drill import sight
from lab.drill.driver import Watched
from lab.drill.exchange import Exchanged
from lab.drill.operations import Stage
from lab.drill.probes import dcs_view, patroni_view

ALL = frozenset({"a", "b", "c"})
HOME = frozenset({"a", "b"})
WANTED = sight.Wanted(ALL, 2)


def primary(*standbys: str, at: float = 100.0) -> dict[str, Any]:
    names = list(standbys)
    return {"at": at, "role": "primary", "streaming": names, "sync": names, "in_sync_set": False}


def standby(at: float = 100.0, in_sync_set: bool = True) -> dict[str, Any]:
    return {"at": at, "role": "standby", "streaming": [], "sync": [], "in_sync_set": in_sync_set}


def seen(**hosts: dict[str, Any]) -> Watched:
    return Watched(status={"at": 100.0, "seen": {"patroni": hosts}})


def test_whole_at_home():
    assert sight.whole(seen(a=primary("b", "c"), b=standby(), c=standby()), WANTED, HOME)


def test_not_whole():
    assert not sight.whole(seen(a=standby(), b=standby(), c=primary("a", "b")), WANTED, HOME)
    assert not sight.whole(seen(a=primary("b"), b=standby(), c=standby()), WANTED, HOME)
    assert not sight.whole(seen(a=primary("b", "c"), b=standby(), c=standby(in_sync_set=False)), WANTED, HOME)
    assert not sight.whole(seen(a=primary("b", "c"), b=standby(), c=standby(at=90.0)), WANTED, HOME)
    assert not sight.whole(Watched(), WANTED, HOME)


def test_two_primaries_are_none():
    assert sight.primary_of(seen(a=primary(), b=primary())) is None


def test_a_primary_that_was_seen_long_ago_is_none():
    assert sight.primary_of(seen(a=primary(at=90.0))) is None


def test_unreachable_needs_a_look_after_the_fault_at_every_host():
    gone = {"role": "unreachable"}
    assert sight.unreachable(seen(a={"at": 99.0, **gone}, b={"at": 99.5, **gone}), HOME, 98.0)
    assert not sight.unreachable(seen(a={"at": 97.0, **gone}, b={"at": 99.5, **gone}), HOME, 98.0)
    assert not sight.unreachable(seen(a={"at": 99.0, **gone}), HOME, 98.0)


def test_what_a_probe_says():
    assert patroni_view(Exchanged(Stage.CONNECT))["role"] == "unreachable"
    starting = Exchanged(Stage.ANSWERED, 503, {"role": "replica", "state": "starting"})
    assert patroni_view(starting)["role"] == "other"
    rows = [{"application_name": "b", "state": "streaming", "sync_state": "sync"}]
    view = patroni_view(
        Exchanged(Stage.ANSWERED, 200, {"role": "primary", "state": "running", "replication": rows})
    )
    assert (view["role"], view["streaming"], view["sync"]) == ("primary", ["b"], ["b"])


def told(leader: str | None, operation: dict[str, Any] | None = None, sync: str | None = None) -> Exchanged:
    def part(value: str | None) -> dict[str, Any]:
        rows = [{"value": base64.b64encode(value.encode()).decode(), "mod_revision": "7"}] if value else []
        return {"response_range": {"kvs": rows} if rows else {}}

    answers = [part(leader), part(json.dumps(operation) if operation else None), part(sync)]
    return Exchanged(Stage.ANSWERED, 200, {"header": {}, "succeeded": True, "responses": answers})


def test_a_free_lock_is_not_an_etcd_that_did_not_answer():
    assert dcs_view(told("dj"))["holder"] == "dj"
    assert dcs_view(told(None))["holder"] == ""
    assert dcs_view(Exchanged(Stage.CONNECT)) == {"holder": None}
    assert dcs_view(Exchanged(Stage.ANSWERED, 503, {"error": "x"})) == {"holder": None}


def test_the_epoch_is_known_only_when_the_dcs_answered():
    assert dcs_view(told("dj", {"epoch": 3, "phase": "done"})) == {
        "holder": "dj",
        "epoch": 3,
        "phase": "done",
        "operation_revision": 7,
    }
    assert dcs_view(told("dj"))["epoch"] == 0
    assert "epoch" not in dcs_view(Exchanged(Stage.CONNECT))


@pytest.mark.parametrize(
    ("written", "named"),
    [("gg-db1,dj-db2", ["dj-db2", "gg-db1"]), ("gg-db1", ["gg-db1"]), ("", []), (None, [])],
)
def test_whom_sync_names(written, named):
    view = dcs_view(told("dj", sync=json.dumps({"leader": "dj", "sync_standby": written, "quorum": 0})))
    assert (view["sync"], view["sync_revision"]) == (named, 7)


def test_without_a_sync_key_nothing_is_said_of_it():
    assert "sync" not in dcs_view(told("dj"))
