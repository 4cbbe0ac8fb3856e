"""A planned handover without Patroni's pauses.

Patroni 4.1 writes its position to etcd before it looks at an offer, starts `postgres -C` twice to read two
settings that a planned handover does not use, asks `pg_controldata` once a second whether the old primary has
stopped (`STOP_POLLING_INTERVAL`), reads its last WAL records with two runs of `pg_waldump`, and when it finds
it shut down with its process still there, it sleeps one more second before it gives the lock back. Nobody can
write meanwhile. Here:

- With an offer to look at, the lock is renewed and the position is not written; the settings are asked of the
  running server (a tenth of a second each, on a busy computer).
- New transactions are held at the poolers meanwhile (`failover.switchover`); the stop waits until they are
  (`held_first`). Those under way get QUIET_S to end before the signal, which would break them off; by then
  there are mostly none. The checkpoint before the stop is left out when there was one in the last five
  seconds: `hanbat switchover` makes it before the hold.
- After the signal the process has GRACE_S to end by itself, as it does once its standbys have all its WAL;
  only one that stays (it still archives) is left to Patroni's own way, looking twenty times a second.
- When it ended, its last position is not written to `/status` before the lock is given back. Patroni writes
  it so that no standby that lags far behind takes part in the race. In the synchronous modes only those named
  in `/sync` do; in `max_performance` the position written a second ago stands for it, as after a crash.
- While an offer stands, no member tells etcd of itself in each loop, nor right behind the release, nor before
  a promotion begins: each write to etcd in that second makes the next one wait.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from replication.mends.wrapping import ReplacedFunctionChanged, wrap

logger = logging.getLogger(__name__)

POLL_S = 0.05
QUIET_S = 0.3
GRACE_S = 2.0
GRACE_POLL_S = 0.01
TOLD_S = 5.0  # the lease of a member lasts longer
UNDER_WAY = (
    "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend' "
    "AND datname NOT IN ('postgres', 'template1') AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
)
JUST_WRITTEN = "SELECT checkpoint_time > now() - interval '5 seconds' FROM pg_catalog.pg_control_checkpoint()"
ARCHIVING = "SELECT pg_catalog.current_setting('archive_mode'), pg_catalog.current_setting('archive_command')"
RELEASING = "_hanbat_releasing"
TOLD = "_hanbat_told"
ENDED = "_hanbat_ended"  # our mark on Patroni's object: this stop was clean and quick


class Postmaster(Protocol):
    """What is used of Patroni's `PostmasterProcess`."""

    def is_running(self) -> bool: ...


def ends(running: Callable[[], bool], sleep: Callable[[float], None], clock: Callable[[], float]) -> bool:
    """Whether the process ends within GRACE_S; returns as soon as it has."""
    end = clock() + GRACE_S
    while running():
        if clock() >= end:
            return False
        sleep(GRACE_POLL_S)
    return True


def do_stop(original: Callable[..., Any], until_held: Callable[[], None]) -> Callable[..., Any]:
    """Takes the place of `_do_stop`, and calls it; a planned handover is what has all three callbacks."""

    def stop(
        self: Any,
        mode: str,
        block_callbacks: bool,
        checkpoint: bool,
        on_safepoint: Callable[..., Any] | None,
        on_shutdown: Callable[..., Any] | None,
        before_shutdown: Callable[..., Any] | None,
        stop_timeout: int | None,
    ) -> Any:
        if checkpoint and on_shutdown and before_shutdown and self.is_running() and not self.is_starting():
            if not _is_true(self, JUST_WRITTEN):
                self.checkpoint(timeout=stop_timeout)
            checkpoint = False
            until_held()
            quiet(lambda: bool(self.query(UNDER_WAY, retry=False)[0][0]), time.sleep, time.monotonic)
        return original(
            self, mode, block_callbacks, checkpoint, on_safepoint, on_shutdown, before_shutdown, stop_timeout
        )

    return stop


def _is_true(server: Any, sql: str) -> bool:
    try:
        return bool(server.query(sql, retry=False)[0][0])
    except Exception:  # of Patroni's many kinds; what is not known is not so
        logger.exception("not asked: %s", sql)
        return False


def quiet(busy: Callable[[], bool], sleep: Callable[[float], None], clock: Callable[[], float]) -> None:
    """Wait until no client's transaction is under way, at most QUIET_S. Never raises: the stop goes on."""
    end = clock() + QUIET_S
    try:
        while busy() and clock() < end:
            sleep(GRACE_POLL_S)
    except Exception:  # of Patroni's many kinds
        logger.exception("transactions under way were not waited for")


def wait_for_connection_close(original: Callable[..., None]) -> Callable[..., None]:
    """Takes the place of `_wait_for_connection_close`, which follows the signal to stop, and calls it."""

    def waits(self: Any, postmaster: Postmaster) -> None:
        original(self, postmaster)
        setattr(self, ENDED, ends(postmaster.is_running, time.sleep, time.monotonic))

    return waits


def latest_checkpoint_locations(original: Callable[..., Any]) -> Callable[..., Any]:
    """Takes the place of the function of that name; no positions right after a clean, quick stop."""

    def locations(self: Any, data: dict[str, str] | None = None) -> Any:
        if data is None and getattr(self, ENDED, False):
            setattr(self, ENDED, False)
            return None, None
        return original(self, data)

    return locations


def get_archive_command(original: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    """Takes the place of the function of that name; calls it when the server does not answer."""

    def command(self: Any) -> str | None:
        try:
            mode, found = self._postgresql.query(ARCHIVING, retry=False)[0]
        except Exception:  # of Patroni's many kinds: it is not running
            return original(self)
        return found if mode in ("on", "always") and found else None

    return command


def is_offered_away(ha: Any) -> bool:
    """Whether an offer for now stands that names this member as the one that hands over."""
    offer = ha.cluster.failover
    return offer is not None and offer.leader == ha.state_handler.name and offer.scheduled_at is None


def update_lock(original: Callable[[Any, bool], bool]) -> Callable[..., bool]:
    """Takes the place of the function of that name, and calls it: no position for a lock that is to go."""

    def renew(self: Any, update_status: bool = False) -> bool:
        return original(self, update_status and not is_offered_away(self))

    return renew


def is_offered(ha: Any) -> bool:
    """Whether an offer of the lock, for now, stands: to whomever."""
    offer = ha.cluster.failover if ha.cluster else None
    return bool(offer and offer.leader and offer.candidate and offer.scheduled_at is None)


def release(original: Callable[..., None]) -> Callable[..., None]:
    """Takes the place of `release_leader_key_voluntarily`, and calls it; nothing is told beside the release.

    Patroni tells etcd of this member right behind it, while the candidate's writes wait.
    """

    def released(self: Any, last_lsn: int | None = None) -> None:
        setattr(self, RELEASING, is_offered_away(self))
        try:
            original(self, last_lsn)
        finally:
            setattr(self, RELEASING, False)

    return released


def touch_member(original: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Takes the place of the function of that name, and calls it; in a handover, once in TOLD_S.

    A promotion begins when the loop that decided on it has ended, and it would tell of the member first.
    """

    def touch(self: Any) -> bool:
        promotes = self._async_executor.scheduled_action == "promote"
        now_s, later = time.monotonic(), promotes or is_offered(self) or getattr(self, RELEASING, False)
        if later and now_s < getattr(self, TOLD, 0.0) + TOLD_S:
            return True
        told = original(self)
        setattr(self, TOLD, now_s if told else 0.0)
        return told

    return touch


Replacement = tuple[Callable[[Any], Any], tuple[str, ...]]
DO_STOP = (
    "self",
    "mode",
    "block_callbacks",
    "checkpoint",
    "on_safepoint",
    "on_shutdown",
    "before_shutdown",
    "stop_timeout",
)
POSTGRESQL: dict[str, Replacement] = {
    "_wait_for_connection_close": (wait_for_connection_close, ("self", "postmaster")),
    "latest_checkpoint_locations": (latest_checkpoint_locations, ("self", "data")),
}
REWIND: dict[str, Replacement] = {"get_archive_command": (get_archive_command, ("self",))}
HA: dict[str, Replacement] = {
    "update_lock": (update_lock, ("self", "update_status")),
    "release_leader_key_voluntarily": (release, ("self", "last_lsn")),
    "touch_member": (touch_member, ("self",)),
}


def install(until_held: Callable[[], None]) -> None:
    """Replaces the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    import patroni.postgresql as module  # pyright: ignore[reportMissingTypeStubs]
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]
    from patroni.postgresql.rewind import Rewind  # pyright: ignore[reportMissingTypeStubs]

    if not hasattr(module, "STOP_POLLING_INTERVAL"):
        raise ReplacedFunctionChanged("STOP_POLLING_INTERVAL is gone")
    setattr(module, "STOP_POLLING_INTERVAL", POLL_S)  # noqa: B010
    replaced: tuple[tuple[Any, dict[str, Replacement]], ...] = (
        (module.Postgresql, POSTGRESQL),
        (Rewind, REWIND),
        (Ha, HA),
    )
    for owner, functions in replaced:
        for name, (replacement, signature) in functions.items():
            wrap(owner, name, signature, replacement)
    wrap(module.Postgresql, "_do_stop", DO_STOP, lambda original: do_stop(original, until_held))
