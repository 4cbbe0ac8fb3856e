"""Where a change of site waits for a person: nothing moves before the yes, and within seconds after it."""

from __future__ import annotations

import pytest

from failover.policy import Mode, Policy

from . import approvals
from .incidents import Kind, only
from .run import many
from .world import Settings, World

ASKS = Settings(policy=Policy(cross_site=Mode.APPROVE), hazard=0, person=False)
KINDS = (
    approvals.lock_returns,
    approvals.withdrawn,
    approvals.for_another_lock,
    approvals.approved_and_lost,
    approvals.nobody_approves,
)


def lose_site(world: World) -> None:
    for host, site in world.network.site_of.items():
        if site == "dj":
            world.power_off(host)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_moves_past_the_lease_and_all_moves_on_a_yes(seed: int) -> None:
    world = World(seed, ASKS)
    world.run(5000)
    lose_site(world)
    world.run(60_000)
    assert (world.invariants.takeovers, world.invariants.promotions) == (0, 0)
    world.approve("gg-db1")
    assert world.until_acknowledged(10_000) < 3000
    assert (world.invariants.takeovers, world.invariants.primary) == (1, "gg-db1")


@pytest.mark.parametrize("seed", range(3))
def test_a_yes_before_the_lease_has_run_out_is_carried_out_at_once(seed: int) -> None:
    world = World(seed, ASKS)
    world.run(5000)
    lose_site(world)
    world.run(6000)
    assert world.invariants.takeovers == 0
    world.approve("gg-db1")
    assert world.until_acknowledged(10_000) < 3000


def test_a_yes_to_a_healthy_primary_moves_nothing() -> None:
    world = World(1, ASKS)
    world.run(5000)
    world.approve("gg-db1")
    world.run(60_000)
    assert (world.invariants.takeovers, world.invariants.promotions) == (0, 0)


def test_a_lost_host_is_replaced_inside_its_site_without_a_person() -> None:
    world = World(1, ASKS)
    world.run(5000)
    world.power_off("dj-db1")
    world.run(200)
    assert world.until_acknowledged(10_000) < 6000
    assert world.invariants.primary == "dj-db2"


def test_the_last_primary_comes_back_to_its_own_lock_without_a_person() -> None:
    world = World(1, ASKS)
    world.run(5000)
    lose_site(world)
    world.run(40_000)
    for host in list(world.network.down):
        world.power_on(host)
    world.until_acknowledged(30_000)
    assert (world.invariants.takeovers, world.network.site_of[world.invariants.primary]) == (0, "dj")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_invariant_breaks_around_a_yes(kind: Kind) -> None:
    assert many(12, settings=ASKS, plan=only(kind)).failures == {}


@pytest.mark.parametrize("both", [False, True], ids=["cross-site", "both"])
def test_no_invariant_breaks_where_a_person_is_asked(both: bool) -> None:
    policy = Policy(in_site=Mode.APPROVE if both else Mode.AUTOMATIC, cross_site=Mode.APPROVE)
    tally = many(500, settings=Settings(policy=policy))
    print(tally)
    assert tally.failures == {}
    assert tally.takeovers > 0


@pytest.mark.parametrize(
    ("kind", "first_seed", "runs"),
    [
        (approvals.everything_starts, 1, 12),
        (approvals.everything_starts, 1000, 250),
        (approvals.unread_word, 1, 20),
    ],
)
def test_a_start_of_everything_moves_nothing(kind: Kind, first_seed: int, runs: int) -> None:
    """In seeds 1000 to 1249 the code before `Freshness.doubt` moved the primary three times."""
    tally = many(runs, first_seed, settings=Settings(hazard=0), plan=only(kind))
    assert (tally.failures, tally.runs) == ({}, runs)
