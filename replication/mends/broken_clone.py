"""A clone, or a removal of the data directory, that was broken off is begun anew.

pg_basebackup writes `global/pg_control` last. A power cut before that leaves a directory that is neither
empty nor a server's, and Patroni 4.1 says of it, for ever, "data dir for the cluster is not empty, but system
ID is invalid; consider doing reinitialize". So does a removal that was broken off after `global/`; one that
was broken off before leaves a server without its WAL, which goes first.

The directory itself does not tell whether it is half a clone or a damaged only copy. So it is written down
first: `<data directory>.unfinished`, a file on stable storage, is there from before a clone or removal
touches anything until it has ended. The salvage (`salvage_hook`) wraps the same functions outside of this,
and has ended by then: what is marked holds nothing that would have to be kept. And a removal takes away
`pg_control` before all else, so that half of one looks like half a clone.

pg_basebackup syncs what it wrote at its very end. After a power cut in that time everything has its name,
`pg_control` too, and some of it no content. So the mark holds the boot's id: a mark of another boot beside a
`backup_label`, which the first start of the server takes away, is half a clone as well.

Where a marked directory is half a clone and another member holds the lock, Patroni is sent the way that
it goes for an empty directory: `Ha.bootstrap`, whose clone removes what is there, the linked WAL too. Nothing
is renamed or copied, so no room is needed. What is unclear is left alone, and told once: no mark, no leader,
a pg_basebackup that outlived its Patroni, a postmaster. In pause, nothing. (A pg_basebackup that is killed
alone leaves the process that fetches its WAL, which goes on for ever; it has to be ended by a person.)

Three functions are wrapped: `Bootstrap.clone`, `Postgresql.remove_data_directory`, and
`Ha.handle_starting_instance`, the last step of a loop before Patroni looks at the data directory.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from replication.mends.wrapping import known

logger = logging.getLogger(__name__)

CLONE = ("self", "clone_member", "clone_from_leader")
THIS = ("self",)
BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class View:
    """What is known of a data directory that is not empty and may be unfinished, and of its cluster."""

    me: str
    leader: str | None
    initialized: bool  # the cluster has a system identifier: nobody is making its first data directory
    bootstrapping: bool  # this host is
    marked: bool
    copier: int | None  # the process of a pg_basebackup that is at work on it
    served: bool  # a postmaster is


def obstacle(view: View) -> str | None:
    """Why it is not cloned anew now; None when it is."""
    if view.bootstrapping or not view.initialized:
        return "the cluster has no data directory yet"
    if view.served:
        return "a postmaster runs on it"
    if view.copier is not None:
        return f"pg_basebackup runs on it, process {view.copier}"
    if not view.marked:
        return "no clone or removal is known that left it so; if nothing in it is needed: patronictl reinit"
    if view.leader is None:
        return "nobody holds the lock"
    if view.leader == view.me:
        return "this host holds the lock"
    return None


def mark_of(data_dir: Path) -> Path:
    return data_dir.with_name(f"{data_dir.name}.unfinished")


def mark(data_dir: Path) -> bool:
    """Whether this call has made the mark. Nothing is held up because it cannot be made."""
    path = mark_of(data_dir)
    try:
        with path.open("x", encoding="ascii") as file:
            file.write(boot_id())
            file.flush()
            os.fsync(file.fileno())
        _to_disk(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        logger.error("%s cannot be made: if it breaks off now, a person must say reinit: %s", path, error)
        return False
    return True


def unmark(data_dir: Path) -> None:
    """A mark that stays is looked at again in the next loop."""
    path = mark_of(data_dir)
    try:
        path.unlink(missing_ok=True)
        _to_disk(path.parent)
    except OSError as error:
        logger.error("%s cannot be removed: %s", path, error)


def take_control_away(data_dir: Path) -> None:
    """First what makes it a server, under PostgreSQL's own name for that; renamed, should the rest fail."""
    control = data_dir / "global" / "pg_control"
    try:
        control.rename(control.with_name("pg_control.old"))
        _to_disk(control.parent)
    except FileNotFoundError:
        return
    except OSError as error:
        logger.error("%s cannot be renamed: %s", control, error)


def _to_disk(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def has_control(data_dir: Path) -> bool:
    """An empty one is none: a power cut left its name only. Raises OSError when that cannot be told."""
    try:
        return (data_dir / "global" / "pg_control").stat().st_size > 0
    except (FileNotFoundError, NotADirectoryError):
        return False


def boot_id() -> str:
    return BOOT.read_text(encoding="ascii").strip()


def is_unsynced(data_dir: Path) -> bool:
    """Whether a clone ended in a power cut, and was never started. Raises OSError."""
    try:
        marked = mark_of(data_dir).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return False
    return marked not in ("", boot_id()) and (data_dir / "backup_label").exists()


def copier_to(data_dir: Path, proc: Path = Path("/proc")) -> int | None:
    """The process of a pg_basebackup that was told of this directory. Raises OSError."""
    for process in proc.iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        program, *rest = words
        if Path(program).name == "pg_basebackup" and any(w.rstrip("/").endswith(str(data_dir)) for w in rest):
            return int(process.name)
    return None


class Watch:
    """Looks at the data directory in each loop, and tells each reason once."""

    def __init__(self, copier: Callable[[Path], int | None] = copier_to) -> None:
        self._copier = copier
        self._told: str | None = None

    def look(self, ha: Any) -> str | None:
        """What Patroni's loop is to say, having begun a clone; None: it goes on by itself."""
        if ha.is_paused():
            return None
        directory = Path(ha.state_handler.data_dir)
        try:
            view = self._view(ha, directory)
            why = None if view is None else obstacle(view)
        except OSError as error:
            view, why = None, f"it cannot be looked at: {error}"
        if why is not None and why != self._told:
            logger.warning("%s holds no server, and is left as it is: %s", directory, why)
        self._told = why
        if view is None or why is not None:
            return None
        logger.warning("%s is what is left of a clone or removal that was broken off", directory)
        return ha.bootstrap()

    def _view(self, ha: Any, directory: Path) -> View | None:
        """None when the directory is empty or a server's, and so no clone or removal is unfinished."""
        server, marked = ha.state_handler, mark_of(directory).exists()
        whole = has_control(directory) and not is_unsynced(directory)
        if whole or server.data_directory_empty():
            if marked and self._copier(directory) is None:
                unmark(directory)
            return None
        return View(
            me=server.name,
            leader=ha.cluster.leader_name or None,
            initialized=ha.sysid_valid(ha.cluster.initialize),
            bootstrapping=bool(server.bootstrapping),
            marked=marked,
            copier=self._copier(directory),
            served=bool(server.is_running()),
        )


def cloning(original: Callable[..., bool]) -> Callable[..., bool]:
    """In the place of `Bootstrap.clone`. A clone that failed is removed by Patroni, or begun anew."""

    @wraps(original)  # others wrap the same function, and look at its parameters
    def clone(self: Any, clone_member: Any, clone_from_leader: bool = False) -> bool:
        directory = Path(self._postgresql.data_dir)
        mark(directory)
        done = original(self, clone_member, clone_from_leader)
        if done:
            unmark(directory)
        return done

    return clone


def removing(original: Callable[[Any], None]) -> Callable[[Any], None]:
    """In the place of `Postgresql.remove_data_directory`. Within a clone the mark is the clone's."""

    @wraps(original)
    def remove_data_directory(self: Any) -> None:
        directory = Path(self.data_dir)
        own = directory.is_dir() and mark(directory)
        take_control_away(directory)
        original(self)
        if own and not directory.exists():
            unmark(directory)

    return remove_data_directory


def starting(original: Callable[[Any], str | None], watch: Watch) -> Callable[[Any], str | None]:
    """In the place of `Ha.handle_starting_instance`; what that one says comes first."""

    @wraps(original)
    def handle_starting_instance(self: Any) -> str | None:
        said = original(self)
        return watch.look(self) if said is None else said

    return handle_starting_instance


def install() -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `bootstrap` alone cannot be the first.
    from patroni.postgresql import Postgresql  # pyright: ignore[reportMissingTypeStubs]  # isort: skip
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]
    from patroni.postgresql.bootstrap import Bootstrap  # pyright: ignore[reportMissingTypeStubs]

    watch = Watch()
    places: tuple[tuple[Any, str, tuple[str, ...], Callable[[Any], Any]], ...] = (
        (Bootstrap, "clone", CLONE, cloning),
        (Postgresql, "remove_data_directory", THIS, removing),
        (Ha, "handle_starting_instance", THIS, lambda original: starting(original, watch)),
    )
    # All are looked at before any is replaced.
    originals = [known(owner, name, parameters) for owner, name, parameters, _ in places]
    for (owner, name, _, wrapper), original in zip(places, originals, strict=True):
        setattr(owner, name, wrapper(original))
