"""Keys of a lab: one key pair for its operator, one host key a machine, a complete known_hosts file."""

from __future__ import annotations

from pathlib import Path

from hanbat.topology import Topology
from lab import commands


def _make(path: Path, comment: str) -> None:
    if not path.exists():
        commands.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)])


def operator_key(folder: Path) -> Path:
    return folder / "operator"


def host_key(folder: Path, host: str) -> Path:
    return folder / f"host-{host}"


def known_hosts(folder: Path) -> Path:
    return folder / "known_hosts"


def make(topology: Topology, folder: Path, lab: str) -> None:
    """Make what is missing. Twice is the same as once."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    _make(operator_key(folder), f"operator@{lab}")
    lines: list[str] = []
    for host in topology.hosts:
        key = host_key(folder, host.name)
        _make(key, f"{host.name}@{lab}")
        kind, value = key.with_suffix(".pub").read_text(encoding="utf-8").split()[:2]
        lines.append(f"{host.name},{host.address} {kind} {value}\n")
    known_hosts(folder).write_text("".join(lines), encoding="utf-8")
