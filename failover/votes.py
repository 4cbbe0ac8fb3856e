"""Many observers, one vote a site.

A site's vote is what *all* its observers agree on: two observers in one building fail together, so they
count once, and one that still reaches the host outweighs one that does not. An observer that has fallen
silent, and whose lease has not run out, is of unknown opinion; once the lease is gone it has none.

One that stands on the very host that is judged is no vantage point for it: it falls silent with its host,
and until then it sees what nobody else can reach. It is heard only where its site has no other observer.
"""

from __future__ import annotations

from failover.view import HostSeen, Observation, Reach, View


def fresh(view: View) -> tuple[Observation, ...]:
    """The observations whose sequence advanced lately, by this controller's clock."""
    return tuple(seen for seen in view.observations if seen.age_ms <= view.policy.fresh_ms)


def votes(view: View, host: str) -> dict[str, Reach]:
    """Each site's vote on one host. A site without a living observer has none."""
    by_site: dict[str, list[HostSeen]] = {}
    for observation in view.observations:
        if observation.observer != host:
            if observation.age_ms <= view.policy.fresh_ms:
                by_site.setdefault(observation.site, []).append(observation.of(host))
            elif observation.alive:
                by_site.setdefault(observation.site, []).append(HostSeen(host, Reach.UNKNOWN, 0))
    for own in fresh(view):
        if own.observer == host and own.site not in by_site:
            by_site[own.site] = [own.of(host)]
    return {site: _vote(seen, view.policy.window_ms) for site, seen in by_site.items()}


def _vote(seen: list[HostSeen], window_ms: int) -> Reach:
    if any(one.reach is Reach.REACHABLE for one in seen):
        return Reach.REACHABLE
    if all(one.reach is Reach.UNREACHABLE and one.for_ms >= window_ms for one in seen):
        return Reach.UNREACHABLE
    return Reach.UNKNOWN


def sites_without(view: View, hosts: tuple[str, ...]) -> frozenset[str]:
    """The sites that hold every one of these hosts unreachable. No host given: no site, not every site."""
    if not hosts:
        return frozenset()
    ballots = [votes(view, host) for host in hosts]
    return frozenset(
        site for site in ballots[0] if all(ballot.get(site) is Reach.UNREACHABLE for ballot in ballots)
    )


def witnesses(view: View, sites: frozenset[str]) -> dict[str, int]:
    """The observers behind these sites' votes, each with the revision of its verdict."""
    return {seen.observer: seen.verdict_revision for seen in fresh(view) if seen.site in sites}
