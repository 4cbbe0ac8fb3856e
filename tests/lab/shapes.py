"""Topologies that the lab's tests use."""

from __future__ import annotations

from pathlib import Path

from hanbat.topology import Topology
from hanbat.topology_file import load

SMALL = """
cluster: small
sites:
  - {name: daejeon, role: primary, capacity: 100, subnet: 10.81.1.0/24, edge: 10.81.1.100,
     hosts: [{name: dj1, address: 10.81.1.11, roles: [db, etcd, app]}]}
  - {name: gyeong-gi, role: backup, capacity: 50, subnet: 10.81.2.0/24, edge: 10.81.2.100,
     hosts: [{name: gg1, address: 10.81.2.11, roles: [db, etcd, app]}]}
  - {name: sejong, role: witness, capacity: 0, subnet: 10.81.3.0/24,
     hosts: [{name: sj1, address: 10.81.3.11, roles: [etcd]}]}
wan: {delay: 2ms, clients: 10.81.9.0/24}
"""


def small(folder: Path) -> Topology:
    """One host a site. One site's name has a hyphen: targets of faults must still be understood."""
    path = folder / "sites.yml"
    path.write_text(SMALL, encoding="utf-8")
    return load(path)
