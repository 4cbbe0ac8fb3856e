"""One machine: its disk, its boot, its end. A systemd-nspawn container with a network of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hanbat.rendering import File
from lab import commands, keys, mounts
from lab.cgroups import Cgroup
from lab.errors import CommandTimedOut, LabNotUp, MachineFailed
from lab.identity import Names
from lab.processes import start

NSPAWN_RUN = Path("/run/systemd/nspawn")
MACHINE_PATH = "/opt/hanbat/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CAPABILITIES = "CAP_NET_ADMIN,CAP_NET_RAW,CAP_NET_BROADCAST,CAP_SYS_NICE"


@dataclass(frozen=True, slots=True)
class Machine:
    """A host of one lab. All of it can be found by its names, so any process can work on it."""

    names: Names
    site: str
    host: str

    @property
    def folder(self) -> Path:
        return self.names.machines / self.host

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def console(self) -> Path:
        """What the machine wrote to its console while booting."""
        return self.names.state / "logs" / f"{self.host}.console"

    @property
    def group(self) -> Cgroup:
        return Cgroup(f"{self.names.lab}/{self.site}/{self.host}")

    @property
    def namespace(self) -> str:
        return self.names.machine(self.host)

    def mount(self, lowerdir: str) -> None:
        """Put the machine's disk over the image; what it wrote earlier is still there."""
        mounts.mount_overlay(lowerdir, self.folder / "upper", self.folder / "work", self.root)

    def install(self, files: Iterable[File], hosts: str, key_folder: Path) -> None:
        """Lay the rendered tree, the names and the keys onto the mounted disk, before its first boot."""
        ssh = self.root / "etc/ssh"
        key = keys.host_key(key_folder, self.host)
        for source, target, mode in (
            (key, ssh / "ssh_host_ed25519_key", 0o600),
            (key.with_suffix(".pub"), ssh / "ssh_host_ed25519_key.pub", 0o644),
            (
                keys.operator_key(key_folder).with_suffix(".pub"),
                self.root / "root/.ssh/authorized_keys",
                0o600,
            ),
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            target.chmod(mode)
        (self.root / "root/.ssh").chmod(0o700)
        (self.root / "etc/hostname").write_text(f"{self.host}\n", encoding="utf-8")
        (self.root / "etc/hosts").write_text(hosts, encoding="utf-8")
        (self.root / "etc/machine-id").write_text("", encoding="utf-8")
        lay(files, self.root)

    def boot(self) -> None:
        """Start the machine; returns at once. Its namespace and disk must be ready."""
        group = self.group
        group.remove()  # a frozen group would freeze what joins it
        group.create()
        argv = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--settings=no", "--boot",
            f"--directory={self.root}", f"--machine={self.namespace}",
            f"--network-namespace-path=/run/netns/{self.namespace}", f"--capability={CAPABILITIES}",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no", "--console=read-only",
        ]  # fmt: skip
        # nspawn's own lock files would outlive a killed machine; the lab has a lock of its own. The network
        # is the machine's own, and so are its settings (/etc/sysctl.d).
        env = {
            "SYSTEMD_NSPAWN_LOCK": "0",
            "SYSTEMD_LOG_LEVEL": "warning",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
        }
        start(group, argv, self.console, env=env)

    def leader(self) -> int | None:
        """The machine's PID 1, by its number here; None when the machine does not run."""
        for pid in sorted(self.group.processes()):
            try:
                status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            except (FileNotFoundError, ProcessLookupError):
                continue
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
            if len(numbers) > 1 and numbers[-1] == "1" and "\nState:\tZ" not in status:
                return pid
        return None

    def running(self) -> bool:
        return self.leader() is not None

    def enter(self, argv: Sequence[str], *, user: str = "root", limit_s: float | None = None) -> list[str]:
        """Argv that runs a command inside the machine, also when its network is cut. Raises LabNotUp."""
        leader = self.leader()
        if leader is None:
            raise LabNotUp(f"{self.host} does not run", hint=f"hanbat lab fault power-on {self.host}")
        words = ["nsenter", f"--target={leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--"]
        words += ["/usr/bin/env", "-i", f"PATH={MACHINE_PATH}", "LANG=C.UTF-8", "HOME=/root", "TERM=dumb"]
        if limit_s is not None:
            words += ["timeout", "--kill-after=1", f"{limit_s:g}"]
        if user != "root":
            words += ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", "--reset-env", "--"]
            words += ["/usr/bin/env", f"PATH={MACHINE_PATH}", "LANG=C.UTF-8"]
        return [*words, *argv]

    def run(
        self, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None, user: str = "root"
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, ended inside too when its time is over. Raises CommandTimedOut."""
        done = commands.run(
            self.enter(argv, user=user, limit_s=timeout_s), timeout_s=timeout_s + 3, stdin=stdin, check=False
        )
        if done.returncode in (124, 137) and "timeout" not in argv[:1]:
            raise CommandTimedOut(f"{self.host}: {' '.join(argv)}: no end after {timeout_s:g} s")
        return done

    def wait_booted(self, limit_s: float) -> None:
        """Wait until the machine's systemd listens. Raises MachineFailed with the console's last lines."""
        end = time.monotonic() + limit_s
        while True:
            leader = self.leader()
            if leader is not None and Path(f"/proc/{leader}/root/run/systemd/private").exists():
                return
            if time.monotonic() > end:
                last = commands.tail(self.console.read_text(encoding="utf-8", errors="replace"), 10)
                raise MachineFailed(f"{self.host}: systemd is not there after {limit_s:g} s\n{last}")
            time.sleep(0.05)

    def clean_after_death(self) -> None:
        """Unmount the disk (it keeps its content) and remove what a killed nspawn leaves behind."""
        mounts.unmount_below(self.root)
        forget_nspawn(self.namespace)


def forget_nspawn(machine: str) -> None:
    """Remove nspawn's run-time folders of a dead machine, and their parents if these are empty now."""
    for folder in (NSPAWN_RUN / "propagate" / machine, NSPAWN_RUN / "unix-export" / machine):
        mounts.unmount_below(folder)
        if folder.exists():
            shutil.rmtree(folder)


def lay(files: Iterable[File], root: Path) -> None:
    """Write rendered files below a root, with their modes and owners as that root knows the names."""
    files = tuple(files)
    for file in files:
        target = root / file.path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(file.text)
    if any("/sysusers.d/" in file.path for file in files):
        commands.run(["systemd-sysusers", f"--root={root}"])
    users, groups = _numbers(root / "etc/passwd"), _numbers(root / "etc/group")
    for file in files:
        target = root / file.path.lstrip("/")
        try:
            os.chown(target, users[file.owner], groups[file.group])
        except KeyError as error:
            raise MachineFailed(f"{file.path}: the image has no user or group {error}") from error
        target.chmod(file.mode)


def _numbers(file: Path) -> dict[str, int]:
    rows = (line.split(":") for line in file.read_text(encoding="utf-8").splitlines() if line)
    return {row[0]: int(row[2]) for row in rows}
