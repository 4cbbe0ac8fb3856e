"""A standby that drags commits is left out after the set time and comes back; in Patroni's own list."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import SimpleNamespace

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from patroni.dcs import Member
from patroni.postgresql import sync

from replication.mends import dragging, same_timeline
from replication.mends.dragging import BREAK_S, SPARED, Drags, replacement
from replication.mends.flush_watch import Flushed, FlushWatch
from replication.mends.wrapping import ReplacedFunctionChanged
from replication.unprotected import Intervals, write

LIMIT_S, TIME_S, STEP_S = 0.5, 5.0, 0.1
WAL_PER_S = 1000
Lag = Callable[[float], float | None]  # time -> age of what is flushed; None when it does not stream


def slow_disk(closed_s: float, open_s: float) -> Lag:
    """Stands still, then takes all, in turn, as the lab's fault `disk-slow` does."""

    def lag(at_s: float) -> float:
        phase = at_s % (closed_s + open_s)
        return phase if phase < closed_s else 0.0

    return lag


def steady(lag_s: float) -> Lag:
    return lambda at_s: min(lag_s, at_s)


def played(lag: Lag, until_s: float, drags: Drags | None = None, since_s: float = 0.0) -> list[float]:
    """Every time at which the standby b is left out. The primary flushes all the time.

    Lag is measured by samples: up to STEP_S too short.
    """
    drags = drags or Drags(LIMIT_S, TIME_S)
    out = []
    for step in range(round(since_s / STEP_S), round(until_s / STEP_S)):
        at_s = step * STEP_S
        behind_s = lag(at_s)
        flushed = {} if behind_s is None else {"b": round((at_s - behind_s) * WAL_PER_S)}
        drags.take(at_s, round(at_s * WAL_PER_S), flushed)
        if "b" in drags.draggers(at_s):
            out.append(at_s)
    return out


def test_a_steady_lag_above_the_bound_is_out_after_the_time_and_not_before():
    out = played(steady(0.8), 20.0)
    assert TIME_S <= out[0] <= TIME_S + 1.0
    assert out[-1] > 19.8


def test_a_disk_that_stalls_again_and_again_is_out_though_each_stall_ends():
    out = played(slow_disk(0.8, 0.05), 20.0)
    assert TIME_S <= out[0] <= TIME_S + 2.0
    assert out[-1] > 19.8


@pytest.mark.parametrize(
    "lag",
    [
        steady(0.4),
        slow_disk(0.4, 0.05),
        lambda at_s: 0.8 if at_s % 2 < 0.2 else 0.0,  # one stall in two seconds: the flapping WAN
        lambda at_s: 3.0 if 6.0 <= at_s < 6.1 else 0.0,  # one sample
        lambda at_s: at_s % 4.8 if at_s < 4.8 else 0.0,  # a stall shorter than the time
        lambda at_s: None,
    ],
)
def test_what_is_no_drag(lag: Lag):
    assert played(lag, 30.0) == []


def test_a_standby_that_answers_nothing_drags_while_the_primary_goes_on():
    stands = played(lambda at_s: max(0.0, at_s - 3.0), 12.0)
    assert 8.0 <= stands[0] <= 9.0


def test_an_idle_standby_does_not_drag():
    drags = Drags(LIMIT_S, TIME_S)
    for step in range(300):
        drags.take(step * STEP_S, 7000, {"b": 7000})
        assert not drags.draggers(step * STEP_S)


def test_far_behind_what_is_remembered_is_behind():
    """A ring that begins above what the standby has knows the lag as *at least*."""
    drags = Drags(LIMIT_S, TIME_S)
    out = [at for at in range(20) if _far(drags, float(at)) and drags.draggers(float(at))]
    assert out[0] in (6, 7)


def _far(drags: Drags, at_s: float) -> bool:
    drags.take(at_s, 9_000_000 + int(at_s), {"b": 5})
    return True


def test_it_is_back_after_as_long_below_half():
    drags = Drags(LIMIT_S, TIME_S)
    played(steady(0.8), 10.0, drags)
    assert played(steady(0.4), 20.0, drags, 10.0)[-1] > 19.8  # above half
    out = played(steady(0.1), 30.0, drags, 20.0)
    assert (1 - SPARED) * TIME_S - 0.2 <= out[-1] - 20.0 <= TIME_S + 0.3  # the share that may be bad


def test_a_link_that_is_cut_for_a_moment_now_and_then_does_not_keep_it_out():
    """The soak: cut for 0.4 s in every 5.1 s, and TCP needs as long again."""
    drags = Drags(LIMIT_S, TIME_S)
    played(steady(0.8), 10.0, drags)
    out = played(lambda at_s: 0.7 if at_s % 5.1 < 0.5 else 0.0, 60.0, drags, 10.0)
    assert (1 - SPARED) * TIME_S - 0.2 <= out[-1] - 10.0 <= 2 * TIME_S


@pytest.mark.parametrize("closed_s", [0.7, 0.9])
def test_a_disk_that_stalls_once_a_second_stays_out(closed_s: float):
    drags = Drags(LIMIT_S, TIME_S)
    played(slow_disk(0.8, 0.05), 15.0, drags)
    assert played(slow_disk(closed_s, 1.0 - closed_s), 60.0, drags, 15.0)[-1] > 59.8


def test_one_that_is_out_and_goes_away_is_not_back_before_it_has_shown_itself_good():
    drags = Drags(LIMIT_S, TIME_S)
    played(steady(0.8), 10.0, drags)
    out = played(lambda at_s: None if at_s < 20.0 else 0.0, 30.0, drags, 10.0)
    assert 20.0 + TIME_S - 0.2 <= out[-1] <= 20.0 + TIME_S + 0.3


def test_unknown_is_not_dragging():
    drags = Drags(LIMIT_S, TIME_S)
    played(steady(0.8), 10.0, drags)
    assert drags.draggers(10.0 + TIME_S - 0.2)
    assert not drags.draggers(10.0 + TIME_S + 0.2)


def test_a_pause_in_the_samples_is_a_break():
    """A host that slept for 40 s: what was flushed in the pause is not 40 s late."""
    drags = Drags(LIMIT_S, TIME_S)
    played(steady(0.8), 4.5, drags)
    assert played(steady(0.8), 42.0 + TIME_S - 0.3, drags, 42.0) == []


@given(st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.6, 3.0, None]), max_size=150))
def test_it_needs_many_bad_samples(lags: list[float | None]):
    """Never because of one sample: in every run that ends outside, at least three were above the bound."""
    drags, bad = Drags(LIMIT_S, TIME_S), 0
    for step, lag_s in enumerate(lags):
        at_s = 100.0 + step * 0.3
        flushed = {} if lag_s is None else {"b": round((at_s - lag_s) * WAL_PER_S)}
        drags.take(at_s, round(at_s * WAL_PER_S), flushed)
        bad += lag_s is not None and lag_s > 0.4  # the ring's steps are 0.3 s
        if drags.draggers(at_s):
            assert bad >= math.ceil(TIME_S / BREAK_S)


# Planted: the rules that are nearest, each caught by a test above.


def test_planted_without_a_pause_allowed_the_slow_disk_is_never_found(monkeypatch):
    """Above without any break: an open moment of 50 ms hides a disk that is slow for minutes."""
    monkeypatch.setattr(dragging, "BREAK_S", 0.15)
    assert played(slow_disk(0.8, 0.05), 60.0) == []


def test_planted_once_a_second_is_too_seldom():
    drags, found = Drags(LIMIT_S, TIME_S), False
    lag = slow_disk(0.8, 0.2)  # in step with the loop: each sample falls into the open moment
    for at in range(60):
        drags.take(float(at), at * WAL_PER_S, {"b": round((at - lag(at + 0.9)) * WAL_PER_S)})
        found |= bool(drags.draggers(float(at)))
    assert not found


def test_planted_a_longer_pause_takes_out_a_flapping_wan(monkeypatch):
    monkeypatch.setattr(dragging, "BREAK_S", 2.0)
    assert played(lambda at_s: 0.8 if at_s % 2 < 0.2 else 0.0, 30.0)


# In Patroni's own list.


class Named:
    """What is used of Patroni's cluster."""

    def __init__(self, *members: Member) -> None:
        self.members = members
        self.sync = SimpleNamespace(matches=lambda name: True)


def member(name: str) -> Member:
    data = {"state": "running", "role": "replica", "timeline": 3}
    return Member.from_node(1, name, "7", json.dumps(data))


def postgresql(*names: str):
    rows = [{"pid": 7, "application_name": name, "sync_state": "sync", "flush_lsn": 900} for name in names]
    return SimpleNamespace(
        name="dj-db1",
        synchronous_commit=lambda: "on",
        pg_stat_replication=lambda: rows,
        last_operation=lambda: 500,
        get_primary_timeline=lambda: 3,
    )


@pytest.fixture(autouse=True)
def original(monkeypatch):
    kept = sync._ReplicaList.__init__
    monkeypatch.setattr(sync._ReplicaList, "__init__", kept)  # put back afterwards
    return kept


class Out:
    def __init__(self, *names: str) -> None:
        self.names, self.asked = frozenset(names), []

    def left_out(self, primary, asked, named):
        self.asked.append((primary, *asked))
        return self.names


def asked_of(watch) -> set[str]:
    same_timeline.install()
    sync._ReplicaList.__init__ = replacement(sync._ReplicaList.__init__, watch)
    found = sync._ReplicaList(postgresql("dj-db2", "GG-db1"), Named(member("dj-db2"), member("GG-db1")))
    return {one.application_name for one in found}


def test_a_dragger_is_left_out_of_patronis_list_whatever_its_case():
    watch = Out("gg-db1")
    assert asked_of(watch) == {"dj-db2"}
    assert watch.asked == [("dj-db1", "dj-db2", "GG-db1")]


def test_without_draggers_the_list_is_patronis():
    assert asked_of(Out()) == {"dj-db2", "GG-db1"}


def test_the_last_one_may_be_left_out_too():
    assert asked_of(Out("gg-db1", "dj-db2")) == set()


def test_it_is_installed_over_the_other_wrapper_and_a_changed_constructor_is_refused():
    same_timeline.install()
    dragging.install(LIMIT_S, TIME_S)
    sync._ReplicaList.__init__ = lambda self, more: None
    with pytest.raises(ReplacedFunctionChanged):
        dragging.install(LIMIT_S, TIME_S)


# The watch and the record.


class Answers:
    """In the place of the server."""

    def __init__(self) -> None:
        self.next: Flushed | None = None

    def ask(self) -> Flushed | None:
        return self.next

    def close(self) -> None: ...


class Watched:
    """A watch in a time of its own, without its thread."""

    def __init__(self, monkeypatch) -> None:
        self.at_s, self.named, self.lines, self.server = 0.0, True, [], Answers()
        monkeypatch.setattr("replication.mends.flush_watch.Thread", lambda **more: SimpleNamespace(
            start=lambda: None, is_alive=lambda: True))  # fmt: skip
        self.watch = FlushWatch(
            Drags(LIMIT_S, TIME_S), self.server, lambda line: self.lines.append(json.loads(line)),
            lambda: self.at_s, lambda: 1_700_000_000.0 + self.at_s,
        )  # fmt: skip

    def play(self, lag_s: float, until_s: float) -> frozenset[str]:
        left = frozenset()
        while self.at_s < until_s:
            self.at_s += STEP_S
            at = round(self.at_s * WAL_PER_S)
            self.server.next = Flushed(at, {"gg-db1": at - round(lag_s * WAL_PER_S)})
            assert self.watch.round() is True
            left = self.watch.left_out("dj-db1", ["GG-db1"], lambda name: self.named)
        self.watch.flush()
        return left


@pytest.fixture
def watched(monkeypatch) -> Watched:
    return Watched(monkeypatch)


def test_the_interval_lasts_until_sync_names_it_again(watched, caplog):
    assert watched.play(0.8, 10.0) == {"gg-db1"}
    watched.named = False
    assert watched.play(0.0, 20.0) == frozenset()
    (begun,) = watched.lines
    assert (begun["host"], begun["primary"], begun["until"], begun["seconds"]) == (
        "gg-db1",
        "dj-db1",
        None,
        None,
    )
    watched.named = True
    watched.play(0.0, 21.0)
    assert len(watched.lines) == 2
    ended = watched.lines[1]
    assert ended["from"] == begun["from"]
    assert ended["until"] == "2023-11-14T22:13:40.100+00:00"
    assert 12.0 < ended["seconds"] < 15.2
    assert [r.getMessage().split(":")[0][:35] for r in caplog.records] == [
        "gg-db1 drags commits and is left ou",
        f"gg-db1 was out of the sync set for {ended['seconds']:.1f} s"[:35],
    ]


def test_a_host_that_is_no_primary_any_more_ends_its_intervals_and_begins_anew(watched):
    watched.play(0.8, 10.0)
    watched.server.next = Flushed(None, {})
    assert watched.watch.round() is False
    watched.watch.flush()
    assert watched.lines[-1]["ended"] == "not the primary any more"
    assert watched.watch.left_out("dj-db1", ["gg-db1"], lambda name: True) == frozenset()


def test_a_server_that_does_not_answer_says_nothing(watched):
    watched.play(0.8, 10.0)
    watched.server.next = None
    assert watched.watch.round() is None
    assert watched.watch.left_out("dj-db1", ["gg-db1"], lambda name: True) == {"gg-db1"}


def test_one_that_drags_and_is_not_asked_anyway_makes_no_interval():
    assert Intervals().take("dj-db1", (), lambda name: True, "", 1.0, 1.0) == []


def test_a_record_that_cannot_be_written_is_said_and_stops_nothing(tmp_path, caplog):
    write('{"host": "x"}', tmp_path / "none" / "a.jsonl")
    assert "cannot be written" in caplog.text
    for line in ("1", "2"):
        write(line, tmp_path / "a.jsonl")
    assert (tmp_path / "a.jsonl").read_text() == "1\n2\n"


def test_a_standby_that_streams_no_more_wakes_patroni_once(watched):
    woken: list[str] = []
    watched.watch.wakeup = lambda: woken.append("woken")
    watched.play(0.05, 1.0)
    assert woken == []
    watched.server.next = None  # no answer says nothing of the standby
    assert watched.watch.round() is None
    assert woken == []
    for _ in range(3):
        watched.server.next = Flushed(2000, {})
        assert watched.watch.round() is True
    assert woken == ["woken"]


def test_a_host_that_is_no_primary_wakes_nobody(watched):
    woken: list[str] = []
    watched.watch.wakeup = lambda: woken.append("woken")
    watched.play(0.05, 1.0)
    watched.server.next = Flushed(None, {})
    assert watched.watch.round() is False
    assert woken == []


def test_the_loop_tells_the_watch_whom_to_wake(watched):
    """The watch runs before it has been told, and wakes nobody then."""
    watched.play(0.05, 1.0)
    called, woken = [], []
    ha = SimpleNamespace(wakeup=lambda: woken.append("woken"))
    dragging.woken(called.append, watched.watch)(ha)
    watched.server.next = Flushed(2000, {})
    watched.watch.round()
    assert (called, woken) == ([ha], ["woken"])
