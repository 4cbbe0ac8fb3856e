"""Who a lab is: its identity, and every name and path that carries it."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

PREFIX = "hb"
OWN_NAME = re.compile(r"^hb([0-9a-f]{6})-")


def identity_of(clone: Path) -> str:
    """6 hex digits of sha256 of the clone's real path: the same for every command run from it."""
    return hashlib.sha256(os.fsencode(clone.resolve())).hexdigest()[:6]


def state_root() -> Path:
    """Where labs keep their disks and journals; HANBAT_STATE overrides it."""
    return Path(os.environ.get("HANBAT_STATE", "/var/lib/hanbat/labs"))


def cache_root() -> Path:
    """Where images are kept; HANBAT_CACHE overrides it."""
    return Path(os.environ.get("HANBAT_CACHE", "/var/cache/hanbat/images"))


RUN_ROOT = Path("/run/hanbat")
NETNS_ROOT = Path("/run/netns")
NETNS_ETC = Path("/etc/netns")


@dataclass(frozen=True, slots=True)
class Names:
    """Every name and path of one lab. All carry the identity, so all can be found again by it."""

    identity: str
    states: Path

    @property
    def lab(self) -> str:
        return f"{PREFIX}{self.identity}"

    @property
    def client(self) -> str:
        """Namespace of the client machine. No host can have this name: a host's starts with `m-`."""
        return f"{self.lab}-client"

    def machine(self, host: str) -> str:
        """Namespace and nspawn name of a host."""
        return f"{self.lab}-m-{host}"

    def router(self, site: str) -> str:
        return f"{self.lab}-r-{site}"

    @property
    def state(self) -> Path:
        return self.states / self.identity

    @property
    def machines(self) -> Path:
        return self.state / "machines"

    @property
    def run(self) -> Path:
        """Sockets of the WAN emulation: short paths, since a socket's path has at most 107 bytes."""
        return RUN_ROOT / self.identity

    @property
    def lock(self) -> Path:
        return RUN_ROOT / f"{self.identity}.lock"

    @property
    def record(self) -> Path:
        """Written before anything is made: which clone this lab belongs to."""
        return self.state / "lab.json"

    def is_own(self, name: str) -> bool:
        return name.startswith(f"{self.lab}-")


def names_of(clone: Path) -> Names:
    return Names(identity_of(clone), state_root())
