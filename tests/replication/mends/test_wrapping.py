"""What is put in place of a function, and when it is not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from replication.mends.wrapping import ReplacedFunctionChanged, wrap


def doubled(original: Any) -> Any:
    return lambda number: 2 * original(number)


def test_the_wrapper_stands_in_the_place_of_the_original():
    owner = SimpleNamespace(step=lambda number: number + 1)
    wrap(owner, "step", ("number",), doubled)
    assert owner.step(4) == 10


@pytest.mark.parametrize(("name", "known"), [("step", ("count",)), ("step", ()), ("gone", ("number",))])
def test_another_function_is_left_as_it_is(name: str, known: tuple[str, ...]):
    owner = SimpleNamespace(step=lambda number: number + 1)
    with pytest.raises(ReplacedFunctionChanged, match=name):
        wrap(owner, name, known, doubled)
    assert owner.step(4) == 5
