"""Conditions of a healthy lab, judged by value."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanbat.topology_file import load
from lab import health
from lab.errors import NotHealthy
from lab.health import Cluster, Condition, Member

TOPOLOGY = load(Path(__file__).resolve().parents[2] / "sites.yml")


def _cluster(
    primary: str = "dj-db1", sync: tuple[str, ...] = ("dj-db2", "gg-db1"), state: str = "streaming"
) -> Cluster:
    rows = []
    for name in ("dj-db1", "dj-db2", "gg-db1"):
        role = "leader" if name == primary else "sync_standby" if name in sync else "replica"
        rows.append(Member(name, role, "running" if name == primary else state))
    return Cluster(tuple(rows), 2)


def _false(cluster: Cluster | None) -> list[str]:
    return [each.name for each in health.judge_cluster(TOPOLOGY, cluster) if not each.holds]


def test_a_complete_cluster_is_healthy() -> None:
    assert _false(_cluster()) == []


@pytest.mark.parametrize(
    ("cluster", "false"),
    [
        (None, ["Patroni answers"]),
        (_cluster(primary="gg-db1", sync=("dj-db1", "dj-db2")), ["the primary is at the primary site"]),
        (_cluster(sync=("gg-db1",)), ["the sync set is complete"]),
        (_cluster(state="starting"), ["every standby is streaming"]),
        (_cluster(primary=""), ["the primary is at the primary site", "every standby is streaming"]),
        (
            Cluster(_cluster().members[:2], 2),
            ["every standby is streaming", "the sync set is complete"],
        ),
    ],
)
def test_what_is_false_is_named(cluster: Cluster | None, false: list[str]) -> None:
    assert _false(cluster) == false


def test_a_wait_that_ends_names_the_condition_and_explains() -> None:
    with pytest.raises(NotHealthy, match=r"the moon is full: half\nlog of dj-db1"):
        health.wait(
            lambda: iter([Condition("the moon is full", False, "half", ("dj-db1",))]),
            limit_s=0,
            explain=lambda hosts: f"log of {hosts[0]}",
            progress=lambda _: None,
        )
