"""The lab's network as data: a pure function from a topology to namespaces, links, addresses, routes.

    client ---- router of each site ---- bridge `lan` ---- eth0 of each host
                   \\__ WAN link to every other site's router __/

Every interface lives in a namespace of the lab and nowhere else, so interfaces have short plain
names and the namespaces carry the lab's identity. Routers reach each other by their own site's
address (`onlink`): a WAN link needs no subnet of its own that could collide with a real one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from hanbat.topology import Host, Site, Topology
from lab.identity import Names

BRIDGE = "lan"
USERS = "users"  # a router's link to the client machine
MACHINE_DEVICE = "eth0"


@dataclass(frozen=True, slots=True)
class Veth:
    """A cable: both ends are made directly in their namespaces."""

    left: str
    left_device: str
    right: str
    right_device: str


@dataclass(frozen=True, slots=True)
class WanLink:
    """A link between two sites' routers, with delay, bandwidth and loss."""

    sites: tuple[str, str]
    routers: tuple[str, str]
    devices: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """One namespace, and the `ip` commands that set it up once its cables are there."""

    namespace: str
    commands: tuple[str, ...]
    forwards: bool = False


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """All of a lab's network."""

    nodes: tuple[Node, ...]
    veths: tuple[Veth, ...]
    wan: tuple[WanLink, ...]
    wan_commands: tuple[tuple[str, tuple[str, ...]], ...]  # namespace, commands once WAN devices are there

    def node(self, namespace: str) -> Node:
        return next(node for node in self.nodes if node.namespace == namespace)

    def veth_of(self, namespace: str) -> Veth:
        """The cable of a machine."""
        return next(veth for veth in self.veths if veth.left == namespace)


def port(site: Site, host: str) -> str:
    """The router's end of a host's cable."""
    return f"p{[each.name for each in site.hosts].index(host)}"


def wan_device(topology: Topology, other: str) -> str:
    """A router's end of the WAN link to another site."""
    return f"wan{_place(topology, other)}"


def _place(topology: Topology, site: str) -> int:
    return [each.name for each in topology.sites].index(site)


def plan(topology: Topology, names: Names) -> NetworkPlan:
    """The network of a topology, for a lab of these names."""
    nodes = [_client(topology, names)]
    veths: list[Veth] = []
    for place, site in enumerate(topology.sites):
        router = names.router(site.name)
        nodes.append(_router(topology, site, names))
        veths.append(Veth(names.client, f"site{place}", router, USERS))
        for host in site.hosts:
            nodes.append(_machine(site, host, names))
            veths.append(Veth(names.machine(host.name), MACHINE_DEVICE, router, port(site, host.name)))
    links = tuple(_wan_link(topology, a, b, names) for a, b in combinations(topology.sites, 2))
    return NetworkPlan(tuple(nodes), tuple(veths), links, _wan_commands(topology, names))


def _machine(site: Site, host: Host, names: Names) -> Node:
    return Node(
        names.machine(host.name),
        (
            "link set lo up",
            f"addr add {host.address}/{site.subnet.prefixlen} dev {MACHINE_DEVICE}",
            f"link set {MACHINE_DEVICE} up",
            f"route add default via {site.router}",
        ),
    )


def port_commands(site: Site, host: str) -> tuple[str, ...]:
    """Attach a host's cable to its site's bridge."""
    device = port(site, host)
    return (f"link set {device} master {BRIDGE}", f"link set {device} up")


def _router(topology: Topology, site: Site, names: Names) -> Node:
    client = topology.wan.clients[2]
    commands = [
        "link set lo up",
        f"link add {BRIDGE} type bridge",
        f"addr add {site.router}/{site.subnet.prefixlen} dev {BRIDGE}",
        f"link set {BRIDGE} up",
        f"link set {USERS} up",
        f"route add {client}/32 dev {USERS} src {site.router}",
    ]
    for host in site.hosts:
        commands += port_commands(site, host.name)
    return Node(names.router(site.name), tuple(commands), forwards=True)


def _client(topology: Topology, names: Names) -> Node:
    wan = topology.wan
    commands = ["link set lo up"]
    for place, site in enumerate(topology.sites):
        device = f"site{place}"
        if place == 0:
            commands.append(f"addr add {wan.clients[2]}/32 dev {device}")
        commands += [
            f"link set {device} up",
            f"route add {site.subnet} via {site.router} dev {device} onlink src {wan.clients[2]}",
        ]
    return Node(names.client, tuple(commands))


def _wan_link(topology: Topology, a: Site, b: Site, names: Names) -> WanLink:
    return WanLink(
        (a.name, b.name),
        (names.router(a.name), names.router(b.name)),
        (wan_device(topology, b.name), wan_device(topology, a.name)),
    )


def _wan_commands(topology: Topology, names: Names) -> tuple[tuple[str, tuple[str, ...]], ...]:
    rows: list[tuple[str, tuple[str, ...]]] = []
    for site in topology.sites:
        commands: list[str] = []
        for other in topology.sites:
            if other is not site:
                device = wan_device(topology, other.name)
                route = f"route add {other.subnet} via {other.router} dev {device} onlink src {site.router}"
                commands += [f"link set {device} up", route]
        rows.append((names.router(site.name), tuple(commands)))
    return tuple(rows)


def hosts_file(topology: Topology) -> str:
    """Names of the lab's machines and edges, for the client machine and every host."""
    lines = ["127.0.0.1 localhost"]
    lines += [f"{host.address} {host.name}" for host in topology.hosts]
    lines += [f"{site.edge} edge.{site.name}" for site in topology.sites if site.edge]
    return "\n".join(lines) + "\n"
