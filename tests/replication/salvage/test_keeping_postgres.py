"""The whole way on real servers: a tail is kept and decoded, and the old primary is still rewound."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from replication.salvage import keeping, wal
from replication.salvage.compare import Local
from replication.salvage.keeping import Source, keep, look_up
from replication.salvage.report import Verdict, report
from replication.salvage.server import Isolated, Programs
from replication.salvage.settings import Settings, described_tables
from replication.salvage.store import COMPARISON, RECORDS, Manifest, Store
from replication.salvage.tail import Leader

from ..salvage_servers import BIN, PAYMENT, Pair, as_postgres, pair, prepared

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not (BIN / "postgres").exists(), reason="needs PostgreSQL 15's programs"),
]
PROGRAMS = Programs(BIN)


@pytest.fixture(scope="module")
def template() -> Iterator[Path]:
    with as_postgres():
        folder = prepared()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def both(template: Path) -> Iterator[Pair]:
    with as_postgres(), pair(template) as servers:
        yield servers


def settings(both: Pair, **other: int) -> Settings:
    return Settings(
        folder=both.old.folder / "salvage", tables=described_tables(), reserve_mb=0, compare_s=20,
        bin_dir=BIN, **other,
    )  # fmt: skip


def kept(both: Pair, used: Settings, at: datetime | None = None) -> Manifest:
    source = Source(both.old.data, "dj-db1", "hanbat", "pg_rewind")
    found = keep(source, both.new.leader(), PROGRAMS, used, lambda: at or datetime.now(UTC))
    assert found is not None
    return found


def stop_crashed(both: Pair) -> None:
    both.old.control("-m", "immediate", "stop")
    both.old.crash_recovery()


def stop_as_demoted(both: Pair) -> None:
    """Patroni stops a demoted primary, starts it as a standby, and stops that before the rewind."""
    both.old.control("-m", "fast", "stop")
    (both.old.data / "standby.signal").touch()
    both.old.control("start")
    both.old.control("-m", "fast", "stop")


def stop_dead(both: Pair) -> None:
    """A re-clone may find a crashed server that nobody has recovered."""
    both.old.control("-m", "immediate", "stop")


@pytest.mark.parametrize("stop", [stop_crashed, stop_as_demoted, stop_dead])
def test_a_tail_is_kept_and_decoded_and_the_rewind_goes_on(both: Pair, stop) -> None:
    with contextlib.closing(both.old.connect()) as early:
        early.autocommit = False
        with early.cursor() as cursor:  # written before the parting, committed after it
            cursor.execute(
                "INSERT INTO procurement.canary (stream, sequence, request_key) VALUES ('early', 1, 'e')"
            )
        both.wait_replayed()
        both.take_over()
        early.commit()
    both.old.sql(PAYMENT)
    both.old.sql("BEGIN; INSERT INTO procurement.canary VALUES ('undone', 1, now(), 'u'); ROLLBACK")
    both.old.sql(
        "BEGIN; INSERT INTO procurement.canary VALUES ('sub', 1, now(), 's'); SAVEPOINT a;"
        " INSERT INTO procurement.canary VALUES ('sub', 2, now(), 's'); COMMIT"
    )
    stop(both)
    opts = (both.old.data / "postmaster.opts").read_bytes()
    signal = (both.old.data / "standby.signal").exists()

    used = settings(both)
    manifest = kept(both, used)
    store = Store(used.folder)
    assert manifest.decoded == "yes", manifest.notes
    rows = store.read(manifest.id, RECORDS)["records"]
    assert [(row["title"], row["row"].get("request_key"), row["row"].get("sequence")) for row in rows] == [
        ("subcontract payment", "pay-1", None), ("payment", "pay-1", None),
        ("canary", "e", 1), ("canary", "s", 1), ("canary", "s", 2),
    ]  # fmt: skip
    assert rows[1]["of"] | {"paid_at": ""} == {
        "tender": "T-1", "company": "한빛건설", "amount": 500, "request": "pay-1", "paid_at": "",
    }  # fmt: skip
    assert (manifest.decoded, manifest.committed, manifest.records) == ("yes", 4 - 1, 5)
    assert manifest.aborted == 1
    assert manifest.segments
    assert manifest.tail_bytes
    assert manifest.parted_timeline == 1
    assert manifest.new_timeline == 2
    store.check(manifest.id)

    # The data directory is as it was, and Patroni's next step works.
    assert (both.old.data / "postmaster.opts").read_bytes() == opts
    assert (both.old.data / "standby.signal").exists() is signal
    assert not (both.old.data / "postmaster.pid").exists()
    assert kept(both, used) == store.get(manifest.id), "the same tail is kept once"
    both.old.rewind(both.new)
    both.old.follow(both.new)

    # Somebody writes under a number that the tail had used; nothing is asked for again.
    both.new.sql("INSERT INTO procurement.canary VALUES ('sub', 1, now(), 's')")
    local = Local(PROGRAMS, both.old.folder, both.old.port)
    wait_replayed(both)
    assert look_up(store, manifest.id, local, used, 20) is Verdict.MISSING
    rows = store.read(manifest.id, COMPARISON)["rows"]
    assert {row["state"] for row in rows} == {"missing"}
    assert [row["key_taken"] for row in rows] == [False, False, False, True, False]
    text = (store.path(manifest.id) / "report.txt").read_text()
    assert "payment: id=1 tender=T-1 company=한빛건설 amount=500" in text
    assert "MISSING on the new primary" in text


BID = """
INSERT INTO procurement.bid (tender_id, company_id, sequence, amount, pick_a, pick_b, receipt_number,
    received_at, nonce, previous_hash, receipt_hash, request_key)
SELECT t.id, p.id, 2, {amount}, 3, 4, '{receipt}', now(), 'n', 'h', 'h2', 'bid-T-1'
FROM procurement.tender t, procurement.party p WHERE p.request_key = '{party}';
"""
CANARY = "INSERT INTO procurement.canary (stream, sequence, request_key) VALUES ('{key}', {number}, '{key}');"
ANSWERED = """
INSERT INTO procurement.idempotency (party_id, request_key, method, path, request_hash, status, response)
SELECT id, '{key}', 'POST', '/', sha256('{body}'), 201, '{{}}' FROM procurement.party
WHERE request_key = '{party}';
"""


def bid(party: str, amount: int) -> str:
    """One transaction, as the application writes it."""
    request = ANSWERED.format(key="bid-T-1", body=amount, party=party)
    return BID.format(party=party, amount=amount, receipt=f"R-{amount}") + request


def canary(key: str, number: int, body: str) -> str:
    return CANARY.format(key=key, number=number) + ANSWERED.format(key=key, body=body, party="r-2")


def test_a_row_is_again_only_where_the_same_request_of_the_same_party_is(both: Pair) -> None:
    """Planted: all was told as present, for another bidder had chosen the same words for its key."""
    both.take_over()
    both.old.sql(bid("r-3", 880))
    both.old.sql(canary("repeated", 1, "same"))
    both.old.sql(canary("reused", 1, "one"))
    both.old.sql(canary("lost", 1, "lost"))
    stop_crashed(both)
    used = settings(both)
    manifest = kept(both, used)
    assert (manifest.decoded, manifest.records) == ("yes", 8), manifest.notes
    both.old.rewind(both.new)
    both.old.follow(both.new)

    both.new.sql(
        "INSERT INTO procurement.party (kind, name, business_number, key_hash, request_key)"
        " VALUES ('company', 'third', '3', sha256('d'), 'r-30')"
    )
    both.new.sql(bid("r-30", 999))
    both.new.sql(canary("repeated", 7, "same"))
    both.new.sql(canary("reused", 7, "another"))  # the same party and key: not the same request
    wait_replayed(both)

    local = Local(PROGRAMS, both.old.folder, both.old.port)
    store = Store(used.folder)
    assert look_up(store, manifest.id, local, used, 20) is Verdict.MISSING
    decoded, compared = store.read(manifest.id, RECORDS), store.read(manifest.id, COMPARISON)["rows"]
    states = {
        (record["title"], record["row"]["request_key"]): row["state"]
        for record, row in zip(decoded["records"], compared, strict=True)
    }
    assert states == {
        ("bid", "bid-T-1"): "missing", ("answered request", "bid-T-1"): "missing",
        ("canary", "repeated"): "again", ("answered request", "repeated"): "again",
        ("canary", "reused"): "missing", ("answered request", "reused"): "missing",
        ("canary", "lost"): "missing", ("answered request", "lost"): "missing",
    }  # fmt: skip
    again = next(row for row in compared if row["state"] == "again" and "sequence" in row["differs"])
    assert again["differs"]["sequence"] == [1, 7]

    # Where nobody named the table of requests, a row that is not there may have been sent again: unknown.
    unnamed = dataclasses.replace(used, tables=())
    assert look_up(store, manifest.id, local, unnamed, 20) is Verdict.UNKNOWN


@pytest.mark.parametrize("linked", [("old",), ("new",), ("old", "new")])
def test_wal_in_a_directory_of_its_own_is_kept_and_rewound(both: Pair, linked: tuple[str, ...]) -> None:
    """At one host or at both: a cluster from before gets its directories host by host, with each clone."""
    for node in (both.new, both.old):
        node.control("stop")
    for name in linked:
        getattr(both, name).link_wal()
    for node in (both.old, both.new):
        node.control("start")
    both.wait_replayed()
    both.take_over()
    both.old.sql(PAYMENT)
    stop_crashed(both)
    manifest = kept(both, settings(both))
    assert (manifest.decoded, manifest.committed, manifest.records) == ("yes", 1, 2), manifest.notes
    assert manifest.segments
    both.old.rewind(both.new)
    assert (both.old.data / "pg_wal").is_symlink() is ("old" in linked)
    both.old.follow(both.new)
    both.new.sql("INSERT INTO procurement.canary VALUES ('later', 1, now(), 'l')")
    wait_replayed(both)


def test_a_tail_that_ends_with_a_switch_of_segments_is_whole(both: Pair) -> None:
    """Planted: the server had reached the next segment, and the tail seemed to be cut before that."""
    both.take_over()
    both.old.sql(PAYMENT)
    both.old.sql("SELECT pg_switch_wal()")
    both.old.control("-m", "immediate", "stop")
    (both.old.data / "standby.signal").touch()  # as Patroni starts it, and stops it for the rewind
    both.old.control("start")
    both.old.control("-m", "fast", "stop")
    manifest = kept(both, settings(both))
    assert (manifest.decoded, manifest.committed, manifest.records) == ("yes", 1, 2), manifest.notes
    assert manifest.end_lsn is not None
    assert manifest.end_lsn.endswith("000000")
    both.old.rewind(both.new)


def test_a_primary_that_died_before_the_checkpoint_of_its_promotion(both: Pair) -> None:
    """The control file's checkpoint still has the timeline from before it."""
    both.old.sql("CREATE TABLE big AS SELECT repeat('x', 500) FROM generate_series(1, 20000)")
    both.wait_replayed()
    both.old.control("-m", "immediate", "stop")
    both.new.control("promote")
    parted = both.new.sql("SELECT pg_current_wal_flush_lsn()")[0][0]
    both.new.sql(PAYMENT)
    both.new.control("-m", "immediate", "stop")
    fields = PROGRAMS.controldata(both.new.data)
    assert (fields["Database cluster state"], fields["Latest checkpoint's TimeLineID"]) == (
        "in production",
        "1",
    )
    history = (both.new.data / "pg_wal" / "00000002.history").read_text()
    leader = Leader("dj-db2", 3, f"{history}2\t{parted}\tx\n")
    manifest = keep(
        Source(both.new.data, "gg-db1", "hanbat", "cloning anew"), leader, PROGRAMS, settings(both)
    )
    assert manifest is not None
    assert (manifest.timeline, manifest.parted_timeline, manifest.parted_lsn) == (2, 2, parted)
    assert (manifest.decoded, manifest.committed, manifest.records) == ("yes", 1, 2), manifest.notes


def wait_replayed(both: Pair) -> None:
    position = both.new.sql("SELECT pg_current_wal_flush_lsn()")[0][0]
    end = time.monotonic() + 20
    while not both.old.sql(f"SELECT pg_last_wal_replay_lsn() >= '{position}'")[0][0]:
        assert time.monotonic() < end, (both.old.folder / "dj-db1.log").read_text()[-3000:]
        time.sleep(0.05)


def test_without_a_commit_beyond_the_parting_it_is_told_in_less_than_a_second(both: Pair) -> None:
    both.take_over()
    both.old.sql("BEGIN; INSERT INTO procurement.canary VALUES ('undone', 1, now(), 'u'); ROLLBACK")
    both.old.sql("CHECKPOINT")
    stop_crashed(both)
    used = settings(both)
    began = time.monotonic()
    manifest = kept(both, used)
    assert time.monotonic() - began < 1
    assert (manifest.committed, manifest.records, manifest.segments) == (0, None, ())
    assert manifest.tail_bytes is not None
    assert manifest.tail_bytes > 0  # a checkpoint at least: a rewind is needed
    assert manifest.decoded == "no need"
    assert keeping.refresh(Store(used.folder), manifest.id) is Verdict.NOTHING
    both.old.rewind(both.new)


def test_wal_that_is_gone_makes_the_tail_unknown_and_never_empty(both: Pair) -> None:
    both.take_over()
    both.old.sql(PAYMENT)
    stop_crashed(both)
    for segment in (both.old.data / "pg_wal").glob("0*"):
        segment.unlink()
    used = settings(both)
    manifest = kept(both, used)
    assert (manifest.committed, manifest.tail_bytes, manifest.decoded) == (None, None, "no")
    assert "is not there" in " ".join(manifest.notes)
    assert keeping.refresh(Store(used.folder), manifest.id) is Verdict.UNKNOWN


def test_wal_that_breaks_off_is_told_as_at_least(both: Pair) -> None:
    both.take_over()
    both.old.sql(PAYMENT)
    both.old.sql("SELECT pg_switch_wal()", "postgres")
    both.old.sql("INSERT INTO procurement.canary VALUES ('late', 1, now(), 'l')")
    stop_crashed(both)
    last = max(path for path in (both.old.data / "pg_wal").glob("0*") if len(path.name) == 24)
    for path in sorted((both.old.data / "pg_wal").glob("0*"))[1:]:
        if path.name > "000000010000000000000003" or path == last:
            path.unlink()
    manifest = kept(both, settings(both))
    assert (manifest.committed, manifest.decoded) == (None, "no")
    assert "at least 2 transactions" in " ".join(manifest.notes)
    assert manifest.segments


def test_a_server_that_does_not_start_leaves_the_wal_and_the_reason(both: Pair) -> None:
    both.take_over()
    both.old.sql(PAYMENT)
    stop_crashed(both)
    with (both.old.data / "postgresql.conf").open("a") as out:
        out.write("no_such_parameter = 1\n")
    manifest = kept(both, settings(both))
    assert (manifest.committed, manifest.decoded, manifest.records) == (1, "no", None)
    assert len(manifest.segments) >= 1
    assert "no_such_parameter" in " ".join(manifest.notes)
    assert not (both.old.data / "standby.signal").exists()


def test_a_full_disk_does_not_stop_the_decoding(both: Pair) -> None:
    both.take_over()
    both.old.sql(PAYMENT)
    stop_crashed(both)
    manifest = kept(both, settings(both, wal_mb=1))
    assert (manifest.decoded, manifest.records, manifest.segments) == ("yes", 2, ())
    assert manifest.left_out
    assert "NOT kept" in report(manifest, None, None)


def test_wal_that_was_left_out_is_kept_when_there_is_room_at_the_next_attempt(both: Pair) -> None:
    three_segments(both)
    stop_crashed(both)
    first = kept(both, settings(both, wal_mb=16))
    assert len(first.segments) == 1
    assert first.left_out
    assert kept(both, settings(both, wal_mb=16)) == first  # there is no room yet
    used = settings(both)
    store = Store(used.folder)
    second = kept(both, used)
    assert store.listed() == [second]
    assert [segment.name for segment in second.segments] == [first.segments[0].name, *first.left_out]
    assert (second.id, second.left_out, second.notes) == (first.id, (), ())
    assert commits_kept(both, store, second) == 3
    store.check(second.id)


def test_reading_slowly_leaves_time_to_copy(both: Pair) -> None:
    three_segments(both)
    stop_crashed(both)
    slow = both.old.folder / "bin"
    slow.mkdir()
    for program in BIN.iterdir():
        (slow / program.name).symlink_to(program)
    (slow / "pg_waldump").unlink()
    (slow / "pg_waldump").write_text(f'#!/bin/sh\nsleep 20\nexec {BIN}/pg_waldump "$@"\n')
    (slow / "pg_waldump").chmod(0o755)
    used = settings(both, save_s=2)
    source = Source(both.old.data, "dj-db1", "hanbat", "pg_rewind")
    manifest = keep(source, both.new.leader(), Programs(slow), used)
    assert manifest is not None
    assert "pg_waldump did not end within 1.0 s" in " ".join(manifest.notes)
    assert (manifest.committed, manifest.left_out) == (None, ())
    assert commits_kept(both, Store(used.folder), manifest) == 3


def test_an_evidence_folder_that_cannot_be_written_is_told_in_the_journal(
    both: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    both.take_over()
    both.old.sql(PAYMENT)
    stop_crashed(both)
    used = settings(both)
    used.folder.write_text("a file where the folder should be")
    keep(Source(both.old.data, "dj-db1", "hanbat", "pg_rewind"), both.new.leader(), PROGRAMS, used)
    assert "SALVAGE NOT WRITTEN" in caplog.text
    assert "subcontract payment" in caplog.text
    both.old.rewind(both.new)


class Killed(BaseException):
    """Stands for the end of Patroni, or of the host, in the middle of a decoding."""


def killed(server: Isolated, *_: object) -> None:
    assert server._process is not None
    server._process.kill()
    server._process.wait()
    server._signal_is_mine = False
    raise Killed


def started_anew(both: Pair) -> None:
    """Patroni's crash recovery of what the killed server left: "in archive recovery"."""
    for name in ("standby.signal", "postmaster.pid"):
        (both.old.data / name).unlink(missing_ok=True)
    both.old.crash_recovery()


def test_evidence_that_cannot_be_written_to_its_end_leaves_no_half_behind(
    both: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    both.take_over()
    both.old.sql(PAYMENT)
    stop_crashed(both)
    used = settings(both)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(keeping, "write", full)
    kept(both, used)
    assert "SALVAGE NOT WRITTEN" in caplog.text
    assert list(used.folder.iterdir()) == []


def test_an_interrupted_decoding_is_tried_once_more_and_not_for_ever(
    both: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crash recovery in between appends a checkpoint: the tail has another end, and is the same."""
    three_segments(both)
    stop_crashed(both)
    used = settings(both)
    store = Store(used.folder)
    ends: set[str | None] = set()
    monkeypatch.setattr(keeping, "decode", killed)
    for attempt in (1, 2):
        with pytest.raises(Killed):
            kept(both, used)
        (one,) = store.listed()
        assert (one.decoded, one.interrupted) == ("under way", attempt - 1)
        ends.add(PROGRAMS.controldata(both.old.data)["Latest checkpoint location"])
        started_anew(both)
    assert len(ends) == 2
    monkeypatch.undo()
    last = kept(both, used)
    assert store.listed() == [last]
    assert (last.decoded, last.interrupted, last.committed) == ("no", 2, 3)
    assert commits_kept(both, store, last) == 3
    assert kept(both, used) == last
    both.old.rewind(both.new)


def test_the_second_attempt_to_decode_gives_the_rows(both: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    both.take_over()
    both.old.sql(PAYMENT)
    stop_crashed(both)
    used = settings(both)
    with monkeypatch.context() as patched:
        patched.setattr(keeping, "decode", killed)
        with pytest.raises(Killed):
            kept(both, used)
    started_anew(both)
    again = kept(both, used)
    assert Store(used.folder).listed() == [again]
    assert (again.decoded, again.interrupted, again.records) == ("yes", 1, 2)
    assert "interrupted" in " ".join(again.notes)


def test_another_tail_from_the_same_place_has_no_attempts_of_its_own(both: Pair) -> None:
    both.take_over()
    both.old.sql(PAYMENT)
    stop_crashed(both)
    used = settings(both)
    store = Store(used.folder)
    first = kept(both, used)
    earlier = dataclasses.replace(first, committed=None, end_lsn=None, decoded="under way", interrupted=1)
    store.update(earlier)
    second = kept(both, used)
    assert store.get(first.id).interrupted == 2
    assert (second.decoded, second.committed, second.records) == ("no", 1, None)
    assert second.id != first.id
    assert second.segments


def commits_kept(both: Pair, store: Store, manifest: Manifest) -> int:
    """Beyond the parting, as `pg_waldump` reads them from the evidence alone."""
    tail, parting = wal.Tail(), wal.history(2, both.new.leader().history)[0].end
    assert parting is not None
    for segment in manifest.segments:
        path = store.path(manifest.id) / "wal" / segment.name
        for line in PROGRAMS.lines("pg_waldump", "-r", "Transaction", path, limit_s=20, errors=[]):
            tail.read(line, parting, segment.bytes)
    return len(tail.commits)


def three_segments(both: Pair) -> None:
    """A tail of one commit in each of three segments."""
    both.take_over()
    both.old.sql(PAYMENT)
    for number in (1, 2):
        both.old.sql("SELECT pg_switch_wal()")
        both.old.sql(f"INSERT INTO procurement.canary VALUES ('a', {number}, now(), 'a-{number}')")


@pytest.mark.parametrize("stop", [stop_crashed, stop_as_demoted])
def test_with_an_unknown_parting_all_of_the_tail_is_kept(both: Pair, stop) -> None:
    """Its last checkpoint is the end of the WAL, and pg_rewind goes on all the same."""
    three_segments(both)
    stop(both)
    used = settings(both)
    source = Source(both.old.data, "dj-db1", "hanbat", "pg_rewind")
    manifest = keep(source, None, PROGRAMS, used)
    assert manifest is not None
    assert (manifest.committed, manifest.parted_lsn, manifest.decoded) == (None, None, "no")
    both.old.rewind(both.new)
    assert commits_kept(both, Store(used.folder), manifest) == 3


def test_with_an_unknown_parting_the_newest_wal_is_kept_first(both: Pair) -> None:
    three_segments(both)
    stop_crashed(both)
    source = Source(both.old.data, "dj-db1", "hanbat", "pg_rewind")
    manifest = keep(source, None, PROGRAMS, settings(both, wal_mb=32))
    assert manifest is not None
    names = sorted({segment.name for segment in manifest.segments} | set(manifest.left_out))
    assert [segment.name for segment in manifest.segments] == names[:-3:-1]
    assert manifest.left_out


def test_an_unknown_new_primary_keeps_the_wal_once(both: Pair) -> None:
    both.take_over()
    both.old.sql(PAYMENT)
    both.old.control("-m", "immediate", "stop")
    used = settings(both, keep_count=1)
    manifest = keep(Source(both.old.data, "dj-db1", "hanbat", "cloning anew"), None, PROGRAMS, used)
    assert manifest is not None
    assert (manifest.committed, manifest.parted_lsn, manifest.decoded) == (None, None, "no")
    assert manifest.segments
    # The step is tried again and again while the new primary cannot be reached: one salvage.
    source = Source(both.old.data, "dj-db1", "hanbat", "pg_rewind")
    assert keep(source, None, PROGRAMS, used) == manifest
    # Once it can be reached there is one more, with the rows; the first is not pushed out.
    assert kept(both, used).records == 2
    assert len(Store(used.folder).listed()) == 2


def test_nothing_is_done_where_there_is_no_server(tmp_path: Path) -> None:
    used = Settings(folder=tmp_path / "salvage")
    (tmp_path / "data" / "pg_wal").mkdir(parents=True)
    assert keep(Source(tmp_path / "data", "dj-db1", "hanbat", "x"), None, PROGRAMS, used) is None
    assert not used.folder.exists()
    shutil.rmtree(tmp_path / "data")
