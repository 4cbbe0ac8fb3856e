"""Where the network is cut: a pure function from the injected faults to nftables rules of each router.

A router's two tables are replaced in one transaction, so a cut takes effect at one instant in both
directions, and healing one fault never heals another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from hanbat.topology import HostRole, Topology
from lab.errors import BadTarget
from lab.plan import USERS, port, wan_device

CLIENTS = "+clients"
POSTGRESQL_PORT = 5432


@dataclass(frozen=True, slots=True)
class Target:
    """What a fault hits: a host, a site, or the link between two sites."""

    host: str | None = None
    site: str | None = None
    other: str | None = None
    one_way: bool = False  # only what goes from `site` to `other` is lost
    clients: bool = False  # the site's own link to the clients too


def parse(topology: Topology, text: str) -> Target:
    """`SITE-SITE`, `SITE>SITE` (one way), `SITE`, `SITE+clients` or `HOST`. Raises BadTarget."""
    sites = {site.name for site in topology.sites}
    if text in {host.name for host in topology.hosts}:
        return Target(host=text)
    name = text.removesuffix(CLIENTS)
    if name in sites:
        return Target(site=name, clients=text.endswith(CLIENTS))
    for sign in (">", "-"):
        for place, letter in enumerate(text):
            left, right = text[:place], text[place + 1 :]
            if letter == sign and left in sites and right in sites and left != right:
                return Target(site=left, other=right, one_way=sign == ">")
    hosts = ", ".join(host.name for host in topology.hosts)
    raise BadTarget(
        f"{text} is no host, site or pair of sites", hint=f"sites: {', '.join(sorted(sites))}; hosts: {hosts}"
    )


@dataclass(slots=True)
class _Drops:
    """What one router drops: devices by direction, and ports of its bridge."""

    everything: bool = False
    coming: set[str] = field(default_factory=set)
    going: set[str] = field(default_factory=set)
    ports: set[str] = field(default_factory=set)
    packets: set[str] = field(default_factory=set)  # what else, as matches of the routed traffic


def rules(
    topology: Topology,
    cuts: Iterable[Target],
    dark_sites: Iterable[str] = (),
    replication: Iterable[Target] = (),
) -> dict[str, str]:
    """Text for `nft -f`, by site. `dark_sites` have no power: their router is silent altogether.
    Of the links in `replication` only PostgreSQL's packets between database hosts are lost.
    """
    drops = {site.name: _Drops(everything=site.name in set(dark_sites)) for site in topology.sites}
    for cut in cuts:
        _add(topology, drops, cut)
    for cut in replication:
        _add_replication(topology, drops, cut)
    return {site: _text(drop) for site, drop in drops.items()}


def _add(topology: Topology, drops: dict[str, _Drops], cut: Target) -> None:
    if cut.host:
        site = topology.site_of(cut.host)
        drops[site.name].ports.add(port(site, cut.host))
        return
    assert cut.site
    others = [cut.other] if cut.other else [site.name for site in topology.sites if site.name != cut.site]
    for other in others:
        drops[cut.site].going.add(wan_device(topology, other))
        drops[other].coming.add(wan_device(topology, cut.site))
        if not cut.one_way:
            drops[cut.site].coming.add(wan_device(topology, other))
            drops[other].going.add(wan_device(topology, cut.site))
    if cut.clients:
        drops[cut.site].coming.add(USERS)
        drops[cut.site].going.add(USERS)


def _add_replication(topology: Topology, drops: dict[str, _Drops], cut: Target) -> None:
    assert cut.site
    assert cut.other
    for source, goal in [(cut.site, cut.other)] + ([] if cut.one_way else [(cut.other, cut.site)]):
        from_hosts, to_hosts = (
            ", ".join(str(host.address) for host in topology.site(name).hosts_with(HostRole.DB))
            for name in (source, goal)
        )
        for side in ("sport", "dport"):
            match = f"ip saddr {{ {from_hosts} }} ip daddr {{ {to_hosts} }} tcp {side} {POSTGRESQL_PORT}"
            drops[source].packets.add(match)


def _text(drop: _Drops) -> str:
    coming = (
        ['iifname != "lo" drop']
        if drop.everything
        else [f'iifname "{name}" drop' for name in sorted(drop.coming)]
        + [f"{match} drop" for match in sorted(drop.packets)]
    )
    going = (
        ['oifname != "lo" drop']
        if drop.everything
        else [f'oifname "{name}" drop' for name in sorted(drop.going)]
    )
    bridged_in = ["drop"] if drop.everything else [f'iifname "{name}" drop' for name in sorted(drop.ports)]
    bridged_out = ["drop"] if drop.everything else [f'oifname "{name}" drop' for name in sorted(drop.ports)]
    return _table("inet", coming, going) + _table("bridge", bridged_in, bridged_out)


def _table(family: str, coming: list[str], going: list[str]) -> str:
    empty = f"table {family} hanbat {{}}\ndelete table {family} hanbat\n"
    if not coming and not going:
        return empty
    chains = "".join(
        f"  chain {hook} {{\n    type filter hook {hook} priority {priority}; policy accept;\n"
        + "".join(f"    {line}\n" for line in lines)
        + "  }\n"
        for hook, priority, lines in (("prerouting", -400, coming), ("postrouting", 400, going))
    )
    return f"{empty}table {family} hanbat {{\n{chains}}}\n"
