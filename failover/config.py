"""The controller's rendered file: `/etc/hanbat/failover.yml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from failover.etcd_dcs import EtcdDcs, Member
from failover.etcd_json import Prefixes
from failover.policy import Mode, Policy
from failover.view import Host

PATH = Path("/etc/hanbat/failover.yml")


@dataclass(frozen=True, slots=True)
class Edge:
    """A site's edge, as clients reach it."""

    site: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class DcsMember:
    """A member of the DCS, where clients reach it."""

    name: str
    site: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Config:
    """Who I am, whom to probe, whom to ask. `addresses`: database host -> address.

    `members`: of etcd, in the order in which they are asked.
    `poolers`: application hosts whose gatekeeper holds transactions in a switchover.
    `home`: the primary site.
    """

    cluster: str
    me: str
    site: str
    policy: Policy
    hosts: tuple[Host, ...]
    addresses: dict[str, str]
    members: tuple[DcsMember, ...]
    user: str
    password: str
    patroni_port: int
    poolers: tuple[str, ...]
    home: str
    edges: tuple[Edge, ...]

    @property
    def etcd(self) -> tuple[tuple[str, int], ...]:
        """Each member's address and port, in the same order."""
        return tuple((member.address, member.port) for member in self.members)

    @property
    def member_sites(self) -> dict[str, str]:
        """Each member of etcd, and its site."""
        return {member.name: member.site for member in self.members}

    def dcs(self) -> EtcdDcs:
        """A new client; each thread has its own."""
        return EtcdDcs([Member(address, port) for address, port in self.etcd], Prefixes(self.cluster))

    def dsn(self, host: str, database: str = "postgres") -> str:
        """How the observer reaches PostgreSQL on a host. Names no file, waits for no password prompt."""
        return (
            f"host={self.addresses[host]} port=5432 dbname={database} user={self.user} "
            f"password={self.password} application_name=hanbat-observer-{self.me} connect_timeout=2 "
            "options='-c synchronous_commit=local' tcp_user_timeout=2000 "
            "keepalives_idle=2 keepalives_interval=1 keepalives_count=2"
        )


def load(path: Path) -> Config:
    """Raises OSError, yaml.YAMLError, KeyError or ValueError for a file that the renderer did not write."""
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows: list[dict[str, str]] = data["hosts"]
    policy: dict[str, Any] = data["policy"]
    return Config(
        cluster=data["cluster"],
        me=data["me"],
        site=data["site"],
        policy=Policy(
            in_site=Mode(policy["in_site"]),
            cross_site=Mode(policy["cross_site"]),
            window_ms=int(policy["window_ms"]),
            block_ms=int(policy["block_ms"]),
        ),
        hosts=tuple(Host(row["name"], row["site"]) for row in rows),
        addresses={row["name"]: row["address"] for row in rows},
        members=tuple(
            DcsMember(row["name"], row["site"], row["address"], int(row["port"])) for row in data["etcd"]
        ),
        user=data["observer"]["user"],
        password=data["observer"]["password"],
        patroni_port=int(data["patroni_port"]),
        poolers=tuple(data["poolers"] or ()),
        home=data["home"],
        edges=tuple(Edge(row["site"], row["address"], int(row["port"])) for row in data["edges"] or ()),
    )
