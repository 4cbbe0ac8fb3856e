"""One healthy lab of this clone for the tests that share it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import leftovers
from lab.laboratory import Lab

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    lab = Lab.of_clone(ROOT)
    lab.down(print)
    try:
        lab.up(print)
        yield lab
    finally:
        lab.down(print)
    assert leftovers.find(lab.names).text() == "nothing"
