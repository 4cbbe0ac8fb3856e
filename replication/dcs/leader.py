"""Where the leader of etcd should stand: never at the active site, if it can be helped.

When the active site is lost together with the etcd leader, an election comes on top of the takeover
and every lease starts anew at full length (7 s measured). A pure decision; `replication.dcs.steward`
looks and acts.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DcsMember:
    """One member as the local one sees it. `healthy` None means: unknown."""

    name: str
    site: str
    witness: bool
    healthy: bool | None


@dataclass(frozen=True, slots=True)
class View:
    """All that the decision needs. `leader` and `active_site` are None when they are unknown."""

    me: str
    leader: str | None
    active_site: str | None
    members: tuple[DcsMember, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """Hand the leadership of etcd to a member, and why."""

    target: str
    why: str


def decide(view: View) -> Move | None:
    """The move to make now, or None.

    Only the leader itself moves its leadership, only away from the active site, only to a member
    known to be healthy: the witness first, then any other site. Nothing moves on unknown facts.
    """
    if view.leader != view.me or view.active_site is None:
        return None
    mine = next((member for member in view.members if member.name == view.me), None)
    if mine is None or mine.site != view.active_site:
        return None
    able = [m for m in view.members if m.site != view.active_site and m.healthy is True]
    if not able:
        return None
    target = min(able, key=lambda member: (not member.witness, member.name))
    return Move(target.name, f"{view.me} leads etcd at the active site {view.active_site}")
