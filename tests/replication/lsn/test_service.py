"""The ring's service: what it measures ages with."""

from __future__ import annotations

from typing import Any

from replication.lsn.service import Config, Service

from .test_watch import SAFE, SITES, primary, standby

CONFIG = Config("gg-db1", "127.0.0.1", 0, 100.0, {name: f"http://{name}" for name in SITES}, SITES)


class Clocks:
    """A monotonic clock and the time of day."""

    now_s, wall_s = 100.0, 1.8e9


def service(clocks: Clocks, answers: dict[str, Any]) -> Service:
    return Service(CONFIG, lambda: clocks.now_s, lambda: clocks.wall_s, answers.get)


def test_a_time_of_day_that_is_set_back_makes_no_loss_smaller() -> None:
    """Planted: ages were of the time of day, and a person signed for "going back about 0.0 s"."""
    clocks = Clocks()
    answers: dict[str, Any] = {
        "http://gg-db1/cluster": SAFE,
        "http://dj-db1/patroni": primary(300),
        "http://gg-db1/patroni": standby(300),
    }
    ring = service(clocks, answers)
    ring.poll()
    clocks.now_s, clocks.wall_s = 101.0, 1.8e9 + 1
    ring._ask = {**answers, "http://dj-db1/patroni": primary(500)}.get
    ring.poll()
    clocks.now_s, clocks.wall_s = 161.0, 1.8e9 - 3600  # the primary is gone; somebody sets the clock
    ring._ask = {"http://gg-db1/patroni": standby(300)}.get
    ring.poll()
    report = ring.report()
    assert (report["age_seconds"], report["exposed_seconds"]) == (60.0, 60.0)
    assert report["known"] == "unknown"
    assert report["at"] == 1.8e9 - 3600
