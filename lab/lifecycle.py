"""From nothing to a healthy lab, and back to nothing."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hanbat import rendering, secrets_file
from hanbat.errors import HanbatError, NotRoot
from lab import commands, disks, health, image, keys, leftovers, network, record, sockets, wan
from lab.cgroups import Cgroup
from lab.errors import MachineFailed, UnreadableState
from lab.identity import Names
from lab.plan import hosts_file

if TYPE_CHECKING:
    from lab.laboratory import Lab

Progress = Callable[[str], None]
PROGRAMS = (
    "systemd-nspawn",
    "ip",
    "nft",
    "nsenter",
    "unshare",
    "mount",
    "ssh-keygen",
    "sysctl",
    "tc",
    "setsid",
    "mkfs.ext4",
    "losetup",
)
BOOT_LIMIT_S = 30.0
HEALTHY_LIMIT_S = 90.0
WORKERS = 4


@dataclass(frozen=True, slots=True)
class UpReport:
    """What `up` did: seconds of each phase, the WAN's emulation, the image."""

    already_up: bool
    seconds: dict[str, float] = field(default_factory=dict)
    wan: str = ""
    image: str = ""

    @property
    def total_s(self) -> float:
        return sum(self.seconds.values())


def require_root() -> None:
    """Raises NotRoot."""
    if os.geteuid() != 0:
        raise NotRoot("a lab needs root: it makes namespaces, mounts and control groups")


def up(lab: Lab, progress: Progress, *, keep: bool) -> UpReport:
    """Bring a lab up; see Lab.up. Raises LabBusy, NotHealthy and what the phases raise."""
    require_root()
    commands.require(PROGRAMS)
    os.umask(0o022)
    with record.locked(lab.names):
        if lab.is_up():
            found = record.read(lab.names)
            assert found
            return UpReport(True, found.seconds, found.wan, found.image)
        left = leftovers.find(lab.names)
        if left.any():
            progress(f"an earlier lab of this clone did not end well; removing it ({left.text()})")
            leftovers.clean(lab.names, progress)
        try:
            return _up(lab, progress)
        except BaseException:
            if keep:
                progress(f"left as it is: {lab.state}; remove it with: hanbat lab down")
            else:
                progress("removing what was begun")
                leftovers.clean(lab.names, lambda _: None)
            raise


def _up(lab: Lab, progress: Progress) -> UpReport:
    seconds: dict[str, float] = {}

    @contextmanager
    def phase(name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        seconds[name] = round(time.monotonic() - started, 2)
        progress(f"{name}: {seconds[name]:.1f} s")

    begun = record.Record(lab.identity, str(lab.clone), str(lab.sites_file), record.boot_id())
    begun.write(lab.names)
    with phase("image"):
        layers = image.ensure(lab.clone, Cgroup(f"{lab.names.lab}/_build"), progress)
    with phase("network"):
        kind = wan.emulation()
        if kind == wan.WIREFILTER:
            commands.require(("vde_switch", "wirefilter"))
        network.make(lab.topology, lab.names, lab.plan, kind)
    with phase("disks"):
        _disks(lab, layers)
    with phase("boot"):
        _boot(lab)
    if not lab.bare:
        with phase("healthy"):
            health.wait(
                lambda: health.conditions(lab.topology, lab.names.client),
                limit_s=HEALTHY_LIMIT_S,
                explain=lambda hosts: explain(lab, hosts),
                progress=progress,
            )
    replace(begun, up=True, seconds=seconds, wan=kind, image=layers.key).write(lab.names)
    return UpReport(False, seconds, kind, layers.key)


def _disks(lab: Lab, layers: image.Image) -> None:
    """Keys, secrets, and every machine's disk with its rendered tree."""
    keys.make(lab.topology, lab.key_folder, lab.names.lab)
    secrets_file.load_or_create(lab.secrets_path)
    hosts = hosts_file(lab.topology)
    (lab.state / "lowerdir").write_text(layers.lowerdir, encoding="utf-8")
    for host in lab.topology.hosts:
        machine = lab.machine(host.name)
        mount(lab, host.name, layers.lowerdir)
        files = () if lab.bare else rendering.tree(lab.topology, host, lab.secrets)
        machine.install(files, hosts, lab.key_folder)


def mount(lab: Lab, host: str, lowerdir: str) -> None:
    """Mount a machine's disks; twice is the same as once."""
    lab.machine(host).mount(lowerdir)
    if disks.has_disks(lab.topology.host(host)):
        disks.attach(lab.machine(host))


def _boot(lab: Lab) -> None:
    for machine in lab.machines.values():
        machine.boot()
    wait_booted(lab, list(lab.machines))


def wait_booted(lab: Lab, hosts: Sequence[str]) -> None:
    """Wait until these machines' systemd and sshd are there. Raises MachineFailed."""
    with ThreadPoolExecutor(WORKERS) as pool:
        waits = [pool.submit(_wait_booted, lab, host) for host in hosts]
        for done in waits:
            done.result()


def _wait_booted(lab: Lab, host: str) -> None:
    machine, address = lab.machine(host), str(lab.topology.host(host).address)
    machine.wait_booted(BOOT_LIMIT_S)
    end = time.monotonic() + BOOT_LIMIT_S
    while not sockets.ssh_banner(machine.namespace, address, timeout_s=1.0):
        if time.monotonic() > end:
            raise MachineFailed(f"{host}: sshd does not greet within {BOOT_LIMIT_S:g} s of the boot")
        time.sleep(0.1)


def explain(lab: Lab, hosts: Sequence[str]) -> str:
    """The failed or restarting units of some hosts, and their last log lines."""
    script = (
        "systemctl list-units 'hanbat-*' --all --plain --no-legend --no-pager | grep -v ' running '; "
        "journalctl -b --no-pager -q -u 'hanbat-*' -n 15 -o short-monotonic || true"
    )
    texts: list[str] = []
    for host in list(hosts)[:3]:
        try:
            texts.append(f"--- {host}\n" + lab.run(host, ["sh", "-c", script], timeout_s=5).stdout.rstrip())
        except HanbatError as error:
            texts.append(f"--- {host}\n{error}")
    return "\n".join(texts)


def down(names: Names, progress: Progress) -> None:
    """Remove everything of a lab. Raises LabBusy while an `up` works on it, LeftBehind."""
    require_root()
    with record.locked(names, limit_s=5.0):
        if leftovers.find(names).any():
            leftovers.clean(names, progress)
        else:
            progress(f"lab {names.identity}: nothing was there")


def orphans(states: Path) -> list[Names]:
    """Labs on this computer whose clone is gone, or of which no record tells the clone."""
    found: list[Names] = []
    for identity in sorted(leftovers.identities(states)):
        names = Names(identity, states)
        try:
            known = record.read(names)
        except UnreadableState:
            known = None
        if known is None or not Path(known.clone).exists():
            found.append(names)
    return found
