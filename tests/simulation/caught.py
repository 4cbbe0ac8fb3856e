"""After how many incidents each planted bug is caught, as Markdown: `python -m tests.simulation.caught`."""

from __future__ import annotations

from .planted import PLANTED
from .planting import Planted
from .run import many


def row(bug: Planted) -> str:
    with bug.patch():
        found = many(bug.at_most, settings=bug.settings, plan=bug.plan, stop_at_first=True)
    invariant = next(iter(found.by_invariant), "**not caught**")
    return f"| {bug.name} | {found.incidents} | {invariant} |"


def main() -> None:
    print("| planted bug | incidents | the invariant that breaks |\n|---|---|---|")
    for bug in PLANTED:
        print(row(bug), flush=True)


if __name__ == "__main__":
    main()
