"""Saves what a host has beyond the new primary's history, before anything destroys it.

`keep` reads the tail, copies its WAL, writes the evidence (complete or absent), and then decodes the rows
from an isolated server on the old data directory. Each step has a bound, and none can fail the rejoin:
what could not be saved or decoded is said, in the manifest and at level ERROR in the journal.

There is a salvage for each destructive step that found a data directory, also when nothing was left
behind: "we looked, and there was nothing" is another thing than "nobody looked".
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hanbat.errors import HanbatError
from replication.salvage import wal
from replication.salvage.compare import Local, compare, state, wait_to_follow
from replication.salvage.records import Decoded, decode
from replication.salvage.report import Verdict, headline, report, verdict
from replication.salvage.server import Isolated, ProgramFailed, Programs
from replication.salvage.settings import Settings
from replication.salvage.store import (
    COMPARISON,
    RECORDS,
    REPORT,
    Copied,
    Manifest,
    Store,
    as_json,
    copy_segments,
    write,
)
from replication.salvage.tail import (
    Beyond,
    Control,
    Leader,
    Parted,
    all_segments,
    beyond,
    control,
    own_history,
    parted,
)

logger = logging.getLogger(__name__)
MB = 1 << 20
NOT_KEPT = "WAL not kept: "
UNDER_WAY = "under way"
DECODE_ATTEMPTS = 2  # one that takes the host down with it must not be repeated for ever


@dataclass(frozen=True, slots=True)
class Source:
    """The data directory in danger, whose it is, and the step that it stands before."""

    data_dir: Path
    host: str
    cluster: str
    before: str


def utc_now() -> datetime:
    return datetime.now(UTC)


def keep(
    source: Source,
    leader: Leader | None,
    programs: Programs,
    settings: Settings,
    now: Callable[[], datetime] = utc_now,
) -> Manifest | None:
    """Saves and decodes the tail; None when there is no server to look at, or nothing could be written.

    Raises nothing: a rejoin goes on whatever happens here.
    """
    try:
        return _keep(source, leader, programs, settings, now)
    except Exception:
        logger.exception(
            "SALVAGE FAILED: the tail of %s is NOT saved before %s", source.data_dir, source.before
        )
        return None


def _keep(
    source: Source, leader: Leader | None, programs: Programs, settings: Settings, now: Callable[[], datetime]
) -> Manifest | None:
    if not (source.data_dir / "global" / "pg_control").exists():
        logger.info("no salvage before %s: %s holds no server", source.before, source.data_dir)
        return None  # also a base backup that broke off: it writes this file last
    began = time.monotonic()
    known = control(programs.controldata(source.data_dir))
    store = Store(settings.folder)
    found, where = _look(source, leader, known, programs, settings)
    manifest = _manifest(source, leader, known, where, found, now())
    past = [old for old in store.readable() if old.place == manifest.place]
    cut_off = {old.id for old in past if old.decoded == UNDER_WAY}
    past = [_interrupted(store, old) if old.id in cut_off else old for old in past]
    if manifest.decoded == UNDER_WAY and sum(old.interrupted for old in past) >= DECODE_ATTEMPTS:
        note = "not decoded: earlier attempts to were interrupted"
        manifest = dataclasses.replace(manifest, decoded="no", notes=(*manifest.notes, note))
    for old in past:
        if _is_same(old, manifest, found):
            old = _completed(store, old, source, settings)
            if old.id in cut_off and manifest.decoded == UNDER_WAY:
                return _decode_again(store, old, source, found, programs, settings)
            logger.info("salvage %s: this tail is kept already", old.id)
            return old
    manifest = dataclasses.replace(manifest, id=store.unused(manifest.id))
    try:
        manifest = _save(store, manifest, source, known, found, settings, began)
    except OSError as error:
        logger.error("SALVAGE NOT WRITTEN, its WAL will be lost: %s; %s", error, headline(manifest, ()))
    if manifest.decoded == UNDER_WAY:
        manifest = _decode(store, manifest, source, found, programs, settings)
    for name in store.retire(settings.keep_count):
        logger.warning("salvage %s was removed: %d of its kind are kept", name, settings.keep_count)
    return manifest


def _save(
    store: Store,
    manifest: Manifest,
    source: Source,
    known: Control,
    found: Beyond,
    settings: Settings,
    began: float,
) -> Manifest:
    """Writes the evidence without the rows. Raises OSError, and then leaves nothing that takes up room."""
    half = store.begin(manifest.id)
    copied = Copied((), (), ())
    try:
        if not manifest.empty:  # where it is certain that no transaction committed no WAL is kept
            copied = _copy(source, found.names, half, settings, settings.wal_mb * MB)
        manifest = _with_segments(manifest, copied)
        manifest = dataclasses.replace(manifest, took_s=round(time.monotonic() - began, 3))
        write(half / "controldata.txt", known.text + "\n")
        write(half / REPORT, report(manifest, None, None))
        manifest = store.finish(half, manifest)
    except OSError:
        shutil.rmtree(half, ignore_errors=True)
        raise
    if manifest.left_out:
        logger.error("salvage %s: WAL NOT KEPT: %s", manifest.id, "; ".join(copied.why))
    logger.log(_level(manifest), "%s", headline(manifest, ()))
    return manifest


def _level(manifest: Manifest) -> int:
    nothing = manifest.empty or (manifest.decoded == "yes" and not manifest.records)
    return logging.INFO if nothing else logging.ERROR


def _is_same(old: Manifest, new: Manifest, found: Beyond) -> bool:
    """Whether the tail from the same place on is kept already.

    A retried step must not fill the disk, nor push out older evidence. Patroni's crash recovery appends a
    checkpoint: then the end is another, and what committed is the same. On the new primary's own timeline
    there is no tail to know again: each look counts.
    """
    if new.tail_bytes == 0:
        return False
    if new.committed and old.transactions == new.transactions:
        return True
    if old.end_lsn != new.end_lsn:
        return False
    names = {*(segment.name for segment in old.segments), *old.left_out}
    return new.end_lsn is not None or names == set(found.names)


def _interrupted(store: Store, old: Manifest) -> Manifest:
    """One whose decoding began and never ended: this process, or the host, ended before."""
    note = "an attempt to decode was interrupted"
    told = dataclasses.replace(old, decoded="no", interrupted=old.interrupted + 1, notes=(*old.notes, note))
    logger.error("salvage %s: %s", old.id, note)
    try:
        store.update(told)
        refresh(store, told.id)
    except (OSError, HanbatError) as error:
        logger.error("salvage %s: that could not be written: %s", old.id, error)
    return told


def _decode_again(
    store: Store, old: Manifest, source: Source, found: Beyond, programs: Programs, settings: Settings
) -> Manifest:
    """Once more, into the same salvage; not when it cannot be written that this attempt has begun."""
    begun = dataclasses.replace(old, decoded=UNDER_WAY)
    try:
        store.update(begun)
    except OSError as error:
        logger.error("salvage %s: not decoded again: %s", old.id, error)
        return old
    return _decode(store, begun, source, found, programs, settings)


def _look(
    source: Source, leader: Leader | None, known: Control, programs: Programs, settings: Settings
) -> tuple[Beyond, Parted]:
    """What is beyond the parting.

    With an unknown one, what is beyond the latest checkpoint's redo position: but the parting may lie far
    before that (a shutdown's checkpoint is the end of the WAL), so all segments are to be kept.
    """
    try:
        mine = own_history(source.data_dir, known.timeline, leader)
        where = parted(mine, leader)
    except (OSError, ValueError) as error:
        mine, where = wal.history(known.timeline, ""), Parted(False, None, f"own history: {error}")
    if where.known and where.where is None:
        return Beyond(wal.Tail(), {}), where
    if where.where:
        timelines, start = wal.timelines_from(mine, where.where), where.where.lsn
        return beyond(programs, source.data_dir, timelines, start, known, settings.save_s / 2), where
    found = beyond(programs, source.data_dir, (known.timeline,), known.redo, known, settings.save_s / 2)
    try:
        found.names = all_segments(source.data_dir / "pg_wal", known.segment_size)
    except OSError as error:
        found.trouble.append(f"not all of the WAL could be listed: {error}")
    return found, where


def _manifest(
    source: Source, leader: Leader | None, known: Control, where: Parted, found: Beyond, at: datetime
) -> Manifest:
    parting, commits = where.where, found.tail.commits
    certain = where.known and found.whole
    same = where.known and parting is None
    notes = [*found.trouble, *([where.why] if where.why else [])]
    if same:
        notes.append("this host was on the new primary's own timeline")
    if commits and where.known and not found.whole:
        notes.append(f"at least {len(commits)} transactions could be read")
    end = wal.format_lsn(found.end) if found.end else None
    tail_bytes = max(found.end - parting.lsn, 0) if found.end and parting and found.whole else None
    if commits and found.cut:
        notes.append("not decoded: the WAL is not there that the old server needs")
    decodable = bool(commits) and where.known and not found.cut
    return Manifest(
        id=f"{at:%Y%m%dT%H%M%SZ}-{source.host}-t{known.timeline}",
        host=source.host, cluster=source.cluster, system=known.system,
        made_at=at.isoformat(timespec="seconds"), before=source.before,
        leader=leader.name if leader else None, timeline=known.timeline,
        new_timeline=leader.timeline if leader else None,
        parted_timeline=parting.timeline if parting else None,
        parted_lsn=wal.format_lsn(parting.lsn) if parting else None,
        end_lsn=end, tail_bytes=0 if same else tail_bytes,
        committed=len(commits) if certain else None,
        aborted=found.tail.aborted if certain else None,
        first_commit_at=commits[0].at if commits else None,
        last_commit_at=commits[-1].at if commits else None,
        decoded=UNDER_WAY if decodable else "no need" if certain else "no",
        notes=tuple(notes),
    )  # fmt: skip


def _copy(source: Source, names: Sequence[str], folder: Path, settings: Settings, limit_bytes: int) -> Copied:
    """Half of the time is the copy's own, however long the reading took."""
    pg_wal = source.data_dir / "pg_wal"
    return copy_segments(
        [(name, pg_wal / name) for name in names],
        folder / "wal",
        limit_bytes=limit_bytes,
        free_bytes=lambda: shutil.disk_usage(folder).free,
        reserve_bytes=settings.reserve_mb * MB,
        deadline=time.monotonic() + settings.save_s / 2,
        now=time.monotonic,
    )


def _with_segments(manifest: Manifest, copied: Copied) -> Manifest:
    """With those copied now, and the reasons of now for those that are not."""
    notes = [note for note in manifest.notes if not note.startswith(NOT_KEPT)]
    notes += [f"{NOT_KEPT}{why}" for why in copied.why]
    segments = (*manifest.segments, *copied.kept)
    return dataclasses.replace(manifest, segments=segments, left_out=copied.left_out, notes=tuple(notes))


def _completed(store: Store, old: Manifest, source: Source, settings: Settings) -> Manifest:
    """The same tail with what an earlier attempt had no time or room for, as far as there is now."""
    if not old.left_out:
        return old
    limit_bytes = settings.wal_mb * MB - sum(segment.bytes for segment in old.segments)
    try:
        copied = _copy(source, old.left_out, store.path(old.id), settings, limit_bytes)
        if not copied.kept:
            return old
        told = _with_segments(old, copied)
        store.update(told)
        refresh(store, told.id)
    except (OSError, HanbatError) as error:
        logger.error("salvage %s: the WAL that was left out could not be kept: %s", old.id, error)
        return old
    logger.info("salvage %s: %d WAL segments more were kept", told.id, len(copied.kept))
    return told


def _decode(
    store: Store, manifest: Manifest, source: Source, found: Beyond, programs: Programs, settings: Settings
) -> Manifest:
    """Rows of the tail's transactions, from an isolated server. The manifest then says what came of it."""
    began = time.monotonic()
    notes, how, decoded = manifest.notes, "yes", None
    try:
        with Isolated(programs, source.data_dir, began + settings.decode_s) as server:
            server.wait_for(max(commit.end for commit in found.tail.commits))
            decoded = decode(server, found.tail, settings)
    except (ProgramFailed, OSError, ValueError) as error:
        how, notes = "no", (*notes, f"not decoded: {error}")
        logger.error("salvage %s: not decoded: %s", manifest.id, error)
    if decoded and (decoded.unread or decoded.changed or not found.whole):
        how = "partly"
    took = round(manifest.took_s + time.monotonic() - began, 3)
    manifest = dataclasses.replace(
        manifest, decoded=how, notes=notes, took_s=took, records=len(decoded.records) if decoded else None
    )
    _write_decoded(store, manifest, decoded)
    return manifest


def _write_decoded(store: Store, manifest: Manifest, decoded: Decoded | None) -> None:
    """The rows before the manifest that counts them; in the journal, when they cannot be written."""
    rows: dict[str, Any] = decoded.as_dict() if decoded else {"records": [], "changed": [], "unread": []}
    try:
        if decoded:
            write(store.path(manifest.id) / RECORDS, as_json(rows))
        store.update(manifest)
        refresh(store, manifest.id)
    except (OSError, HanbatError) as error:
        logger.error("salvage %s: the rows could not be written: %s", manifest.id, error)
        for record in rows["records"][:100]:
            logger.error("salvage %s: %s %s", manifest.id, record["title"], {**record["key"], **record["of"]})
    logger.log(_level(manifest), "%s", headline(manifest, rows["records"]))


def refresh(store: Store, salvage: str) -> Verdict:
    """Writes the report anew from what is there, and gives its verdict."""
    manifest = store.get(salvage)
    decoded, comparison = store.read(salvage, RECORDS), store.read(salvage, COMPARISON)
    write(store.path(salvage) / REPORT, report(manifest, decoded, comparison))
    return verdict(manifest, comparison)


def needs_comparison(store: Store, manifest: Manifest) -> bool:
    """Whether there are rows that nobody has looked up on the new primary yet."""
    return bool(manifest.records) and store.read(manifest.id, COMPARISON) is None


def look_up(store: Store, salvage: str, server: Local, settings: Settings, limit_s: float) -> Verdict:
    """Compares the rows with those of the new primary, as this host has them. Raises NotComparable."""
    manifest = store.get(salvage)
    decoded: Mapping[str, Any] = store.read(salvage, RECORDS) or {"records": []}
    seen = wait_to_follow(
        lambda: state(server), manifest.timeline, limit_s=limit_s, clock=time.monotonic, sleep=time.sleep
    )
    rows = compare(server, decoded, settings.requests)
    told = {
        "at": utc_now().isoformat(timespec="seconds"), "host": manifest.host,
        "lsn": wal.format_lsn(seen.lsn), "timeline": seen.timeline, "rows": rows,
    }  # fmt: skip
    write(store.path(salvage) / COMPARISON, as_json(told))
    return refresh(store, salvage)
