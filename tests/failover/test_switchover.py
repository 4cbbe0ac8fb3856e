"""A switchover against a small world in virtual time: every ending, and the poolers are always released."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from failover.handover import Handover, Pooler, PoolerState
from failover.switchover import End, Limits, Standing, Switchover

OLD, NEW = "dj-db1", "gg-db1"
APPS = ("dj-app1", "gg-app1")


@dataclass
class World:
    """Events happen at times after the hold or the offer; `None` never happens."""

    hold_after_s: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(APPS, 0.05))
    hand_over_after_s: float | None = 0.5
    writable_after_s: float | None = 0.7
    refused_after_s: float | None = None
    holder_instead: str | None = None
    hold_refused: str = ""
    busy_with: str = ""
    commits_after_s: float | None = 0.1
    settled_after_s: float | None = 3.0
    old_writable: bool = True
    now: float = 100.0
    held_at: float | None = None
    asked_at: float | None = None
    handover: Handover | None = None
    released_at: float | None = None
    withdrawn: bool = False
    done: list[str] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def _since(self, at: float | None, after_s: float | None) -> bool:
        return at is not None and after_s is not None and self.now - at >= after_s

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

    def withdraw(self, old: str, candidate: str) -> None:
        self.withdrawn = True

    def standing(self) -> Standing | None:
        if self._since(self.asked_at, self.refused_after_s):
            return Standing(OLD, False, self._poolers())
        if self._since(self.asked_at, self.hand_over_after_s):
            return Standing(self.holder_instead or NEW, False, self._poolers())
        return Standing(OLD, self.asked_at is not None and not self.withdrawn, self._poolers())

    def writable(self, host: str) -> bool:
        if host == OLD:
            return self.old_writable
        return self._since(self.asked_at, self.writable_after_s)

    def commits(self, host: str) -> bool:
        assert self.released_at is not None
        return self._since(self.released_at, self.commits_after_s)

    def unsettled(self) -> str:
        return "" if self._since(self.released_at, self.settled_after_s) else "not back: dj-db1"


def run(world: World, **changes: object) -> tuple[World, object]:
    limits = Limits(handover_s=8.0, commit_s=5.0, settle_s=20.0)
    result = Switchover(
        world, "h1", OLD, NEW, world.clock, world.sleep, world.sleep, limits=limits, **changes
    ).run()  # pyright: ignore[reportArgumentType]
    return world, result


def test_all_goes_well():
    _world, result = run(World())
    assert (result.end, result.primary, result.reason) == (End.DONE, NEW, "")
    assert 0.7 <= result.held_s <= 0.9
    events = [one.event for one in result.moments]
    assert events == [
        "checkpoint",
        "hold",
        "held",
        "writable",
        "released",
        "acknowledged",
        "settled",
    ]


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
    assert world.withdrawn
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
