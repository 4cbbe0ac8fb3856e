"""The watch over one cluster's positions: a round of answers goes in, the report of `/rpo` comes out.

No I/O: `replication.lsn.service` asks the hosts and gives the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from replication.lsn.ring import LsnRing, Sample
from replication.lsn.view import Known, Position, Role, best_received, leader, position, site_safe

FRESH_S = 3.0  # a sample older than this says that the primary is not seen


@dataclass(frozen=True, slots=True)
class Round:
    """Answers of one round; None for a host that did not answer."""

    cluster: Mapping[str, Any] | None
    hosts: Mapping[str, Mapping[str, Any] | None]


class LsnWatch:
    """Keeps the ring, and the last position that the other site is proved to have."""

    def __init__(self, me: str, sites: Mapping[str, str], window_s: float) -> None:
        self._me = me
        self._sites = dict(sites)
        self._ring = LsnRing(window_s)
        self._primary: str | None = None
        self._role = Role.UNKNOWN
        self._received: int | None = None
        self._site_safe = Known.UNKNOWN

    def take(self, answers: Round, at_s: float) -> None:
        """Takes a round of answers in."""
        places = {name: position(answer) for name, answer in answers.hosts.items()}
        self._site_safe = site_safe(answers.cluster, self._sites)
        named = leader(answers.cluster)
        if named is not None and named != self._primary:
            self._primary, self._received = named, None
        self._role = self._my_role(places.get(self._me))
        if self._primary is None:
            return
        seen = places.get(self._primary)
        if seen is not None and seen.primary:
            self._ring.add(Sample(at_s, seen.lsn))
        timeline = seen.timeline if seen is not None and seen.primary else None
        received = self._received_now(places, timeline)
        if received is not None:
            self._received = received

    def _my_role(self, place: Position | None) -> Role:
        if place is None:
            return Role.UNKNOWN
        return Role.PRIMARY if place.primary else Role.STANDBY

    def _received_now(self, places: Mapping[str, Position | None], timeline: int | None) -> int | None:
        """On a standby its own position; on the primary the best one of another site."""
        mine = places.get(self._me)
        if self._primary == self._me or mine is None or mine.primary:
            return best_received(places, self._primary or "", timeline, self._sites)
        if timeline is not None and mine.timeline not in (None, timeline):
            return None
        return mine.lsn

    def report(self, now_s: float, at_s: float) -> dict[str, Any]:
        """The JSON of `/rpo`. `rpo_seconds` is null and `known` is "unknown" when it cannot be told.

        `now_s`: of the clock of `take`, monotonic: ages are measured by it alone. `at_s`: the time of day.
        """
        newest = self._ring.newest
        age_s = max(0.0, now_s - newest.at_s) if newest else None
        exposure = self._ring.exposure(self._received, now_s) if self._received is not None else None
        fresh = age_s is not None and age_s <= FRESH_S
        seconds = exposure.seconds if exposure is not None and fresh else None
        return {
            "host": self._me,
            "primary": self._primary,
            "role": self._role.value,
            "primary_lsn": newest.lsn if newest else None,
            "received_lsn": self._received,
            "lag_bytes": exposure.lag_bytes if exposure is not None and fresh else None,
            "rpo_seconds": seconds,
            # The same also when the primary has not been seen for a while: for who must decide without it.
            "exposed_seconds": exposure.seconds if exposure is not None else None,
            "rpo_at_least_seconds": exposure.at_least_s if exposure is not None else None,
            "known": (Known.YES if seconds is not None else Known.UNKNOWN).value,
            "age_seconds": age_s,
            "site_safe": self._site_safe.value,
            "at": at_s,
        }
