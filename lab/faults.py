"""Faults: each is injected, proves by observation that it acts, and can be healed from any process.

A power cut is silent: the machine's cable (or the site's router) goes dead first, so no farewell of
the dying programs gets out, then every process dies at once. Its disk stays. What the programs had
written stays too, synced or not, because the computer itself did not lose power: a lab cannot show
the loss of what was never synced to disk.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hanbat.errors import UnknownName
from lab import commands, cuts, lifecycle, network, sockets
from lab.cgroups import Cgroup
from lab.errors import BadTarget, FaultNotActive, FaultNotHealed
from lab.machine import forget_nspawn
from lab.plan import hosts_file
from lab.record import Injected

if TYPE_CHECKING:
    from lab.laboratory import Lab

KILL_PROOF_S = 5.0
HEAL_LIMIT_S = 20.0
POWER_CUT, PARTITION, FREEZE, KILL = "power-cut", "partition", "freeze", "kill"


class Fault(ABC):
    """One fault on one target. Injecting or healing twice is the same as once."""

    name: str

    def __init__(self, lab: Lab, target: str) -> None:
        self.lab = lab
        self.target = target
        self.check()

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.target

    @abstractmethod
    def check(self) -> None:
        """Raises BadTarget when this fault cannot hit that target."""

    @abstractmethod
    def inject(self) -> None:
        """Make it happen; returns when it has. Raises LabNotUp."""

    @abstractmethod
    def active(self) -> bool:
        """Whether it acts now, by observation."""

    @abstractmethod
    def heal(self) -> None:
        """Undo it; returns when the target works again as far as this fault goes."""

    @abstractmethod
    def describe(self) -> str:
        """One sentence for a report."""

    def prove(self) -> None:
        """Raises FaultNotActive."""
        if not self.active():
            raise FaultNotActive(f"{self.name} {self.target} had no effect")

    def journaled(self) -> Injected | None:
        """What the journal says of this fault; None when it is not injected."""
        return self.lab.faults.find(self.key)

    def _enter_journal(self, **facts: Any) -> None:
        self.lab.faults.add(Injected(self.name, self.target, time.time(), facts))


def apply_cuts(lab: Lab) -> None:
    """Bring every router's rules to what the journal says. Call while holding the journal."""
    links: list[cuts.Target] = []
    dark: list[str] = []
    for row in lab.faults.read():
        if row.name not in (PARTITION, POWER_CUT):
            continue
        target = cuts.parse(lab.topology, row.target)
        if row.name == POWER_CUT and target.site:
            dark.append(target.site)
        else:
            links.append(target)
    for site, text in cuts.rules(lab.topology, links, dark).items():
        commands.run(["ip", "netns", "exec", lab.names.router(site), "nft", "-f", "-"], stdin=text)


class PowerCut(Fault):
    """All processes of a host, or of all hosts of a site, die at once, and nothing answers there."""

    name = POWER_CUT

    def check(self) -> None:
        target = cuts.parse(self.lab.topology, self.target)
        if target.other or target.clients:
            raise BadTarget(f"{self.name} takes a host or a site, not {self.target}")

    @property
    def hosts(self) -> list[str]:
        target = cuts.parse(self.lab.topology, self.target)
        return (
            [target.host]
            if target.host
            else [host.name for host in self.lab.topology.site(self.target).hosts]
        )

    def _group(self) -> Cgroup:
        target = cuts.parse(self.lab.topology, self.target)
        return (
            self.lab.machine(target.host).group
            if target.host
            else Cgroup(f"{self.lab.names.lab}/{self.target}")
        )

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            self._enter_journal()
            apply_cuts(self.lab)
            self._group().kill()
        for host in self.hosts:
            forget_nspawn(self.lab.machine(host).namespace)

    def active(self) -> bool:
        if self._group().processes():
            return False
        client, topology = self.lab.names.client, self.lab.topology
        return sockets.all_silent([(client, str(topology.host(host).address)) for host in self.hosts])

    def _without_power(self) -> set[str]:
        """Hosts that another power cut keeps down."""
        rows = [row for row in self.lab.faults.read() if row.name == POWER_CUT and row.key != self.key]
        return {host for row in rows for host in PowerCut(self.lab, row.target).hosts}

    def heal(self) -> None:
        """Power on: every machine of the target boots from the disk that it had."""
        with self.lab.faults.change():
            if self.journaled() is None:
                return
            back = [host for host in self.hosts if host not in self._without_power()]
            for host in back:
                if not self.lab.machine(host).running():
                    network.replug(self.lab.topology, self.lab.names, self.lab.plan, host)
            self.lab.faults.drop(self.key)
            apply_cuts(self.lab)
            lowerdir = (self.lab.state / "lowerdir").read_text(encoding="utf-8")
            for host in back:
                machine = self.lab.machine(host)
                if not machine.running():
                    machine.mount(lowerdir)
                    (machine.root / "etc/hosts").write_text(hosts_file(self.lab.topology), encoding="utf-8")
                    machine.boot()
        lifecycle.wait_booted(self.lab, back)

    def describe(self) -> str:
        return (
            f"power cut at {self.target}: every process of {', '.join(self.hosts)} is gone, nothing answers"
        )


class Partition(Fault):
    """The network drops packets, both ways unless the target says one way; the machines live on."""

    name = PARTITION

    def check(self) -> None:
        cuts.parse(self.lab.topology, self.target)

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            self._enter_journal()
            apply_cuts(self.lab)

    def _probes(self) -> list[tuple[str, str]]:
        """Pairs of a namespace and an address that must not reach each other."""
        topology, names = self.lab.topology, self.lab.names
        target = cuts.parse(topology, self.target)
        if target.host:
            inside = [(names.machine(target.host), str(topology.site_of(target.host).router))]
            return [*inside, (names.client, str(topology.host(target.host).address))]
        assert target.site
        site = topology.site(target.site)
        others = (
            [topology.site(target.other)]
            if target.other
            else [s for s in topology.sites if s.name != target.site]
        )
        pairs = [(names.router(site.name), str(other.router)) for other in others]
        pairs += [(names.router(other.name), str(site.router)) for other in others]
        return [*pairs, (names.client, str(site.router))] if target.clients else pairs

    def active(self) -> bool:
        return sockets.all_silent(self._probes())

    def heal(self) -> None:
        with self.lab.faults.change():
            self.lab.faults.drop(self.key)
            apply_cuts(self.lab)

    def describe(self) -> str:
        target = cuts.parse(self.lab.topology, self.target)
        if target.host:
            return f"{target.host} is cut off from the network and runs on"
        if target.other:
            way = "what goes from" if target.one_way else "everything between"
            return f"{way} {target.site} {'to' if target.one_way else 'and'} {target.other} is lost"
        clients = " and from clients" if target.clients else ""
        return f"{target.site} is cut off from the other sites{clients}, and runs on"


class Freeze(Fault):
    """Every process of a host stands still; its kernel still answers the network, as in a long pause."""

    name = FREEZE

    def check(self) -> None:
        if cuts.parse(self.lab.topology, self.target).host is None:
            raise BadTarget(f"{self.name} takes a host, not {self.target}")

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            self._enter_journal()
            self.lab.machine(self.target).group.freeze()
        _wait(
            self.lab.machine(self.target).group.frozen,
            f"freeze {self.target}: the kernel reports it",
            KILL_PROOF_S,
        )

    def active(self) -> bool:
        machine = self.lab.machine(self.target)
        address = str(self.lab.topology.host(self.target).address)
        return machine.group.frozen() and not sockets.ssh_banner(machine.namespace, address, timeout_s=0.5)

    def heal(self) -> None:
        with self.lab.faults.change():
            if self.lab.machine(self.target).group.exists():
                self.lab.machine(self.target).group.thaw()
            self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"every process of {self.target} stands still"


class Kill(Fault):
    """SIGKILL to every process of a unit. systemd may start it again: that is part of the test."""

    name = KILL

    def check(self) -> None:
        host, sign, unit = self.target.partition(":")
        if not sign or not unit or host not in self.lab.machines:
            raise BadTarget(f"{self.name} takes HOST:UNIT, not {self.target}")

    @property
    def host(self) -> str:
        return self.target.partition(":")[0]

    @property
    def unit(self) -> str:
        name = self.target.partition(":")[2]
        return name if "." in name else f"{name}.service"

    def _main(self) -> tuple[int, str]:
        """The unit's main process inside the machine (0: none), and its start, which tells pids apart."""
        words = self._systemctl(
            "show", "--property=MainPID,ExecMainStartTimestampMonotonic", "--value"
        ).split()
        return int(words[0]), words[1] if len(words) > 1 else ""

    def _systemctl(self, verb: str, *options: str) -> str:
        done = self.lab.run(self.host, ["systemctl", verb, *options, self.unit], timeout_s=10)
        if done.returncode != 0:
            raise BadTarget(f"{self.host}: systemctl {verb} {self.unit}: {done.stderr.strip()}")
        return done.stdout

    def inject(self) -> None:
        self.lab.require_up()
        if self.active():
            return
        pid, started = self._main()
        if pid == 0:
            raise BadTarget(f"{self.host}: {self.unit} does not run, so there is nothing to kill")
        with self.lab.faults.change():
            self._enter_journal(pid=pid, started=started)
        self._systemctl("kill", "--signal=SIGKILL", "--kill-whom=all")
        _wait(
            lambda: self._main() != (pid, started),
            f"kill {self.target}: its process {pid} is gone",
            KILL_PROOF_S,
        )

    def active(self) -> bool:
        """The process that was killed is gone, and the unit was not healed since."""
        row = self.journaled()
        return row is not None and self._main() != (row.facts.get("pid"), row.facts.get("started"))

    def heal(self) -> None:
        """Start the unit if systemd has not yet; returns when it runs."""
        if self.journaled() is None:
            return
        self._systemctl("start")
        _wait(
            lambda: self._main()[0] != 0, f"heal {self.target}: it runs again", HEAL_LIMIT_S, FaultNotHealed
        )
        with self.lab.faults.change():
            self.lab.faults.drop(self.key)

    def describe(self) -> str:
        return f"every process of {self.unit} on {self.host} was killed"


def _wait(
    holds: Callable[[], bool],
    what: str,
    limit_s: float,
    error: type[FaultNotActive | FaultNotHealed] = FaultNotActive,
) -> None:
    end = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end:
            raise error(f"{what}: still false after {limit_s:g} s")
        time.sleep(0.02)


FAULTS: dict[str, type[Fault]] = {each.name: each for each in (PowerCut, Partition, Freeze, Kill)}


def make_fault(lab: Lab, name: str, target: str) -> Fault:
    """Raises UnknownName or BadTarget."""
    if name not in FAULTS:
        raise UnknownName(f"no fault is called {name}", hint=f"faults: {', '.join(FAULTS)}")
    return FAULTS[name](lab, target)


def injected(lab: Lab) -> list[Fault]:
    """Every fault that is injected now, the newest first: the order to heal them in."""
    return [make_fault(lab, row.name, row.target) for row in reversed(lab.faults.read())]
