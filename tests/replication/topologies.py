"""Topologies of any number of database and application hosts, and the four shapes."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import strategies as st

from hanbat.secrets_file import Secrets
from hanbat.topology import Topology
from hanbat.topology_rules import broken

from ..hanbat.shapes import SHAPES as TEXTS

SHAPES = {name: Topology.model_validate(yaml.safe_load(text)) for name, text in TEXTS.items()}
SECRETS = Secrets(**{name: f"fixed-{name.replace('_', '-')}" for name in Secrets.model_fields})


def _site(name: str, role: str, number: int, capacity: int, dbs: int, apps: int) -> dict[str, Any]:
    hosts: list[dict[str, Any]] = []
    for i in range(dbs):
        roles = ["db", "etcd"] if i == 0 else ["db"]
        hosts.append({"name": f"{name}-db{i + 1}", "address": f"10.71.{number}.{11 + i}", "roles": roles})
    for i in range(apps):
        hosts.append({"name": f"{name}-app{i + 1}", "address": f"10.71.{number}.{51 + i}", "roles": ["app"]})
    return {
        "name": f"{name}-site", "role": role, "capacity": capacity, "subnet": f"10.71.{number}.0/24",
        "edge": f"10.71.{number}.200", "hosts": hosts,
    }  # fmt: skip


def topology(
    dbs: tuple[int, int], apps: tuple[int, int] = (2, 1), capacity: tuple[int, int] = (100, 50), **more: Any
) -> Topology:
    """A valid topology with that many hosts at the primary site and at the backup."""
    witness = {
        "name": "witness", "role": "witness", "capacity": 0, "subnet": "10.71.3.0/24",
        "hosts": [{"name": "wt1", "address": "10.71.3.11", "roles": ["etcd"]}],
    }  # fmt: skip
    sites = [
        _site("one", "primary", 1, capacity[0], dbs[0], apps[0]),
        _site("two", "backup", 2, capacity[1], dbs[1], apps[1]),
        witness,
    ]
    made = Topology.model_validate({"cluster": "any", "sites": sites, **more})
    assert not broken(made)
    return made


counts = st.tuples(st.integers(1, 6), st.integers(1, 6))
topologies = st.builds(topology, counts)
