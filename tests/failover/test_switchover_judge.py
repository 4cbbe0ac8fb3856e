"""Looking until nothing stands in the way of a handover: what the first look saw is what must be reached."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

from failover.switchover_cli import judge
from failover.view import NotSeen

from .test_preflight import pulses
from .views import observation, primary, standby, view

CONFIG = SimpleNamespace(poolers=(), member_sites={})


class Looker:
    """The primary writes 100 bytes between two looks; the candidate is seen 50 behind, or stands still."""

    def __init__(self, stands: bool, blind: int = 0) -> None:
        self.looks, self.stands, self.blind = 0, stands, blind
        self.found, self.last = {}, ()

    def last_pulses(self):
        return pulses(self.last)

    def view(self):
        self.looks += 1
        written = 1000 + 100 * self.looks
        hosts = (primary("dj-db1", written), standby("dj-db2", written))
        candidate = standby("gg-db1", 900 if self.stands else written - 50)
        seen = tuple(
            replace(observation(site, revision=number), hosts=(*hosts, candidate))
            for number, site in enumerate(("daejeon", "gyeonggi", "sejong"), 71)
        )
        self.last = seen
        return view(seen, NotSeen("no answer")) if self.looks <= self.blind else view(seen)


def test_a_standby_that_follows_a_busy_primary_is_ready_at_the_second_look():
    looker = Looker(stands=False)
    assert judge(CONFIG, looker, "gyeonggi", ()).ready
    assert looker.looks == 2


def test_a_look_that_saw_no_etcd_is_nothing_to_come_up_to():
    looker = Looker(stands=False, blind=1)
    assert judge(CONFIG, looker, "gyeonggi", ()).ready
    assert looker.looks == 3


def test_a_standby_that_stands_still_is_refused_after_a_bounded_time():
    began = time.monotonic()
    found = judge(CONFIG, Looker(stands=True), "gyeonggi", ())
    assert [one.code for one in found.reasons] == ["candidate_not_behind"]
    assert time.monotonic() - began < 10
