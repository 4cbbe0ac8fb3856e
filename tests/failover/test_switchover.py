"""A switchover against a small world in virtual time: every ending, and the poolers are always released."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from failover.handover import Handover, Pooler, PoolerState
from failover.switchover import End, Limits, Means, Moment, Result, Standing, Switchover, Unanswered

OLD, NEW, OTHER = "dj-db1", "gg-db1", "dj-db2"
APPS = ("dj-app1", "gg-app1")
Clock = Callable[[float], None]


@dataclass
class World:
    """Events happen at times after the hold or the offer; `None` never happens.

    An offer that stands for `begins_after_s` is acted on: what is taken back later changes nothing.
    """

    hold_after_s: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(APPS, 0.05))
    begins_after_s: float = 0.15
    stops_after_s: float = 0.35
    hand_over_after_s: float | None = 0.5
    writable_after_s: float | None = 0.7
    refused_after_s: float | None = None
    holder_instead: str | None = None
    hold_refused: str = ""
    answer_lost_after_s: float | None = None  # hold and offer were written, and nobody answered for so long
    busy_with: str = ""
    not_announced: str = ""
    gate_after_s: float | None = 0.0
    gate_shut_after_s: float | None = 0.0
    announced_at: float | None = None
    commits_after_s: float | None = 0.1
    settled_after_s: float | None = 3.0
    nobody_takes: bool = False
    succeeded_after_s: float | None = None  # after the release: the candidate dies, OTHER has the lock
    old_writable: bool = True
    now: float = 100.0
    held_at: float | None = None
    asked_at: float | None = None
    handover: Handover | None = None
    released_at: float | None = None
    withdrawn_at: float | None = None
    done: list[str] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _since(self, at: float | None, after_s: float | None) -> bool:
        return at is not None and after_s is not None and self.now - at >= after_s

    def announce(self, id: str, candidate: str) -> str:
        assert (id, candidate) == ("h1", NEW)
        assert self.held_at is None
        self.announced_at = None if self.not_announced else self.now
        return self.not_announced

    def gate_in_force(self, id: str, candidate: str) -> bool:
        assert (id, candidate) == ("h1", NEW)
        return self._since(self.announced_at, self.gate_after_s)

    def gate_open(self, candidate: str) -> bool:
        assert candidate == NEW
        return not self._since(self.announced_at, self.gate_shut_after_s)

    def checkpoint(self, host: str) -> str:
        self.done.append(f"checkpoint {host}")
        return ""

    def busy(self, host: str) -> str:
        assert host == OLD
        return self.busy_with

    def begin(self, handover: Handover) -> str:
        assert self.released_at is None
        assert (handover.old, handover.candidate) == (OLD, NEW)
        if self.hold_refused:
            return self.hold_refused
        self.handover, self.held_at, self.asked_at = handover, self.now, self.now
        if self.answer_lost_after_s is not None:
            self.now += self.answer_lost_after_s
            raise Unanswered("etcd: no answer")
        return ""

    def release(self) -> None:
        self.released_at = self.released_at if self.released_at is not None else self.now

    def _poolers(self) -> Mapping[str, Pooler | None]:
        if self.handover is None:
            return dict.fromkeys(APPS)
        words: dict[str, Pooler | None] = {}
        for host, after_s in self.hold_after_s.items():
            held = self._since(self.held_at, after_s)
            state = PoolerState.HELD if held else PoolerState.HOLDING
            words[host] = Pooler(host, state, self.handover.id, OLD)
        return words

    def withdraw(self, holder: str | None = None) -> None:
        if holder in (None, self.holder()) and self.withdrawn_at is None:
            self.withdrawn_at = self.now

    def taken(self) -> bool:
        """Whether Patroni of the old primary has begun to hand over, at some moment until now."""
        if self.asked_at is None or self.hand_over_after_s is None or self.refused_after_s is not None:
            return False
        until = self.now if self.withdrawn_at is None else self.withdrawn_at
        return until - self.asked_at >= self.begins_after_s

    def holder(self) -> str | None:
        if self._since(self.released_at, self.succeeded_after_s):
            return OTHER
        if self.taken() and self._since(self.asked_at, self.hand_over_after_s):
            return None if self.nobody_takes else self.holder_instead or NEW
        return None if self.taken() and self._since(self.asked_at, self.stops_after_s) else OLD

    def offered(self) -> bool:
        return self.asked_at is not None and self.withdrawn_at is None and self.holder() in (None, OLD)

    def standing(self) -> Standing | None:
        if self._since(self.asked_at, self.refused_after_s):
            return Standing(OLD, False, self._poolers())
        return Standing(self.holder(), self.offered(), self._poolers())

    def writable(self, host: str) -> bool:
        if host == OLD:
            return self.old_writable and not (
                self.taken() and self._since(self.asked_at, self.stops_after_s - 0.1)
            )
        if host == OTHER and self.succeeded_after_s is not None:
            return self._since(self.released_at, self.succeeded_after_s)
        return self._since(self.asked_at, self.writable_after_s)

    def commits(self, host: str) -> bool:
        assert self.released_at is not None
        dead = self._since(self.released_at, self.succeeded_after_s)
        return not dead and self._since(self.released_at, self.commits_after_s)

    def unsettled(self) -> str:
        return "" if self._since(self.released_at, self.settled_after_s) else "not back: dj-db1"


def run(world: World, **changes: Any) -> tuple[World, Any]:
    limits = Limits(handover_s=8.0, commit_s=5.0, settle_s=20.0)
    result = Switchover(
        world, "h1", OLD, NEW, world.clock, world.sleep, world.sleep, limits=limits, **changes
    ).run()  # pyright: ignore[reportArgumentType]
    return world, result


@pytest.mark.parametrize("dies_after_s", [0.05, 1.0], ids=["before a commit", "after a commit"])
def test_a_new_primary_that_is_replaced_at_once_is_not_called_done(dies_after_s):
    """Drill switchover-new-primary-dies: it said done, and named the dead host, twice in four runs."""
    _world, result = run(World(succeeded_after_s=dies_after_s))
    assert (result.end, result.primary) == (End.INCOMPLETE, OTHER)
    assert f"{OTHER} has it" in result.reason
    assert "settled" not in [one.event for one in result.moments]


def test_all_goes_well():
    _world, result = run(World())
    assert (result.end, result.primary, result.reason) == (End.DONE, NEW, "")
    assert 0.7 <= result.held_s <= 0.9
    events = [one.event for one in result.moments]
    assert events == [
        "announced",
        "checkpoint",
        "hold",
        "held",
        "writable",
        "released",
        "acknowledged",
        "settled",
    ]


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (World(gate_after_s=1.5), f"{NEW} will acknowledge nothing alone"),
        (
            World(gate_after_s=None, gate_shut_after_s=None),
            f"{NEW} will acknowledge alone at first ({NEW} did not answer)",
        ),
        (World(not_announced="etcd: x"), f"{NEW} will acknowledge alone at first (etcd: x)"),
    ],
    ids=["in force", "knows of none", "not announced"],
)
def test_nobody_waits_for_the_gate_and_what_comes_of_it_is_told(world, words):
    """Planted: the old primary's checkpoint came before that wait, and once more in the stop."""
    _, result = run(world)
    assert result.end is End.DONE
    assert result.held_s <= 0.9
    first, second = result.moments[:2]
    assert (first.event, first.detail) == ("announced", words)
    assert (second.event, second.at_s) == ("checkpoint", first.at_s)


def test_one_that_knows_of_no_gate_is_not_waited_for_long():
    _, result = run(World(gate_after_s=None, gate_shut_after_s=None))
    assert 10 <= result.moments[0].at_s <= 10.5
    _, result = run(World(gate_after_s=14.0))
    assert 14 <= result.moments[0].at_s <= 14.5


@pytest.mark.parametrize("shut_after_s", [0.0, 8.0])
def test_a_gate_that_is_shut_and_not_in_force_ends_it(shut_after_s):
    """Planted: it went on, and nobody could write until the candidate's restartpoint had ended."""
    world, result = run(World(gate_after_s=None, gate_shut_after_s=shut_after_s))
    assert (result.end, result.primary, result.held_s) == (End.UNCHANGED, OLD, None)
    assert "not shown to be in force within 20 s" in result.reason
    assert (world.asked_at, world.done) == (None, [])
    assert world.released_at is not None


def test_a_gatekeepers_own_limit_is_later_than_ours():
    """It must not let go in the middle of a handover that is still within its bounds."""
    world, _ = run(World())
    assert world.handover is not None
    assert world.handover.limit_ms > 8000


def test_a_long_transaction_ends_it_before_anything_is_held():
    world, result = run(World(busy_with="a transaction runs on dj-db1: process 4711"))
    assert (result.end, result.primary, result.held_s) == (End.UNCHANGED, OLD, None)
    assert "4711" in result.reason
    assert world.handover is None


def test_a_pooler_that_does_not_hold_is_named_and_the_handover_goes_on():
    """Patroni waits a moment for its transactions; what it breaks off was not acknowledged."""
    _world, result = run(World(hold_after_s={"dj-app1": 0.05, "gg-app1": None}))
    assert result.end is End.DONE
    written = {one.event: one.detail for one in result.moments}
    assert written["writable"] == f"{NEW}; not held: gg-app1"
    assert "held" not in written


def test_a_host_that_is_known_to_be_off_is_not_waited_for():
    _world, result = run(
        World(hold_after_s={"dj-app1": 0.05, "gg-app1": None}), without=frozenset({"gg-app1"})
    )
    assert "held" in [one.event for one in result.moments]


def test_a_refused_hold_changes_nothing():
    world, result = run(World(hold_refused="the cluster changed in this moment"))
    assert (result.end, result.primary, result.held_s) == (End.UNCHANGED, OLD, pytest.approx(0.0))
    assert world.asked_at is None
    assert world.now == 100.0  # nobody could act on it, so nobody is watched


def test_patroni_takes_the_offer_back():
    _world, result = run(World(refused_after_s=0.3, hand_over_after_s=None))
    assert (result.end, result.primary) == (End.UNCHANGED, OLD)
    assert "took the offer back" in result.reason


def test_the_candidate_dies_and_another_takes_over():
    _world, result = run(World(holder_instead="dj-db2"))
    assert (result.end, result.primary) == (End.INCOMPLETE, "dj-db2")
    assert result.held_s < 1.0


def test_nobody_takes_over_in_time_and_the_poolers_are_released_all_the_same():
    world, result = run(World(hand_over_after_s=None, old_writable=False))
    assert result.end is End.UNKNOWN
    assert world.withdrawn_at is not None
    assert world.released_at is not None
    assert result.held_s <= 8.2


def test_the_old_primary_comes_back_after_the_limit():
    _world, result = run(World(hand_over_after_s=None))
    assert (result.end, result.primary) == (End.UNCHANGED, OLD)


def test_a_primary_that_acknowledges_nothing_is_incomplete():
    _world, result = run(World(commits_after_s=None))
    assert (result.end, result.primary) == (End.INCOMPLETE, NEW)
    assert "acknowledged no commit" in result.reason


def test_a_service_that_does_not_become_whole_is_incomplete():
    _world, result = run(World(settled_after_s=None))
    assert (result.end, result.reason) == (End.INCOMPLETE, "not back: dj-db1")


def test_a_crash_in_the_middle_releases():
    class Broken(World):
        def standing(self) -> Standing | None:
            raise OSError("no such thing")

    world = Broken()
    with pytest.raises(OSError, match="no such thing"):
        run(world)
    assert world.released_at is not None
    assert not world.offered()


@pytest.mark.parametrize("breaks_at", ["standing", "writable"])
@pytest.mark.parametrize("interrupted", [False, True])
def test_whatever_ends_it_the_offer_is_taken_back_first(breaks_at: str, interrupted: bool) -> None:
    """Planted: only an Exception did so, and none that came while an interruption was dealt with."""

    class Ended(World):
        def begin(self, handover: Handover) -> str:
            super().begin(handover)
            setattr(self, breaks_at, self.ends)
            if interrupted:
                raise KeyboardInterrupt
            return ""

        def ends(self, *of: str) -> bool:
            raise SystemExit(1)

        def release(self) -> None:
            if self.released_at is None:
                self.done.append("offered" if self.withdrawn_at is None else "taken back")
            super().release()

    world = Ended(hand_over_after_s=None)
    with pytest.raises(SystemExit):
        run(world)
    assert world.done[-1] == "taken back"


GONE = [OSError(5, "Input/output error"), BrokenPipeError(), SystemExit(1)]


def mute(error: BaseException) -> Callable[[Moment], None]:
    def say(moment: Moment) -> None:
        raise error

    return say


@pytest.mark.parametrize("error", GONE, ids=repr)
def test_a_handover_that_nobody_listens_to_any_more_goes_on(error: BaseException) -> None:
    """Planted: its first word to a terminal that hung up, or to a pipe that nobody reads, broke it off."""
    world, result = run(World(), say=mute(error))
    assert (result.end, result.primary) == (End.DONE, NEW)
    assert "settled" in [one.event for one in result.moments]
    assert world.released_at is not None


def test_a_lost_answer_of_what_is_acted_on_is_followed() -> None:
    _, result = run(World(answer_lost_after_s=0.6, hand_over_after_s=0.9, writable_after_s=1.1))
    assert (result.end, result.primary, result.reason) == (End.DONE, NEW, "")
    assert result.held_s >= 1.1
    assert result.moments[2].event == "unanswered"


def test_a_lost_answer_of_what_nobody_acts_on_is_taken_back() -> None:
    world = World(answer_lost_after_s=0.6, begins_after_s=9.9)
    means, result = signalled(world, 0, after=False)
    assert means.calls.index("withdraw") < means.calls.index("release")
    assert (result.end, result.primary, result.reason) == (End.UNCHANGED, OLD, "etcd: no answer")
    assert world.holder() == OLD


@pytest.mark.parametrize(
    "late",
    [
        World(begins_after_s=0.55, stops_after_s=1.5, hand_over_after_s=1.8, writable_after_s=2.0,
              answer_lost_after_s=0.6),
        World(begins_after_s=7.9, stops_after_s=9.0, hand_over_after_s=9.5, writable_after_s=9.9),
    ],
    ids=["the answer was lost", "the limit was over"],
)  # fmt: skip
def test_an_old_primary_that_may_have_begun_to_stop_is_watched(late: World) -> None:
    """Planted: the first look that found it still writable ended with "unchanged", exit status 1."""
    world, result = run(late)
    assert world.withdrawn_at is not None
    assert world.released_at is not None
    world.now += 60.0
    assert world.holder() == NEW
    assert (result.end, result.primary) == (End.INCOMPLETE, NEW)


class Signalled:
    """A world whose call number `at`, of any kind, is broken off: before its effect, or after it."""

    def __init__(self, world: World, at: int, *, after: bool) -> None:
        self._world, self._at, self._after = world, at, after
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            self.calls.append(name)
            mine = len(self.calls) == self._at
            if mine and not self._after:
                raise KeyboardInterrupt("SIGTERM")
            try:
                return getattr(self._world, name)(*arguments)
            finally:
                if mine:
                    raise KeyboardInterrupt("SIGTERM")

        return call


def signalled(world: World, at: int, *, after: bool, **changes: Any) -> tuple[Signalled, Result]:
    means = Signalled(world, at, after=after)
    limits = Limits(handover_s=8.0, commit_s=5.0, settle_s=20.0)
    result = Switchover(
        cast(Means, means), "h1", OLD, NEW, world.clock,
        cast(Clock, means.sleep), cast(Clock, means.sleep), limits=limits, **changes,
    ).run()  # fmt: skip
    return means, result


WORLDS: dict[str, Callable[[], World]] = {
    "all goes well": World,
    "the gate takes a while": lambda: World(gate_after_s=1.0),
    "nothing is announced": lambda: World(not_announced="etcd: x"),
    "nobody takes over": lambda: World(hand_over_after_s=None),
    "another takes over": lambda: World(holder_instead="dj-db2"),
    "patroni takes the offer back": lambda: World(refused_after_s=0.3),
    "refused": lambda: World(hold_refused="the cluster changed in this moment"),
    "busy": lambda: World(busy_with="a transaction runs"),
    "the answer is lost": lambda: World(answer_lost_after_s=0.6),
    "the answer is lost and nobody acts": lambda: World(answer_lost_after_s=0.6, hand_over_after_s=None),
}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", WORLDS)
def test_interrupted_at_any_call_it_leaves_nothing_behind_and_tells_the_truth(name: str, after: bool) -> None:
    calls, _ = signalled(WORLDS[name](), 0, after=after)
    steps = len(calls.calls)
    assert steps >= 4
    for at in range(1, steps + 1):
        world = WORLDS[name]()
        seen, result = signalled(world, at, after=after)
        where = f"call {at}: {seen.calls[at - 1]}, {result.end}"
        assert world.asked_at is None or world.released_at is not None, where
        assert world.announced_at is None or world.released_at is not None, where
        assert not world.offered(), where
        assert result.reason.startswith("SIGTERM"), where
        world.now += 60.0
        assert world.holder() == result.primary, where
        assert result.end is (End.UNCHANGED if result.primary == OLD else End.INCOMPLETE), where


def test_an_interruption_at_once_is_taken_back_before_the_poolers_let_go() -> None:
    world = World()
    means, result = signalled(world, 6, after=False)
    before = ["announce", "gate_in_force", "checkpoint", "busy"]
    assert means.calls[:6] == [*before, "begin", "standing"]
    assert means.calls.index("withdraw") < means.calls.index("release")
    assert (result.end, result.primary) == (End.UNCHANGED, OLD)


@pytest.mark.parametrize("error", GONE, ids=repr)
def test_an_interruption_is_taken_back_also_when_nobody_listens(error: BaseException) -> None:
    """ssh dies in the hold. Planted: the words about that were the last thing that was done."""
    world = World()
    means, result = signalled(world, 6, after=False, say=mute(error))
    assert means.calls[5] == "standing"
    assert means.calls.index("withdraw") < means.calls.index("release")
    assert (result.end, result.primary, world.offered()) == (End.UNCHANGED, OLD, False)


def test_an_interruption_of_what_has_begun_holds_until_the_candidate_accepts_writes() -> None:
    world = World()
    undisturbed, _ = signalled(World(), 0, after=False)
    asleep = [number for number, name in enumerate(undisturbed.calls, 1) if name == "sleep"]
    _, result = signalled(world, asleep[3], after=True)
    assert (result.end, result.primary) == (End.INCOMPLETE, NEW)
    assert "goes on" in [one.event for one in result.moments]
    assert world.released_at is not None
    assert world.asked_at is not None
    assert world.released_at - world.asked_at >= 0.7


def test_an_offer_of_a_free_lock_that_nobody_takes_is_taken_back_in_the_end() -> None:
    world = World(nobody_takes=True)
    undisturbed, _ = signalled(World(nobody_takes=True), 0, after=False)
    asleep = [number for number, name in enumerate(undisturbed.calls, 1) if name == "sleep"]
    _, result = signalled(world, asleep[6], after=True)
    assert (result.end, world.offered()) == (End.UNKNOWN, False)
    assert result.held_s is not None
    assert result.held_s <= 8.2


def test_an_interruption_after_which_nobody_is_seen_is_unknown() -> None:
    world = World(hand_over_after_s=None, old_writable=False)
    _, result = signalled(world, 5, after=False)
    assert (result.end, result.primary) == (End.UNKNOWN, None)
    assert not world.offered()
