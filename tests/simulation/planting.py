"""How a bug is planted: one change to the real code or to a setting, and the incidents that must show it.

A bug runs in the incidents that it is most likely to meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

from failover import transaction
from failover.policy import Mode, Policy

from . import incidents as inc
from .incidents import Plan
from .world import Settings

Patch = Callable[[], AbstractContextManager[Any]]
ASKS = Policy(cross_site=Mode.APPROVE)
LOSSES = Plan(kinds=((inc.host_loss, 5), (inc.isolate_host, 4), (inc.site_loss, 3), (inc.replication_cut, 4)))


@dataclass(frozen=True)
class Planted:
    name: str
    patch: Patch
    settings: Settings = field(default_factory=Settings)
    plan: Plan = field(default_factory=Plan)
    clean: Settings | None = None  # without the bug, where the bug is in the settings
    at_most: int = 1500  # incidents; it must show within so many


def both(*patches: Patch) -> Patch:
    @contextmanager
    def combined() -> Iterator[None]:
        with ExitStack() as stack:
            for one in patches:
                stack.enter_context(one())
            yield

    return combined


def changed(make: Callable[[transaction.Transaction], transaction.Transaction]) -> Patch:
    """Another takeover transaction."""
    real = transaction.takeover
    return lambda: patch.object(transaction, "takeover", lambda dcs, behind: make(real(dcs, behind)))


def uncompared(*prefixes: str) -> Patch:
    return changed(
        lambda one: replace(
            one, compares=tuple(each for each in one.compares if not each.key.startswith(prefixes))
        )
    )
