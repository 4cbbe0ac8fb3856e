"""The members of the DCS as observers see them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from failover.publication import MemberSeen, Pulse
from failover.view import Observation, Reach


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One member. `seen`: from each site with a fresh observer; `why`: of those that hold it unhealthy.

    `age_ms`: the oldest of these words. `failing_ms`: for how long it has failed from the site that noticed
    first. None: nobody knows.
    """

    name: str
    site: str
    seen: dict[str, Reach]
    age_ms: int | None
    failing_ms: int | None
    why: dict[str, str]

    @property
    def healthy(self) -> Reach:
        """What the sites agree on. Some reach it and others do not: unknown, it may not reach the others."""
        told = set(self.seen.values()) - {Reach.UNKNOWN}
        return told.pop() if len(told) == 1 else Reach.UNKNOWN


def member_rows(
    observations: Sequence[Observation], pulses: Mapping[str, Pulse], members: Mapping[str, str]
) -> tuple[MemberRow, ...]:
    """A row for each member. `observations`: whose words count. `members`: name -> site."""
    return tuple(_row(observations, pulses, name, site) for name, site in members.items())


def _row(observations: Sequence[Observation], pulses: Mapping[str, Pulse], name: str, site: str) -> MemberRow:
    heard: dict[str, list[tuple[MemberSeen, int]]] = {}
    for one in observations:
        words = [word for word in pulses[one.observer].members if word.name == name]
        heard.setdefault(one.site, []).extend((word, one.age_ms) for word in words)
    told = {at: _best([word for word, _ in words]) for at, words in sorted(heard.items())}
    count = [(word, age) for at in told for word, age in heard[at] if word.reach is told[at]]
    failing = [word.for_ms + age for word, age in count if word.reach is Reach.UNREACHABLE]
    return MemberRow(
        name=name,
        site=site,
        seen=told,
        age_ms=max((word.age_ms + age for word, age in count if word.age_ms is not None), default=None),
        failing_ms=max(failing, default=None),
        why={at: _why(heard[at]) for at in told if told[at] is Reach.UNREACHABLE},
    )


def _why(words: list[tuple[MemberSeen, int]]) -> str:
    return next(word.why for word, _ in words if word.reach is Reach.UNREACHABLE)


def _best(words: list[MemberSeen]) -> Reach:
    """A site reaches a member when any observer there does. No word of it: unknown."""
    said = {word.reach for word in words}
    return next((one for one in (Reach.REACHABLE, Reach.UNREACHABLE) if one in said), Reach.UNKNOWN)
