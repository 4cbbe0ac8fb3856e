"""A host stands still, as in a long pause of a virtual machine."""

from __future__ import annotations

from lab import cuts, sockets
from lab.errors import BadTarget
from lab.faults.base import PROOF_S, Fault, wait


class Freeze(Fault):
    """Every process of a host stands still; its kernel still answers the network, as in a long pause."""

    name = "freeze"

    def check(self) -> None:
        if cuts.parse(self.lab.topology, self.target).host is None:
            raise BadTarget(f"{self.name} takes a host, not {self.target}")

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            self._enter_journal()
            self.lab.machine(self.target).group.freeze()
        wait(
            self.lab.machine(self.target).group.frozen,
            f"freeze {self.target}: the kernel reports it",
            PROOF_S,
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
