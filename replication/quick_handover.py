"""A planned handover without Patroni's pauses.

Patroni 4.1 looks once a second whether the old primary has stopped (`STOP_POLLING_INTERVAL`), and when it
finds it shut down with its process still there, it sleeps one more second before it gives the lock back.
Both are seconds in which nobody can write. Here it looks twenty times a second, and first waits a moment
for the process to end by itself, as it does once its standbys have all its WAL; then Patroni gives the lock
back at once. A process that stays (it still archives) is left to Patroni's own way.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any, Protocol

from replication.remote_sync import ReplacedFunctionChanged

POLL_S = 0.05
GRACE_S = 0.5
GRACE_POLL_S = 0.01
SIGNATURE = (
    "self",
    "mode",
    "block_callbacks",
    "checkpoint",
    "on_safepoint",
    "on_shutdown",
    "before_shutdown",
    "stop_timeout",
)

OnShutdown = Callable[[int, int], Any]


class Postgresql(Protocol):
    """What is used of `patroni.postgresql.Postgresql`."""

    def is_running(self) -> Any: ...


def patient(
    on_shutdown: OnShutdown,
    running: Callable[[], bool],
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> OnShutdown:
    """Patroni's callback, called only if the process is still there after GRACE_S."""

    def called(checkpoint_lsn: int, prev_lsn: int) -> Any:
        end = clock() + GRACE_S
        while running():
            if clock() >= end:
                return on_shutdown(checkpoint_lsn, prev_lsn)
            sleep(GRACE_POLL_S)
        return None  # Patroni gives the lock back as soon as it sees that the process has ended

    return called


def replacement(original: Callable[..., Any]) -> Callable[..., Any]:
    """The function that takes the place of `Postgresql._do_stop`, which it calls."""

    def do_stop(
        self: Postgresql,
        mode: str,
        block_callbacks: bool,
        checkpoint: bool,
        on_safepoint: Callable[..., Any] | None,
        on_shutdown: OnShutdown | None,
        before_shutdown: Callable[..., Any] | None,
        stop_timeout: int | None,
    ) -> Any:
        if on_shutdown is not None:
            on_shutdown = patient(on_shutdown, lambda: bool(self.is_running()), time.sleep, time.monotonic)
        return original(
            self, mode, block_callbacks, checkpoint, on_safepoint, on_shutdown, before_shutdown, stop_timeout
        )

    return do_stop


def install() -> None:
    """Replaces the function in the running Patroni. Raises ReplacedFunctionChanged."""
    import patroni.postgresql as module  # pyright: ignore[reportMissingTypeStubs]

    original: Any = module.Postgresql._do_stop  # pyright: ignore[reportPrivateUsage]
    found = tuple(inspect.signature(original).parameters)
    if found != SIGNATURE or not hasattr(module, "STOP_POLLING_INTERVAL"):
        raise ReplacedFunctionChanged(f"_do_stop{found}, known is {SIGNATURE}")
    setattr(module, "STOP_POLLING_INTERVAL", POLL_S)  # noqa: B010
    setattr(module.Postgresql, "_do_stop", replacement(original))  # noqa: B010
