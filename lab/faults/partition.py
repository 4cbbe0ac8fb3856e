"""The network between sites, or around one host, drops packets."""

from __future__ import annotations

from lab import cuts, sockets
from lab.faults.base import Fault
from lab.faults.links import PARTITION, apply_cuts


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
