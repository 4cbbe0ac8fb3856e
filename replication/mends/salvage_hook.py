"""Puts the salvage before each step of Patroni that destroys a data directory's tail.

Read in Patroni 4.1. Three functions are wrapped, and nothing in them is changed:

- `Rewind.pg_rewind(conn_kwargs)`: Patroni has stopped PostgreSQL and has made sure that the other is a
  primary with a checkpoint on its timeline. A refused or postponed rewind never comes here.
- `Bootstrap.clone(clone_member, clone_from_leader)`: every re-clone (`reinit`, diverged timelines without
  pg_rewind) begins here; the base backup then removes the data directory.
- `Postgresql.remove_data_directory()`: the last door. After a failed rewind the tail is kept already, and
  half a rewind makes the rest unreadable, so nothing is done for a directory that was looked at before.

A crash recovery in single user mode and a start as a standby go on after the tail and destroy none of it.
All three run in Patroni's background thread, so its loop goes on. A thread of ours then waits until this
host streams from the new primary, however long the rewind or clone takes, and looks the rows up there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from hanbat.errors import HanbatError
from replication.mends.wrapping import known
from replication.salvage import keeping
from replication.salvage.compare import Local, state, wait_for_rejoin
from replication.salvage.server import Programs
from replication.salvage.settings import Settings
from replication.salvage.store import Manifest, Store
from replication.salvage.tail import Leader

logger = logging.getLogger(__name__)

ASK_AT_S = (0.0, 2.0, 4.0)
NO_LATER_S = 4.5  # a question that Patroni's own limit ends takes 3 s
SIGNATURES = {
    "pg_rewind": ("self", "conn_kwargs"),
    "clone": ("self", "clone_member", "clone_from_leader"),
    "remove_data_directory": ("self",),
}


class Postgresql(Protocol):
    """What is used of `patroni.postgresql.Postgresql`."""

    @property
    def name(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def data_dir(self) -> str: ...
    def get_replication_connection_cursor(self, host: str | None = ..., port: int | str = ...) -> Any: ...


def ask_history(postgresql: Postgresql, name: str, host: str | None, port: int | str) -> Leader | None:
    """The history that a server of the new primary's timeline tells; None when it cannot be asked."""
    try:
        with postgresql.get_replication_connection_cursor(host=host, port=port) as cursor:
            cursor.execute("IDENTIFY_SYSTEM")
            timeline = int(cursor.fetchone()[1])
            text = ""
            if timeline > 1:
                cursor.execute(f"TIMELINE_HISTORY {timeline}")
                found: Any = cursor.fetchone()[1]
                text = found if isinstance(found, str) else bytes(found).decode("utf-8")
            return Leader(name, timeline, text)
    except Exception as error:
        logger.error("salvage: the history of %s could not be asked for: %s", name, error)
        return None


def ask_patiently(
    postgresql: Postgresql,
    name: str,
    host: str | None,
    port: int | str,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Leader | None:
    """The same, asked up to three times within some 6 s; not for Patroni's loop, which must not wait.

    `pg_rewind` goes on over a connection of its own, whether this question was answered or not.
    """
    began = clock()
    for at in ASK_AT_S:
        sleep(max(began + at - clock(), 0.0))
        if clock() - began > NO_LATER_S:
            break
        found = ask_history(postgresql, name, host, port)
        if found is not None:
            return found
    return None


@dataclass
class Salvager:
    """Keeps tails for one Patroni."""

    settings: Settings
    programs: Programs
    in_background: Callable[[Callable[[], None]], None]
    _looked_at: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    _awaited: set[str] = field(default_factory=set[str])

    def before(self, postgresql: Postgresql, step: str, leader: Callable[[], Leader | None]) -> None:
        """Saves the tail unless this data directory was looked at already. Raises nothing."""
        try:
            directory = Path(postgresql.data_dir)
            identity = _identity(directory)
            if identity is None:
                return
            if step == REMOVAL and identity in self._looked_at:
                self._looked_at.discard(identity)  # a new directory may get the same number
                return
            self._looked_at.add(identity)
            source = keeping.Source(directory, postgresql.name, postgresql.scope, step)
            manifest = keeping.keep(source, leader(), self.programs, self.settings)
        except Exception:
            logger.exception("SALVAGE FAILED before %s", step)
            return
        if manifest and manifest.records:
            self.compare_later(manifest)

    def compare_later(self, manifest: Manifest) -> None:
        """Looks the rows up, in the background, once this host follows the new primary."""
        if manifest.id in self._awaited:
            return  # a clone that is tried again and again keeps one tail, and needs one thread
        self._awaited.add(manifest.id)
        store = Store(self.settings.folder)

        def work() -> None:
            look_up(store, manifest, self.programs, self.settings)
            self._awaited.discard(manifest.id)

        self.in_background(work)

    def compare_what_is_left(self) -> None:
        """The same for salvages whose comparison a restart of Patroni has cut off."""
        store = Store(self.settings.folder)
        try:
            for manifest in store.readable():
                if keeping.needs_comparison(store, manifest):
                    self.compare_later(manifest)
        except Exception:  # Patroni must start whatever is wrong with old evidence
            logger.exception("salvage: what is kept in %s could not be looked through", store.folder)


REMOVAL = "removal of the data directory"


def _identity(directory: Path) -> tuple[int, int] | None:
    """A data directory's device and inode; None when it holds no server."""
    try:
        if not (directory / "global" / "pg_control").exists():
            return None
        found = directory.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def look_up(
    store: Store,
    manifest: Manifest,
    programs: Programs,
    settings: Settings,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Compares after the rejoin and says what came of it; nothing is raised in a thread."""
    here = Local(programs)
    logger.info("salvage %s: compared once this host streams from the new primary", manifest.id)
    try:
        wait_for_rejoin(lambda: state(here), manifest.timeline, sleep)
        verdict = keeping.look_up(store, manifest.id, here, settings, settings.compare_s)
    except HanbatError as error:
        logger.error("salvage %s: not compared with the new primary: %s", manifest.id, error)
    except Exception:
        logger.exception("salvage %s: not compared with the new primary", manifest.id)
    else:
        level = logging.INFO if verdict is keeping.Verdict.PRESENT else logging.ERROR
        logger.log(level, "salvage %s: %s: hanbat salvage show %s", manifest.id, verdict, manifest.id)


def in_thread(work: Callable[[], None]) -> None:
    """A thread that does not hold up the end of Patroni."""
    threading.Thread(target=work, name="hanbat-salvage", daemon=True).start()


def rewinding(original: Callable[[Any, dict[str, Any]], bool], salvager: Salvager) -> Any:
    """Takes the place of `Rewind.pg_rewind`."""

    def pg_rewind(self: Any, conn_kwargs: dict[str, Any]) -> bool:
        postgresql = cast(Postgresql, self._postgresql)
        host, port = conn_kwargs.get("host"), conn_kwargs.get("port") or 5432
        leader = salvager.settings.hosts.get(str(host), str(host))
        salvager.before(postgresql, "pg_rewind", lambda: ask_patiently(postgresql, leader, host, port))
        return original(self, conn_kwargs)

    return pg_rewind


def cloning(original: Callable[[Any, Any, bool], bool], salvager: Salvager) -> Any:
    """Takes the place of `Bootstrap.clone`."""

    def clone(self: Any, clone_member: Any, clone_from_leader: bool = False) -> bool:
        postgresql = cast(Postgresql, self._postgresql)

        def leader() -> Leader | None:
            if not clone_member:
                return None
            where: dict[str, Any] = clone_member.conn_kwargs()
            host, port = where.get("host"), where.get("port") or 5432
            return ask_patiently(postgresql, str(clone_member.name), host, port)

        salvager.before(postgresql, "cloning anew", leader)
        return original(self, clone_member, clone_from_leader)

    return clone


def removing(original: Callable[[Any], None], salvager: Salvager) -> Any:
    """Takes the place of `Postgresql.remove_data_directory`."""

    def remove_data_directory(self: Any) -> None:
        salvager.before(cast(Postgresql, self), REMOVAL, lambda: None)
        original(self)

    return remove_data_directory


def install(settings: Settings) -> Salvager:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `rewind` alone cannot be the first.
    import patroni.postgresql as postgresql  # pyright: ignore[reportMissingTypeStubs]
    from patroni.postgresql.bootstrap import Bootstrap  # pyright: ignore[reportMissingTypeStubs]
    from patroni.postgresql.rewind import Rewind  # pyright: ignore[reportMissingTypeStubs]

    for complaint in settings.complaints:
        logger.error("salvage settings: %s; the default is used", complaint)
    salvager = Salvager(settings, Programs(settings.bin_dir), in_thread)
    places: tuple[tuple[Any, str, Callable[[Any, Salvager], Any]], ...] = (
        (Rewind, "pg_rewind", rewinding),
        (Bootstrap, "clone", cloning),
        (postgresql.Postgresql, "remove_data_directory", removing),
    )
    # All are looked at before any is replaced.
    originals = [known(kind, name, SIGNATURES[name]) for kind, name, _ in places]
    for (kind, name, wrapper), original in zip(places, originals, strict=True):
        setattr(kind, name, wrapper(original, salvager))
    return salvager
