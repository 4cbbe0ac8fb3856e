"""Answers of Patroni in, the report of /rpo out."""

from __future__ import annotations

from typing import Any

import pytest

from replication.lsn.metrics import exposition
from replication.lsn.view import Known, site_safe
from replication.lsn.watch import LsnWatch, Round

AT_S = 1.8e9  # the time of day, which no age is made of
SITES = {"dj-db1": "daejeon", "dj-db2": "daejeon", "gg-db1": "gyeonggi"}


def primary(lsn: int, timeline: int = 1) -> dict[str, Any]:
    return {"state": "running", "role": "primary", "timeline": timeline, "xlog": {"location": lsn}}


def standby(lsn: int, timeline: int = 1) -> dict[str, Any]:
    return {"state": "running", "role": "replica", "timeline": timeline, "xlog": {"received_location": lsn}}


def cluster(leader: str | None = "dj-db1", **roles: str) -> dict[str, Any]:
    rows = [{"name": name, "role": "replica", "state": "streaming"} for name in SITES if name != leader]
    for row in rows:
        row["role"] = roles.get(row["name"].replace("-", "_"), row["role"])
    if leader:
        rows.append({"name": leader, "role": "leader", "state": "running"})
    return {"members": rows}


SAFE = cluster(dj_db2="sync_standby", gg_db1="sync_standby")


def test_the_primary_reports_what_the_other_site_lacks() -> None:
    watch = LsnWatch("dj-db1", SITES, 100.0)
    watch.take(Round(SAFE, {"dj-db1": primary(100), "dj-db2": standby(100), "gg-db1": standby(100)}), 10.0)
    watch.take(Round(SAFE, {"dj-db1": primary(300), "dj-db2": standby(300), "gg-db1": standby(100)}), 11.0)
    report = watch.report(11.5, AT_S)
    assert report["role"] == "primary"
    assert (report["lag_bytes"], report["rpo_seconds"], report["known"]) == (200, 0.5, "yes")
    assert report["site_safe"] == "yes"
    assert report["age_seconds"] == 0.5


def test_in_a_partition_it_grows_at_the_primary() -> None:
    watch = LsnWatch("dj-db1", SITES, 100.0)
    watch.take(Round(SAFE, {"dj-db1": primary(100), "dj-db2": standby(100), "gg-db1": standby(100)}), 10.0)
    for second in range(11, 31):
        answers = {"dj-db1": primary(second * 100), "dj-db2": standby(second * 100), "gg-db1": None}
        watch.take(Round(cluster(dj_db2="sync_standby"), answers), float(second))
    report = watch.report(30.0, AT_S)
    assert report["rpo_seconds"] == 19.0
    assert report["received_lsn"] == 100
    assert report["site_safe"] == "no"


def test_at_the_backup_an_unseen_primary_makes_it_unknown_with_the_last_proven_position() -> None:
    watch = LsnWatch("gg-db1", SITES, 100.0)
    watch.take(Round(SAFE, {"dj-db1": primary(100), "dj-db2": standby(100), "gg-db1": standby(100)}), 10.0)
    for second in range(11, 20):
        watch.take(Round(None, {"dj-db1": None, "dj-db2": None, "gg-db1": standby(100)}), float(second))
    report = watch.report(19.0, AT_S)
    assert (report["known"], report["rpo_seconds"], report["lag_bytes"]) == ("unknown", None, None)
    assert (report["primary_lsn"], report["received_lsn"], report["age_seconds"]) == (100, 100, 9.0)
    assert report["site_safe"] == "unknown"
    assert report["role"] == "standby"


def test_before_any_answer_everything_is_unknown() -> None:
    watch = LsnWatch("gg-db1", SITES, 100.0)
    watch.take(Round(None, dict.fromkeys(SITES)), 1.0)
    report = watch.report(1.0, AT_S)
    assert report["known"] == "unknown"
    assert report["age_seconds"] is None
    assert report["role"] == "unknown"


def test_an_old_primary_on_its_lost_timeline_proves_nothing() -> None:
    """After a takeover the other site's old primary is further, on WAL that is nobody's."""
    watch = LsnWatch("gg-db1", SITES, 100.0)
    taken = cluster("gg-db1")
    watch.take(Round(taken, {"dj-db1": standby(900, 1), "dj-db2": None, "gg-db1": primary(500, 2)}), 10.0)
    report = watch.report(10.0, AT_S)
    assert report["received_lsn"] is None
    assert report["known"] == "unknown"
    watch.take(Round(taken, {"dj-db1": standby(500, 2), "dj-db2": None, "gg-db1": primary(500, 2)}), 11.0)
    assert watch.report(11.0, AT_S)["rpo_seconds"] == 0.0


def test_an_in_site_standby_is_no_proof_for_the_other_site() -> None:
    watch = LsnWatch("dj-db1", SITES, 100.0)
    watch.take(Round(SAFE, {"dj-db1": primary(100), "dj-db2": standby(100), "gg-db1": None}), 10.0)
    assert watch.report(10.0, AT_S)["known"] == "unknown"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (SAFE, Known.YES),
        (cluster(dj_db2="sync_standby"), Known.NO),
        (cluster("gg-db1", dj_db2="sync_standby"), Known.YES),
        (cluster(None, gg_db1="sync_standby"), Known.UNKNOWN),
        (None, Known.UNKNOWN),
    ],
)
def test_site_safe(answer: dict[str, Any] | None, expected: Known) -> None:
    assert site_safe(answer, SITES) is expected


def test_a_sync_standby_that_does_not_stream_protects_nothing() -> None:
    answer = cluster(gg_db1="sync_standby")
    for row in answer["members"]:
        row["state"] = "running" if row["role"] == "leader" else "starting"
    assert site_safe(answer, SITES) is Known.NO


def test_what_is_unknown_is_absent_from_the_metrics() -> None:
    watch = LsnWatch("gg-db1", SITES, 100.0)
    text = exposition(watch.report(1.0, AT_S)).decode()
    assert "hanbat_rpo_seconds" not in text
    assert "hanbat_rpo_known 0.0" in text
    assert 'hanbat_site_safe{state="unknown"} 1.0' in text
