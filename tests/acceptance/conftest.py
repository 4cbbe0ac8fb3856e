"""One lab of this clone for the tests that share it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import leftovers
from lab.laboratory import Lab

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def nothing_left() -> Iterator[None]:
    """Whatever the tests did: afterwards nothing of this clone's lab is there."""
    yield
    lab = Lab.of_clone(ROOT)
    lab.down(print)
    assert leftovers.find(lab.names).text() == "nothing"


@pytest.fixture
def lab(nothing_left: None) -> Lab:
    """A lab that is up; booted by the first test that needs it."""
    lab = Lab.of_clone(ROOT)
    if not lab.is_up():
        lab.up(print)
    return lab
