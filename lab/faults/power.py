"""A power cut is silent: the machine's cable (or the site's router) goes dead first, so no farewell of
the dying programs gets out, then every process dies at once. Its disk stays. What the programs had
written stays too, synced or not, because the computer itself did not lose power: a lab cannot show
the loss of what was never synced to disk.
"""

from __future__ import annotations

from lab import cuts, disks, lifecycle, network, sockets
from lab.cgroups import Cgroup
from lab.errors import BadTarget
from lab.faults.base import Fault
from lab.faults.links import POWER_CUT, apply_cuts
from lab.machine import forget_nspawn
from lab.plan import hosts_file


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
            # What hangs in a write to a frozen disk cannot die before that thaws.
            self._group().kill(self._thaw)
            self._thaw()
        for host in self.hosts:
            forget_nspawn(self.lab.machine(host).namespace)

    def _thaw(self) -> None:
        for host in self.hosts:
            disks.thaw_below(self.lab.machine(host).folder)

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
                    lifecycle.mount(self.lab, host, lowerdir)
                    (machine.root / "etc/hosts").write_text(hosts_file(self.lab.topology), encoding="utf-8")
                    machine.boot()
        lifecycle.wait_booted(self.lab, back)

    def describe(self) -> str:
        return (
            f"power cut at {self.target}: every process of {', '.join(self.hosts)} is gone, nothing answers"
        )
