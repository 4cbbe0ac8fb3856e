"""If the primary were lost now: who would be left to say so, and to write it down? For people.

The planner judges what has happened, not what would. An in-site move is made when the primary's host is lost,
a change of site when all of its site is (`guards.scope_proved`).
"""

from __future__ import annotations

from collections.abc import Mapping

from failover.dcs_members import member_rows
from failover.guards import Case, Held, Verdict, fails, holds, unknown
from failover.policy import MoveKind
from failover.publication import Pulse
from failover.view import Observation, Reach, View
from failover.votes import fresh


def would_move(case: Case, pulses: Mapping[str, Pulse], members: Mapping[str, str]) -> dict[str, Verdict]:
    """By code, as guards are. `members`: of the DCS, name -> site."""
    if case.old is None or case.candidate is None:
        nobody = unknown("no primary is known")
        return {"two_sites_to_agree": nobody, "majority_left": nobody}
    return {
        "two_sites_to_agree": two_sites_to_agree(case, case.old, case.candidate),
        "majority_left": majority_left(case, case.old, pulses, members),
    }


def two_sites_to_agree(case: Case, old: str, candidate: str) -> Verdict:
    """Two sites, the candidate's among them, have observers that outlive the loss and could vote on it.

    What `primary_unreachable`, `candidates_site_agrees` and `scope_proved` will need. An observer that is
    silent under a living lease, or whose probe tells nothing, may vote or may not.
    """
    left = [one for one in case.view.observations if _stays(case, old, one.observer, one.site)]
    voices = {site: _voice(case, old, [one for one in left if one.site == site]) for site in _sites(left)}
    home = case.view.site_of(candidate)
    sure = [site for site, voice in voices.items() if voice is Held.HOLDS]
    able = [site for site, voice in voices.items() if voice is not Held.FAILS]
    reason = f"the loss of {_lost(case, old)} could be seen from: {', '.join(sure) or 'nowhere'}"
    reason += "".join(f"; not sure: {site}" for site in able if site not in sure)
    if _enough(sure, home):
        return holds(reason)
    reason += f"; needed: two sites, {home} among them"
    return unknown(reason) if _enough(able, home) else fails(reason)


def majority_left(case: Case, old: str, pulses: Mapping[str, Pulse], members: Mapping[str, str]) -> Verdict:
    """The members of the DCS that outlive the loss are a majority of all, as seen by who outlives it."""
    if not members:
        return unknown("the members of the DCS are not known")
    left = {name: site for name, site in members.items() if _stays(case, old, name, site)}
    heard = [one for one in fresh(case.view) if _stays(case, old, one.observer, one.site)]
    rows = member_rows(heard, pulses, left)
    up = [row.name for row in rows if row.healthy is Reach.REACHABLE]
    unsure = [row.name for row in rows if row.healthy is Reach.UNKNOWN]
    needed = len(members) // 2 + 1
    reason = f"members of the DCS without {_lost(case, old)}: {', '.join(up) or 'none'}"
    reason += f"; not sure: {', '.join(unsure)}" if unsure else ""
    reason += f"; needed: {needed} of {len(members)}"
    if len(up) >= needed:
        return holds(reason)
    return unknown(reason) if len(up) + len(unsure) >= needed else fails(reason)


def _stays(case: Case, old: str, machine: str, site: str) -> bool:
    """Whether a machine outlives the loss for which this move is made."""
    return machine != old if case.kind is MoveKind.IN_SITE else site != case.view.site_of(old)


def _lost(case: Case, old: str) -> str:
    return old if case.kind is MoveKind.IN_SITE else case.view.site_of(old)


def _sites(observations: list[Observation]) -> list[str]:
    return sorted({one.site for one in observations})


def _voice(case: Case, old: str, here: list[Observation]) -> Held:
    """Whether a site's observers could hold the lost hosts unreachable (`votes`: all of them must)."""
    counted = [one for one in here if one.alive or _is_fresh(case.view, one)]
    if not counted:
        return Held.FAILS
    hosts = (old,) if case.kind is MoveKind.IN_SITE else case.view.hosts_at(case.view.site_of(old))
    tells = all(
        _is_fresh(case.view, one) and all(one.of(host).reach is not Reach.UNKNOWN for host in hosts)
        for one in counted
    )
    return Held.HOLDS if tells else Held.UNKNOWN


def _is_fresh(view: View, one: Observation) -> bool:
    return one.age_ms <= view.policy.fresh_ms


def _enough(sites: list[str], home: str) -> bool:
    return len(sites) >= 2 and home in sites
