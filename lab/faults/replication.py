"""Only PostgreSQL's traffic between the database hosts of two sites is lost."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from hanbat.topology import HostRole
from lab import cuts, sockets
from lab.errors import BadTarget
from lab.faults.base import Fault
from lab.faults.links import REPLICATION_CUT, apply_cuts

OTHER_PORTS = (2379, 8008)  # etcd and Patroni's REST: these must live on


class ReplicationCut(Fault):
    """Port 5432 between two sites' database hosts is silent; etcd, Patroni and app hosts are not hit.

    On a host with both roles, db and app, its application's way to the other site's database is cut
    too: no packet tells the two apart.
    """

    name = REPLICATION_CUT

    def check(self) -> None:
        target = cuts.parse(self.lab.topology, self.target)
        if target.site is None or target.other is None:
            raise BadTarget(f"{self.name} takes SITE-SITE or SITE>SITE, not {self.target}")
        for name in (target.site, target.other):
            if not self.lab.topology.site(name).hosts_with(HostRole.DB):
                raise BadTarget(f"{self.target}: {name} has no database host")
        self.left, self.right, self.one_way = target.site, target.other, target.one_way

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            self._enter_journal()
            apply_cuts(self.lab)

    def _pairs(self) -> list[tuple[str, str]]:
        """Namespaces and addresses of the hosts that run, each to each, both ways."""
        topology = self.lab.topology
        left, right = (
            [host for host in topology.site(name).hosts_with(HostRole.DB) if self._runs(host.name)]
            for name in (self.left, self.right)
        )
        ways = [(a, b) for a in left for b in right] + [(b, a) for a in left for b in right]
        return [(self.lab.names.machine(a.name), str(b.address)) for a, b in ways]

    def _runs(self, host: str) -> bool:
        return self.lab.machine(host).running()

    def active(self) -> bool:
        """Between running database hosts 5432 is silent (one lost way is enough), and the rest answers."""

        def cut(pair: tuple[str, str]) -> bool:
            return not sockets.reachable(*pair, port=5432) and any(
                sockets.reachable(*pair, port=port) for port in OTHER_PORTS
            )

        pairs = self._pairs()
        with ThreadPoolExecutor(max(1, len(pairs))) as pool:
            return bool(pairs) and all(pool.map(cut, pairs))

    def heal(self) -> None:
        with self.lab.faults.change():
            self.lab.faults.drop(self.key)
            apply_cuts(self.lab)

    def describe(self) -> str:
        way = f"from {self.left} to {self.right}" if self.one_way else f"between {self.left} and {self.right}"
        return f"PostgreSQL's packets {way} are lost among database hosts; etcd and Patroni talk on"
