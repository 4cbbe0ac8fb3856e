"""The model of `sites.yml`: the only source of topology and settings.

Settings are data: each field carries its type, default, range, unit and help here, and the parser,
the validation and `docs/settings.md` come from it. What needs two fields to judge is a rule
(`hanbat.topology_rules`); reading a file and naming the line is `hanbat.topology_file`.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hanbat.durations import Duration, parse

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]


class SiteRole(StrEnum):
    """What a site is for. The *active* site is another matter: it is the one with the primary."""

    PRIMARY = "primary"
    BACKUP = "backup"
    WITNESS = "witness"


class HostRole(StrEnum):
    """What runs on a host."""

    DB = "db"  # PostgreSQL, Patroni
    ETCD = "etcd"  # a member of the DCS
    APP = "app"  # the application, PgBouncer, HAProxy, the site's edge


class ProtectionMode(StrEnum):
    """When a commit is acknowledged (design, section 4; names after Oracle Data Guard)."""

    MAX_AVAILABILITY = "max_availability"
    MAX_PROTECTION = "max_protection"
    MAX_PERFORMANCE = "max_performance"


def setting(default: Any, help_text: str, *, unit: str = "", **limits: Any) -> Any:
    """A field that is a setting: its help and unit stand beside its default and range."""
    return Field(
        default, description=help_text, json_schema_extra={"unit": unit}, validate_default=True, **limits
    )


class Part(BaseModel):
    """Base of every part of `sites.yml`: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Objectives(Part):
    """What was promised (words of NIST SP 800-34)."""

    rto: Duration = setting(
        "4h", "Recovery time objective: the written promise, service back within this time."
    )
    rpo: Duration = setting(
        "0s", "Recovery point objective: age of the oldest acknowledged write that may be lost."
    )
    mtd: Duration = setting("24h", "Maximum tolerable downtime: after this the mission itself fails.")


class PostgreSQL(Part):
    """PostgreSQL, the same at every site: a standby with a smaller value refuses to start."""

    version: int = setting(15, "Major version. 15 is the one tested.", ge=13, le=18)
    max_connections: int = setting(
        120, "Connections; equal at all sites, half capacity is set in the pooler.", ge=20, le=5000
    )
    max_worker_processes: int = setting(8, "Background workers; equal at all sites.", ge=2, le=256)
    max_locks_per_transaction: int = setting(64, "Lock table size; equal at all sites.", ge=10, le=10000)
    max_prepared_transactions: int = setting(0, "Two-phase transactions; equal at all sites.", ge=0, le=5000)
    max_wal_senders: int = setting(12, "Replication connections; equal at all sites.", ge=4, le=100)
    shared_buffers_mb: int = setting(64, "Shared buffers.", unit="MB", ge=16, le=1048576)


class MovePolicy(StrEnum):
    """Who decides about one kind of move (design, section 5)."""

    AUTOMATIC = "automatic"
    APPROVE = "approve"
    OBSERVE = "observe"


class Replication(Part):
    """How data gets from site to site, and how quickly a silent host is given up."""

    mode: ProtectionMode = setting(ProtectionMode.MAX_AVAILABILITY, "Protection mode.")
    ttl: Duration = setting(
        "20s",
        "Patroni's lease: without renewal for this long, the lock is free. Patroni raises less than 20s.",
        ge=parse("20s"),
    )
    loop_wait: Duration = setting("1s", "Patroni's pause between two loops.", ge=parse("1s"), le=parse("10s"))
    retry_timeout: Duration = setting(
        "5s", "How long Patroni retries the DCS and PostgreSQL.", ge=parse("3s"), le=parse("30s")
    )
    wal_sender_timeout: Duration = setting(
        "2500ms",
        "A standby silent for this long is dropped; commits wait for it until then.",
        ge=parse("1s"),
        le=parse("60s"),
    )
    drag_limit: Duration = setting(
        "500ms",
        "max_availability only: a sync standby that flushes later than this, again and again, drags commits.",
        ge=parse("200ms"),
        le=parse("60s"),
    )
    drag_time: Duration = setting(
        "4s",
        "One that drags for so long leaves the sync set; after as long below half, mostly, it is back.",
        ge=parse("3s"),
        le=parse("1h"),
    )
    max_slot_wal_keep_size_mb: int = setting(
        2048,
        "WAL kept for an absent standby, at most; after that it is cloned anew.",
        unit="MB",
        ge=64,
        le=1048576,
    )
    wal_keep_size_mb: int = setting(256, "WAL kept for a rewind, at least.", unit="MB", ge=0, le=1048576)
    max_lag_mb: int = setting(
        1,
        "max_performance only: a standby further behind than this is not promoted by itself.",
        unit="MB",
        ge=1,
        le=65536,
    )


class Failover(Part):
    """Hanbat's own controller, which takes over sooner than Patroni's lease runs out."""

    enabled: bool = setting(
        True, "Run observers and controllers. Without them a takeover waits for Patroni's lease."
    )
    window: Duration = setting(
        "800ms",
        "A vantage point must have missed the primary for so long, without a break.",
        ge=parse("500ms"),
        le=parse("60s"),
    )
    in_site: MovePolicy = setting(
        MovePolicy.AUTOMATIC, "Moves inside the active site: `observe` only says what it would do."
    )
    cross_site: MovePolicy = setting(
        MovePolicy.AUTOMATIC,
        "Changes of site: `approve` waits for a person, and holds Patroni's own move back too.",
    )
    block_period: Duration = setting(
        "10s",
        "For so long after a takeover the primary does not move back to whom it left.",
        ge=parse("1s"),
        le=parse("1h"),
    )


class Wan(Part):
    """The network between sites, as the lab makes it. On real machines the network is what it is."""

    delay: Duration = setting("1500us", "Delay one way between two sites.", le=parse("500ms"))
    jitter: Duration = setting("0s", "How much the delay varies, up and down.", le=parse("500ms"))
    bandwidth_mbit: int = setting(1000, "Bandwidth of each link.", unit="Mbit/s", ge=1, le=100000)
    loss_percent: float = setting(0.0, "Packets lost on each link.", unit="%", ge=0, le=50)
    clients: IPv4Network = setting("10.71.9.0/24", "Where clients stand: outside all sites.")


class Host(Part):
    """One machine."""

    name: Name = Field(description="Name of the host; unique in the cluster.")
    address: IPv4Address = Field(description="Address in its site's subnet.")
    roles: tuple[HostRole, ...] = Field(description="What runs on it: db, etcd, app.", min_length=1)

    def has(self, role: HostRole) -> bool:
        return role in self.roles


class Site(Part):
    """One data centre."""

    name: Name = Field(description="Name of the site.")
    title: str = Field("", description="Name for people, in their own language.")
    role: SiteRole = Field(description="primary, backup or witness.")
    capacity: int = Field(
        description="Share of the full load that it can carry, in percent; 0 for a witness.", ge=0, le=100
    )
    subnet: IPv4Network = Field(description="Subnet of its hosts; the first address is its router.")
    edge: IPv4Address | None = Field(
        None, description="Address where its users arrive; needed where the application runs."
    )
    hosts: tuple[Host, ...] = Field(description="Its machines.", min_length=1)

    @property
    def router(self) -> IPv4Address:
        """The site's default gateway: the first address of its subnet."""
        return self.subnet[1]

    def hosts_with(self, role: HostRole) -> tuple[Host, ...]:
        return tuple(host for host in self.hosts if host.has(role))


class Topology(Part):
    """All of `sites.yml`, valid: both its shape and its rules hold."""

    cluster: Name = Field(description="Name of the cluster; dangerous commands ask for it.")
    objectives: Objectives = Field(default_factory=Objectives, description="What was promised.")
    postgresql: PostgreSQL = Field(
        default_factory=PostgreSQL, description="PostgreSQL, the same at every site."
    )
    replication: Replication = Field(
        default_factory=Replication, description="How data gets from site to site."
    )
    failover: Failover = Field(
        default_factory=Failover, description="Hanbat's own controller, faster than Patroni's lease."
    )
    wan: Wan = Field(default_factory=Wan, description="The network between sites, in the lab.")
    sites: tuple[Site, ...] = Field(description="The sites.", min_length=1)

    @property
    def hosts(self) -> tuple[Host, ...]:
        return tuple(host for site in self.sites for host in site.hosts)

    def hosts_with(self, role: HostRole) -> tuple[Host, ...]:
        """All hosts with a role, in the order of the file."""
        return tuple(host for host in self.hosts if host.has(role))

    def site_of(self, host_name: str) -> Site:
        """The site where a host stands. Raises KeyError for a host that is not in the file."""
        for site in self.sites:
            if any(host.name == host_name for host in site.hosts):
                return site
        raise KeyError(host_name)

    def host(self, name: str) -> Host:
        """Raises KeyError for a host that is not in the file."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def site(self, name: str) -> Site:
        """Raises KeyError for a site that is not in the file."""
        for site in self.sites:
            if site.name == name:
                return site
        raise KeyError(name)

    def site_with(self, role: SiteRole) -> Site:
        """The one site of a role; the rules promise that there is one."""
        return next(site for site in self.sites if site.role is role)
