"""Rules of `sites.yml` that need more than one field: each yields what is wrong, where, and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hanbat.topology import HostRole, SiteRole, Topology

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in `sites.yml`; `location` is the path of keys and list positions to it."""

    rule: str
    location: Location
    value: object
    fact: str
    remedy: str


def one_site_a_role(topology: Topology) -> Iterator[Problem]:
    for role in SiteRole:
        places = [place for place, site in enumerate(topology.sites) if site.role is role]
        if not places:
            yield Problem(
                f"no_{role}_site",
                ("sites",),
                [site.role.value for site in topology.sites],
                f"no site has the role {role}",
                f"give one site `role: {role}`",
            )
        for place in places[1:]:
            other = topology.sites[places[0]].name
            yield Problem(
                f"two_{role}_sites",
                ("sites", place, "role"),
                role.value,
                f"a second {role} site; {other} is the first",
                "keep one, give the other another role",
            )


def unique_names(topology: Topology) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for site_place, site in enumerate(topology.sites):
        places: list[tuple[Location, str, str]] = [(("sites", site_place, "name"), site.name, "site")]
        places += [
            (("sites", site_place, "hosts", host_place, "name"), host.name, f"host of {site.name}")
            for host_place, host in enumerate(site.hosts)
        ]
        for location, name, owner in places:
            if name in seen:
                yield Problem(
                    "duplicate_name",
                    location,
                    name,
                    f"the name is taken by a {seen[name]}",
                    "give each site and host a name of its own",
                )
            seen.setdefault(name, owner)


def unique_addresses(topology: Topology) -> Iterator[Problem]:
    seen: dict[object, str] = {}
    for site_place, site in enumerate(topology.sites):
        places: list[tuple[Location, object, str]] = [
            (("sites", site_place, "hosts", host_place, "address"), host.address, host.name)
            for host_place, host in enumerate(site.hosts)
        ]
        if site.edge is not None:
            places.append((("sites", site_place, "edge"), site.edge, f"the edge of {site.name}"))
        for location, address, owner in places:
            if address in seen:
                yield Problem(
                    "duplicate_address",
                    location,
                    str(address),
                    f"the address is that of {seen[address]}",
                    "give each an address of its own",
                )
            seen.setdefault(address, owner)


def addresses_inside(topology: Topology) -> Iterator[Problem]:
    for site_place, site in enumerate(topology.sites):
        places: list[tuple[Location, object]] = [
            (("sites", site_place, "hosts", host_place, "address"), host.address)
            for host_place, host in enumerate(site.hosts)
        ]
        if site.edge is not None:
            places.append((("sites", site_place, "edge"), site.edge))
        usable = set(site.subnet.hosts()) - {site.router} if site.subnet.num_addresses <= 65536 else None
        for location, address in places:
            if address not in site.subnet:
                fact = f"the address is outside the subnet {site.subnet} of {site.name}"
            elif usable is not None and address not in usable:
                fact = f"the address is the router's, the network's or the broadcast address of {site.subnet}"
            else:
                continue
            yield Problem(
                "address_outside_subnet",
                location,
                str(address),
                fact,
                f"take a free address of {site.subnet}, from {site.subnet[2]} on",
            )


def subnets_apart(topology: Topology) -> Iterator[Problem]:
    named = [
        (("sites", place, "subnet"), site.subnet, site.name) for place, site in enumerate(topology.sites)
    ]
    named.append((("wan", "clients"), topology.wan.clients, "the clients"))  # pyright: ignore[reportArgumentType]
    for place, (location, subnet, _) in enumerate(named):
        if subnet.num_addresses < 8:
            yield Problem(
                "subnet_too_small", location, str(subnet), "the subnet has too few addresses", "take a /24"
            )
        for _, other, owner in named[:place]:
            if subnet.overlaps(other):
                yield Problem(
                    "subnets_overlap",
                    location,
                    str(subnet),
                    f"the subnet overlaps {other} of {owner}",
                    "take a subnet of its own",
                )


def etcd_members(topology: Topology) -> Iterator[Problem]:
    members = topology.hosts_with(HostRole.ETCD)
    if len(members) % 2 == 0 or len(members) < 3:
        yield Problem(
            "etcd_count",
            ("sites",),
            [host.name for host in members],
            f"{len(members)} etcd members; an odd number from 3 up keeps a majority when one is lost",
            "give the role etcd to 3 or 5 hosts, over all three sites",
        )
    for place, site in enumerate(topology.sites):
        here = len(site.hosts_with(HostRole.ETCD))
        if not here:
            yield Problem(
                "etcd_missing",
                ("sites", place, "hosts"),
                site.name,
                "the site has no etcd member",
                "give one of its hosts the role etcd",
            )
        if here > len(members) // 2 and len(members) >= 3:
            yield Problem(
                "etcd_majority",
                ("sites", place, "hosts"),
                site.name,
                f"{here} of {len(members)} etcd members stand at this one site: its loss loses the DCS",
                "no site may hold a majority of the members",
            )


def sites_complete(topology: Topology) -> Iterator[Problem]:
    for place, site in enumerate(topology.sites):
        hosts: Location = ("sites", place, "hosts")
        if site.role is SiteRole.WITNESS:
            if site.capacity != 0:
                yield Problem(
                    "witness_capacity",
                    ("sites", place, "capacity"),
                    site.capacity,
                    "a witness carries no load",
                    "write capacity: 0",
                )
            for host_place, host in enumerate(site.hosts):
                if set(host.roles) != {HostRole.ETCD}:
                    yield Problem(
                        "witness_roles",
                        (*hosts, host_place, "roles"),
                        [role.value for role in host.roles],
                        "a witness host runs etcd only",
                        "write roles: [etcd]",
                    )
            continue
        if not 1 <= site.capacity <= 100:
            yield Problem(
                "capacity_range",
                ("sites", place, "capacity"),
                site.capacity,
                "capacity is a percentage from 1 to 100",
                "write 100 for the full load, 50 for half",
            )
        for role, word in ((HostRole.DB, "database"), (HostRole.APP, "application")):
            if not site.hosts_with(role):
                yield Problem(
                    f"no_{word}_host",
                    hosts,
                    site.name,
                    f"the {site.role} site has no {word} host",
                    f"give one of its hosts the role {role}",
                )
        if site.edge is None:
            yield Problem(
                "no_edge",
                ("sites", place),
                site.name,
                "the site has no edge address",
                f"add `edge:` with a free address of {site.subnet}",
            )


def capacity_order(topology: Topology) -> Iterator[Problem]:
    by_role = {site.role: (place, site) for place, site in enumerate(topology.sites)}
    if SiteRole.PRIMARY not in by_role or SiteRole.BACKUP not in by_role:
        return
    place, backup = by_role[SiteRole.BACKUP]
    primary = by_role[SiteRole.PRIMARY][1]
    if backup.capacity > primary.capacity:
        yield Problem(
            "backup_larger",
            ("sites", place, "capacity"),
            backup.capacity,
            f"the backup is larger than the primary site ({primary.capacity})",
            "write the larger site as the primary",
        )


def patroni_timing(topology: Topology) -> Iterator[Problem]:
    timing = topology.replication
    if timing.loop_wait + 2 * timing.retry_timeout >= timing.ttl:
        yield Problem(
            "patroni_timing",
            ("replication", "ttl"),
            str(timing.ttl),
            "loop_wait + 2 x retry_timeout must stay under ttl; equality races failsafe mode (patroni #3678)",
            "raise ttl or lower retry_timeout",
        )


RULES: tuple[Callable[[Topology], Iterator[Problem]], ...] = (
    one_site_a_role, unique_names, unique_addresses, addresses_inside, subnets_apart,
    etcd_members, sites_complete, capacity_order, patroni_timing,
)  # fmt: skip


def broken(topology: Topology) -> tuple[Problem, ...]:
    """Every rule that the topology breaks, in the order of the rules."""
    return tuple(problem for rule in RULES for problem in rule(topology))
