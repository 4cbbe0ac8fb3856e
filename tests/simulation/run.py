"""Run incidents: `python -m tests.simulation.run --incidents 200000`, or replay one: `--seed 17 --trace`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from . import alone
from .drags import drags
from .engine import Violation
from .incidents import KINDS, Plan, play
from .restarts import restarted
from .rules import MENDED, UPSTREAM
from .signatures import signed
from .world import Settings, World

NORMAL = Plan(kinds=(*KINDS, (signed, 2), (restarted, 2), (drags, 2)))
TELL_S = 30.0  # between two lines of progress


@dataclass
class Tally:
    """What came of a number of runs."""

    runs: int = 0
    incidents: int = 0
    takeovers: int = 0
    promotions: int = 0
    acknowledged: int = 0
    false_acknowledgements: int = 0  # PostgreSQL's own, after a cancel: counted apart
    lock_revoked: int = 0
    signatures: int = 0
    signed_away: int = 0  # acknowledged, and signed for as lost
    failures: dict[int, str] = field(default_factory=dict)
    by_invariant: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.incidents} incidents in {self.runs} runs: {self.takeovers} takeover transactions, "
            f"{self.promotions} promotions, {self.acknowledged} commits acknowledged "
            f"(and {self.false_acknowledgements} falsely, by a cancel), "
            f"{self.signatures} signatures (for {self.signed_away} commits), "
            f"{self.lock_revoked} locks revoked that were taken back, "
            f"{len(self.failures)} runs broke an invariant {dict(self.by_invariant) or ''}"
        )


def one(
    seed: int, settings: Settings | None = None, plan: Plan | None = None
) -> tuple[World, Violation | None]:
    """One run. The violation, if there was one, is the world's last event."""
    world = World(seed, settings)
    plan = plan or NORMAL
    try:
        (alone.play if plan.alone else play)(world, plan)
    except Violation as found:
        return world, found
    return world, None


def many(
    incidents: int,
    first_seed: int = 1,
    settings: Settings | None = None,
    plan: Plan | None = None,
    stop_at_first: bool = False,
    tell: Callable[[Tally], None] = lambda tally: None,
) -> Tally:
    """Runs until so many incidents have been injected, or until Ctrl-C: what was played then counts."""
    tally, seed = Tally(), first_seed
    while tally.incidents < incidents:
        try:
            world, found = one(seed, settings, plan)
        except KeyboardInterrupt:
            break
        tally.runs += 1
        tally.incidents += world.engine.incidents
        tally.takeovers += world.invariants.takeovers
        tally.promotions += world.invariants.promotions
        tally.acknowledged += len(world.servers.acknowledged)
        tally.false_acknowledgements += world.servers.false_acknowledgements
        tally.signatures += world.invariants.signatures
        tally.signed_away += world.invariants.signed_away
        tally.lock_revoked += world.invariants.lock_revoked
        if found is not None:
            tally.failures[seed] = str(found)
            tally.by_invariant[found.invariant] += 1
            if stop_at_first:
                break
        seed += 1
        tell(tally)
    return tally


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1, help="the first seed, or the one to replay")
    parser.add_argument("--trace", action="store_true", help="replay one seed and print what happened")
    parser.add_argument("--upstream", action="store_true", help="Patroni without the mends of ADR 5")
    given = parser.parse_args()
    settings = Settings(rules=UPSTREAM if given.upstream else MENDED)
    if given.trace:
        world, found = one(given.seed, settings)
        print("\n".join(world.engine.trace))
        return 1 if found else 0
    begin = time.monotonic()
    told = begin

    def tell(tally: Tally) -> None:
        nonlocal told
        if time.monotonic() - told >= TELL_S:
            told = time.monotonic()
            print(f"  {told - begin:.0f} s: {tally}", file=sys.stderr)

    tally = many(given.incidents, given.seed, settings, tell=tell)
    print(f"{tally}; {time.monotonic() - begin:.0f} s")
    for seed, what in list(tally.failures.items())[:20]:
        print(f"  seed {seed}: {what}")
    if tally.incidents < given.incidents:
        print(f"  interrupted: {given.incidents} were asked for")
    return 1 if tally.failures or tally.incidents < given.incidents else 0


if __name__ == "__main__":
    sys.exit(main())
