"""A promotion never takes a timeline that another host may have taken.

PostgreSQL numbers a new timeline one above the newest whose history file it has. A host that is promoted
after a primary which it never heard of in that role (a kept member of ADR 9 whose candidate dies while it is
promoted; a host that a person forces) would take that primary's number a second time. When the lost one
returns, Patroni and `pg_rewind` see one and the same timeline on both, and join two histories that are two.

So each promotion *claims* its number first, in etcd, under a key of the cluster that only rises: in the very
transaction that takes `/sync` before the promotion, and comparing the revision of the key that was read. One
number is claimed once, by one host, for one promotion; an attempt of which nothing is known costs a number.
A primary that finds a lower number there than its own timeline raises it (one that was promoted by hand, a
restored one, the first of a cluster).

PostgreSQL is brought to the claimed number by history files with nothing but a comment for those below it.
They stay: a standby that follows over the gap asks for them. Where no promotion came of it, they go again:
with one this standby would not ask for the history of that number, should another host take it, and could
not follow. But not while PostgreSQL is being promoted: it counts late, and the number that was claimed rests
on them. A Patroni that is started in the middle of a promotion cannot know of it, so PostgreSQL is asked
(`is_ordered`), before files go and before any are put there.

And Patroni, which writes `/history` in every loop when the last line is not one below the primary's timeline,
writes it once.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.errors import ObjectNotInPrerequisiteState

from replication.local_sql import Local
from replication.mends.sync_swap import ABSENT, RIDER, Put, Rider, write
from replication.mends.wrapping import known, wrap

logger = logging.getLogger(__name__)

KEY = "hanbat_timeline"  # under Patroni's prefix: it is in Patroni's copy of its keys, and goes with them
TIMELINE = """
SELECT greatest(timeline_id, min_recovery_end_timeline) FROM pg_control_recovery(), pg_control_checkpoint()
"""
COMMENT = "# left out by hanbat: another primary may have used this timeline\n"
COMMENTED = "# left out by hanbat"
ORDER = "promote"  # the file of `pg_ctl promote`; PostgreSQL removes it when it has seen it
# Refused once PostgreSQL has seen its order to promote itself (it tells nowhere else), until it is restarted.
# Else it does nothing: what is paused has no order, and is not resumed.
UNORDERED = "SELECT CASE WHEN pg_is_wal_replay_paused() THEN '' ELSE pg_wal_replay_resume()::text END"


@dataclass(frozen=True, slots=True)
class Claimed:
    """The highest number that was claimed, and for which host; 0 and "" if there is no key."""

    number: int
    host: str
    revision: str


class Memory:
    """`unused`: a number claimed here for a promotion that did not begin. `untidy`: a file may be left."""

    def __init__(self) -> None:
        self.unused: int | None = None
        self.untidy = True


def claimed(dcs: Any) -> Claimed:
    """As Patroni's copy of its keys has it; it is compared when it is raised. Raises what Patroni does."""
    path = dcs.client_path(KEY)
    for node in dcs._client.get_cluster(dcs.client_path("")):
        if node["key"] == path:
            value = json.loads(node["value"])
            return Claimed(int(value["timeline"]), str(value["host"]), str(node["mod_revision"]))
    return Claimed(0, "", ABSENT)


def put_of(dcs: Any, before: Claimed, number: int, host: str) -> Put:
    value = json.dumps({"timeline": number, "host": host})
    return Put(dcs.client_path(KEY), value, before.revision)


def heard_of(cluster: Any) -> int:
    """The highest timeline in `/history` and in what the members say of themselves; 0 if there is none."""
    return max([cluster.timeline, *(int(member.data.get("timeline") or 0) for member in cluster.members)])


def here(wal: Path, timeline: int) -> int:
    """The highest number with a file here, at least this server's timeline. Raises OSError."""
    return max([timeline, *(int(path.stem, 16) for path in wal.glob("????????.history"))])


def next_number(top: int, heard: int, before: Claimed) -> int:
    """Above all. Where nobody has claimed yet, a lost primary may have used the first."""
    return max(top, heard, before.number) + (1 if before.number else 2)


def leave_out(wal: Path, timeline: int, number: int) -> list[int]:
    """Fill the numbers between the two that have no file; answers which. Raises OSError."""
    missing = [one for one in range(timeline + 1, number) if not _history(wal, one).exists()]
    for one in missing:
        with _history(wal, one).open("x", encoding="utf-8") as file:
            file.write(COMMENT)
            file.flush()
            os.fsync(file.fileno())
    return missing


def _history(wal: Path, number: int) -> Path:
    return wal / f"{number:08X}.history"


def is_ordered(data: Path, ask: Callable[[str], Any]) -> bool:
    """Whether PostgreSQL here was ordered to promote itself, or is a primary. Raises what `ask` does.

    The file is looked for first: it goes after the other sign has come.
    """
    if (data / ORDER).exists():
        return True
    try:
        ask(UNORDERED)
    except ObjectNotInPrerequisiteState:
        return True
    return False


def above_history(wal: Path) -> list[Path]:
    """The comments above the newest history: a promotion would have put one there. Raises OSError."""
    found: list[Path] = []
    for path in sorted(wal.glob("????????.history"), reverse=True):
        if not path.read_bytes().startswith(COMMENTED.encode()):
            break
        found.append(path)
    return found


def tidy(wal: Path) -> None:
    """Remove the comments that no promotion came of. Raises OSError."""
    for path in above_history(wal):
        path.unlink()
        logger.info("%s is not left out: no promotion came of it", path.name)


def touch_member(
    original: Callable[[Any], bool], memory: Memory, new: Callable[[], Local] = Local
) -> Callable[[Any], bool]:
    """In the place of the function of that name, which each loop calls."""

    def touch(self: Any) -> bool:
        server = self.state_handler
        if memory.untidy and server.role == "replica" and not self._async_executor.busy:
            _tidy(server, memory, new)
        return original(self)

    return touch


def _tidy(server: Any, memory: Memory, new: Callable[[], Local]) -> None:
    try:
        if above_history(_wal(server)):
            if _is_ordered(server, new):
                return  # looked at again in the next loop
            tidy(_wal(server))
        memory.untidy = False
    except (OSError, psycopg2.Error):  # TimeoutError is an OSError
        logger.exception("a left-out timeline was not looked for")


def _is_ordered(server: Any, new: Callable[[], Local]) -> bool:
    local = new()
    try:
        return is_ordered(Path(server.data_dir), local.ask)
    finally:
        local.close()


def _wal(server: Any) -> Path:
    return Path(server.data_dir) / "pg_wal"


def before_promotion(
    original: Callable[[Any], bool], memory: Memory, rider: Rider = RIDER, new: Callable[[], Local] = Local
) -> Callable[[Any], bool]:
    """In the place of `process_sync_replication_prepromote`, and calls it; without a claim it postpones."""

    def process_sync_replication_prepromote(self: Any) -> bool:
        unused, memory.unused, memory.untidy = memory.unused, None, True
        try:
            number, rider.put = _prepare(self, unused, new)
        except Exception:  # of Patroni's, psycopg2's and the disk's many kinds
            logger.exception("no timeline could be claimed: the promotion is postponed")
            return False
        try:
            promotes = original(self)
            alone = rider.take()  # without a synchronous mode nothing has carried it
        finally:
            rider.put = None
        promotes = promotes and (alone is None or bool(write(self.dcs, [alone])))
        if not promotes:
            memory.unused = number
            _tidy(self.state_handler, memory, new)
        return promotes

    return process_sync_replication_prepromote


def _prepare(ha: Any, unused: int | None, new: Callable[[], Local]) -> tuple[int, Put | None]:
    """The number that PostgreSQL is made ready for, and the claim that is still to be made."""
    before, name = claimed(ha.dcs), ha.state_handler.name
    local = new()
    try:
        # Whatever is put there would move the number of the promotion that is under way.
        if is_ordered(Path(ha.state_handler.data_dir), local.ask):
            raise RuntimeError("PostgreSQL is being promoted already")
        timeline = int(local.ask(TIMELINE))
    finally:
        local.close()
    wal, heard = _wal(ha.state_handler), heard_of(ha.cluster)
    number, again = made_ready(wal, timeline, heard, before, name, unused)
    return number, None if again else put_of(ha.dcs, before, number, name)


def made_ready(
    wal: Path, timeline: int, heard: int, before: Claimed, name: str, unused: int | None
) -> tuple[int, bool]:
    """The number, for which there is room now, and whether it is claimed for this host. Raises OSError."""
    top = here(wal, timeline)
    # The answer to the claim may have been lost: a number that was put for this host is its own.
    again = unused is not None and before.number == unused > max(top, heard) and before.host == name
    number = before.number if again else next_number(top, heard, before)
    missing = leave_out(wal, timeline, number)
    if missing:
        logger.info("leaves out timelines %s, and is promoted to %d", missing, number)
    return number, again


def update_cluster_history(original: Callable[[Any], None]) -> Callable[[Any], None]:
    """In the place of the function of that name: not again what stands there, also after a gap."""

    def update(self: Any) -> None:
        written: list[Any] = list(self.cluster.history.lines) if self.cluster.history else []
        timeline = self.state_handler.get_primary_timeline()
        _raise(self, timeline)
        if written and len(written[-1]) == 5 and written[-1][0] < timeline - 1:
            own = list(self.state_handler.get_history(timeline))
            if own and tuple(own[-1][:2]) == tuple(written[-1][:2]):
                return
        original(self)

    return update


def _raise(ha: Any, timeline: int) -> None:
    """Claim the timeline that this primary has, if it is above what was claimed."""
    try:
        before = claimed(ha.dcs)
        if timeline > before.number:
            write(ha.dcs, [put_of(ha.dcs, before, timeline, ha.state_handler.name)])
    except Exception:  # of Patroni's many kinds; the next loop tries again
        logger.exception("timeline %d was not claimed", timeline)


def install(rider: Rider = RIDER) -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `ha` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.dcs.etcd3 import PatroniEtcd3Client  # pyright: ignore[reportMissingTypeStubs]
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]

    memory, this = Memory(), ("self",)
    known(PatroniEtcd3Client, "get_cluster", ("self", "path"))
    wrap(Ha, "touch_member", this, lambda original: touch_member(original, memory))
    wrap(
        Ha,
        "process_sync_replication_prepromote",
        this,
        lambda original: before_promotion(original, memory, rider),
    )
    wrap(Ha, "update_cluster_history", this, update_cluster_history)
