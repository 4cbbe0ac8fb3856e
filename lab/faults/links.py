"""Brings the network of a running lab to what the journal of faults says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab import commands, cuts

if TYPE_CHECKING:
    from lab.laboratory import Lab

POWER_CUT, PARTITION, REPLICATION_CUT = "power-cut", "partition", "replication-cut"


def apply_cuts(lab: Lab) -> None:
    """Bring every router's rules to what the journal says. Call while holding the journal."""
    links: list[cuts.Target] = []
    dark: list[str] = []
    replication: list[cuts.Target] = []
    for row in lab.faults.read():
        if row.name not in (PARTITION, POWER_CUT, REPLICATION_CUT):
            continue
        target = cuts.parse(lab.topology, row.target)
        if row.name == REPLICATION_CUT:
            replication.append(target)
        elif row.name == POWER_CUT and target.site:
            dark.append(target.site)
        else:
            links.append(target)
    for site, text in cuts.rules(lab.topology, links, dark, replication).items():
        commands.run(["ip", "netns", "exec", lab.names.router(site), "nft", "-f", "-"], stdin=text)
