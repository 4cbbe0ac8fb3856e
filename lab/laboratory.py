"""The lab of one clone: what drills, tests and the command line drive."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hanbat import secrets_file, topology_file
from hanbat.errors import UnknownName
from hanbat.secrets_file import Secrets
from hanbat.topology import Topology
from lab import commands, description, keys, lifecycle, record
from lab.cgroups import groups_of_lab
from lab.errors import LabNotUp
from lab.identity import NETNS_ROOT, Names, names_of
from lab.lifecycle import UpReport
from lab.machine import Machine
from lab.plan import NetworkPlan, plan

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Lab:
    """One lab. It holds no handle: every process that makes one for the same clone sees the same lab."""

    clone: Path
    sites_file: Path
    topology: Topology
    names: Names
    bare: bool = False  # machines without our services: for tests of the lab itself

    @classmethod
    def of_clone(cls, clone: Path, sites: Path | None = None, *, bare: bool = False) -> Lab:
        """The lab of a clone. Raises TopologyUnreadable or TopologyInvalid."""
        clone = clone.resolve()
        sites_file = (sites or clone / "sites.yml").resolve()
        return cls(clone, sites_file, topology_file.load(sites_file), names_of(clone), bare)

    @property
    def identity(self) -> str:
        return self.names.identity

    @property
    def state(self) -> Path:
        return self.names.state

    @property
    def key_folder(self) -> Path:
        return self.state / "keys"

    @property
    def secrets_path(self) -> Path:
        return self.state / "secrets.yml"

    @cached_property
    def secrets(self) -> Secrets:
        """Made by `up`; they live as long as the lab. Raises LabNotUp before that."""
        if not self.secrets_path.exists():
            raise LabNotUp("the lab has no secrets yet")
        return secrets_file.load(self.secrets_path)

    @cached_property
    def plan(self) -> NetworkPlan:
        return plan(self.topology, self.names)

    @cached_property
    def machines(self) -> dict[str, Machine]:
        """Every host's machine, by name."""
        return {
            host.name: Machine(self.names, site.name, host.name)
            for site in self.topology.sites
            for host in site.hosts
        }

    @property
    def faults(self) -> record.FaultJournal:
        return record.FaultJournal(self.names)

    def machine(self, host: str) -> Machine:
        """Raises UnknownName."""
        try:
            return self.machines[host]
        except KeyError:
            raise UnknownName(
                f"no host is called {host}", hint=f"hosts: {', '.join(self.machines)}"
            ) from None

    def up(self, progress: Progress, *, keep: bool = False) -> UpReport:
        """From nothing to healthy. A lab that is up is left alone. `keep`: leave a failed attempt."""
        return lifecycle.up(self, progress, keep=keep)

    def down(self, progress: Progress) -> None:
        """Remove everything of this lab, in whatever condition it is."""
        lifecycle.down(self.names, progress)

    def is_up(self) -> bool:
        """Whether `up` ended well and the computer has not been restarted since."""
        found = record.read(self.names)
        return (
            found is not None
            and found.up
            and found.boot == record.boot_id()
            and (NETNS_ROOT / self.names.client).exists()
            and groups_of_lab(self.names.lab).exists()
        )

    def require_up(self) -> None:
        """Raises LabNotUp."""
        if not self.is_up():
            raise LabNotUp(f"the lab {self.identity} of {self.clone} is not up")

    def status(self) -> dict[str, Any]:
        """What runs now; JSON-able."""
        return description.status(self)

    def environment(self) -> dict[str, Any]:
        """What an outside client or test suite needs to be pointed at the lab; JSON-able."""
        return description.environment(self)

    def client_command(self, argv: Sequence[str]) -> list[str]:
        """Argv that runs a command on the client machine, which stands outside all sites."""
        return ["ip", "netns", "exec", self.names.client, *argv]

    def run(
        self,
        host: str | None,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        user: str = "root",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a machine, or on the client machine if `host` is None.

        Raises CommandTimedOut; LabNotUp when the machine does not run.
        """
        if host is None:
            return commands.run(self.client_command(argv), timeout_s=timeout_s, stdin=stdin, check=False)
        return self.machine(host).run(argv, timeout_s=timeout_s, stdin=stdin, user=user)

    @property
    def operator_key(self) -> Path:
        return keys.operator_key(self.key_folder)

    @property
    def known_hosts(self) -> Path:
        return keys.known_hosts(self.key_folder)
