"""A function of ours in the place of one of Patroni's, if that is still the one that was read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from hanbat.errors import HanbatError


class ReplacedFunctionChanged(HanbatError):
    """Patroni's function is not the one that was read; Patroni is not started."""

    code = 134
    hint = "install patroni 4.1.x, or read the new function and adapt the module that wraps it"


def known(owner: Any, name: str, parameters: tuple[str, ...]) -> Any:
    """The function of that name. Raises ReplacedFunctionChanged for other parameters, or none."""
    original: Any = getattr(owner, name, None)
    found = None if original is None else tuple(inspect.signature(original).parameters)
    if found != parameters:
        place = f"{getattr(owner, '__name__', owner)}.{name}"
        raise ReplacedFunctionChanged(f"{place} has the parameters {found}, known are {parameters}")
    return original


def wrap(owner: Any, name: str, parameters: tuple[str, ...], wrapper: Callable[[Any], Any]) -> None:
    """Put `wrapper(original)` in its place. Raises ReplacedFunctionChanged as `known` does."""
    setattr(owner, name, wrapper(known(owner, name, parameters)))
