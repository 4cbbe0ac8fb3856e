"""Make and remove the namespaces and cables of a plan. Nothing is made in the computer's own."""

from __future__ import annotations

import shutil
from pathlib import Path

from hanbat.topology import Topology
from lab import commands, wan
from lab.cgroups import Cgroup
from lab.identity import NETNS_ETC, NETNS_ROOT, Names
from lab.plan import NetworkPlan, Veth, hosts_file, port, port_commands

# A new namespace may inherit the computer's reverse path filter, which would drop what comes `onlink`.
ROUTER_SETTINGS = (
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=0",
)
QUIET_SETTINGS = ("net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
ALLOWED = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")


def congestion_control() -> str:
    """One that gives way when packets are lost, whatever the computer itself uses.

    bbr keeps a full queue full: in the lab's narrow WAN a base backup then cost everybody every eighth
    packet, and some their SYN. Debian's own is cubic; a namespace may only choose what is allowed to all.
    """
    return "cubic" if "cubic" in ALLOWED.read_text(encoding="utf-8").split() else "reno"


def _settings(*more: str) -> list[str]:
    return [*QUIET_SETTINGS, f"net.ipv4.tcp_congestion_control={congestion_control()}", *more]


def _veth(veth: Veth) -> str:
    peer = f"peer name {veth.right_device} netns {veth.right}"
    return f"link add {veth.left_device} netns {veth.left} type veth {peer}"


def make(topology: Topology, names: Names, plan: NetworkPlan, kind: str) -> None:
    """The whole network of a lab, WAN included. `kind` is the WAN's emulation. Raises LabError."""
    etc = NETNS_ETC / names.client
    etc.mkdir(parents=True, exist_ok=True)
    (etc / "hosts").write_text(hosts_file(topology), encoding="utf-8")
    commands.ip_batch([f"netns add {node.namespace}" for node in plan.nodes])
    commands.ip_batch([_veth(veth) for veth in plan.veths])
    for node in plan.nodes:
        settings = _settings(*(ROUTER_SETTINGS if node.forwards else ()))
        commands.run(["ip", "netns", "exec", node.namespace, "sysctl", "--ignore", "-qw", *settings])
        commands.ip_batch(node.commands, namespace=node.namespace)
    wan.make(plan, topology.wan, kind, Cgroup(f"{names.lab}/_wan"), names.run, names.state / "logs")
    for router, lines in plan.wan_commands:
        commands.ip_batch(lines, namespace=router)


def replug(topology: Topology, names: Names, plan: NetworkPlan, host: str) -> None:
    """A machine's namespace made anew, so that nothing of the kernel's state before a power cut is left."""
    namespace, site = names.machine(host), topology.site_of(host)
    unplug(topology, names, host)
    commands.ip_batch([f"netns add {namespace}"])
    commands.ip_batch([_veth(plan.veth_of(namespace))])
    commands.run(["ip", "netns", "exec", namespace, "sysctl", "--ignore", "-qw", *_settings()])
    commands.ip_batch(plan.node(namespace).commands, namespace=namespace)
    commands.ip_batch(port_commands(site, host), namespace=names.router(site.name))


def unplug(topology: Topology, names: Names, host: str) -> None:
    """Remove a machine's cable and its namespace."""
    # The cable by name: the kernel removes what is in a deleted namespace some time later.
    site = topology.site_of(host)
    commands.run(["ip", "-n", names.router(site.name), "link", "del", port(site, host)], check=False)
    if (NETNS_ROOT / names.machine(host)).exists():
        commands.ip_batch([f"netns del {names.machine(host)}"])


def namespaces(names: Names) -> list[str]:
    """Namespaces of a lab that exist now."""
    if not NETNS_ROOT.exists():
        return []
    return sorted(path.name for path in NETNS_ROOT.iterdir() if names.is_own(path.name))


def remove(names: Names) -> None:
    """Remove all namespaces of a lab, and the files that `ip netns exec` reads for them."""
    for name in namespaces(names):
        commands.run(["ip", "netns", "del", name], check=False)
        # What an interrupted `netns add` leaves is a plain file, no namespace.
        (NETNS_ROOT / name).unlink(missing_ok=True)
    if NETNS_ETC.exists():
        for folder in NETNS_ETC.iterdir():
            if names.is_own(folder.name):
                shutil.rmtree(folder)
        if not any(NETNS_ETC.iterdir()):
            NETNS_ETC.rmdir()
