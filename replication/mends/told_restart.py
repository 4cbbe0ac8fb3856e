"""Patroni says that it restarts PostgreSQL from the order to the end, and not for the first half only.

`Postgresql.restart` is in the state `restarting` while PostgreSQL stops, and in `starting` while the new one
starts; Patroni's repair of a crash is in `starting`, too. Who asks for the first time when PostgreSQL has
stopped already (in less than an observer's probe) could not tell the two apart, and a restart that starts
slowly was taken for a crash, and taken over from (met in the simulation). So every status of the REST
interface says it beside the state, for as long as that one function runs: `RESTARTS`. The states stay as
they are, Patroni decides by them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from replication.mends.wrapping import wrap

RESTARTS = "hanbat_restarts"  # in the JSON: PostgreSQL is within `Postgresql.restart`
RESTART = ("self", "timeout", "task", "block_callbacks", "role", "before_shutdown", "after_start")


class Under:
    """How many restarts are under way (one, or none). Two threads: one restarts, others answer."""

    def __init__(self) -> None:
        self._lock, self._number = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._number += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._number -= 1

    def __bool__(self) -> bool:
        return self._number > 0


def restart(original: Callable[..., Any], under: Under) -> Callable[..., Any]:
    """In the place of `Postgresql.restart`, and calls it."""

    @wraps(original)
    def function(self: Any, *words: Any, **named: Any) -> Any:
        with under:
            return original(self, *words, **named)

    return function


def write_status(original: Callable[..., None], under: Under) -> Callable[..., None]:
    """In the place of `RestApiHandler._write_status_response`, and calls it."""

    def _write_status_response(self: Any, status_code: int, response: dict[str, Any]) -> None:
        original(self, status_code, response | {RESTARTS: True} if under else response)

    return _write_status_response


def install() -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    from patroni.postgresql import Postgresql  # pyright: ignore[reportMissingTypeStubs]  # isort: skip
    from patroni.api import RestApiHandler  # pyright: ignore[reportMissingTypeStubs]

    under, status = Under(), ("self", "status_code", "response")
    wrap(Postgresql, "restart", RESTART, lambda original: restart(original, under))
    wrap(RestApiHandler, "_write_status_response", status, lambda original: write_status(original, under))
