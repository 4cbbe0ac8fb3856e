"""Runs a command on a rendered tree, inside the lab's cached image, in namespaces of its own.

The tree is laid over the image by a mount that ends with the command; the host's address stands on
a network device of the namespace, so that programs can bind it. Nothing is left behind.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from hanbat.rendering import tree, write
from hanbat.topology import Host, Topology

from ..replication.topologies import SECRETS

SCRIPT = r"""
umask 022
set -eu
mount -t tmpfs none "$WORK/mem"
mkdir "$WORK/mem/upper" "$WORK/mem/work" "$WORK/mem/root"
mount -t overlay none -o "lowerdir=$BASE,upperdir=$WORK/mem/upper,workdir=$WORK/mem/work" "$WORK/mem/root"
root="$WORK/mem/root"
cp -R --no-preserve=ownership "$WORK/tree/." "$root/"
mount -t proc none "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs none "$root/run"
ip link set lo up
ip link add eth0 type veth peer name peer0
ip address add "$ADDRESS" dev eth0
ip link set eth0 up
ip link set peer0 up
chroot "$root" getent passwd hanbat >/dev/null || chroot "$root" useradd --system hanbat
for file in patroni.yml pgbouncer-users.txt; do
    if test -e "$root/etc/hanbat/$file"; then chroot "$root" chown postgres: "/etc/hanbat/$file"; fi
done
cd "$root/run"
mkdir -p hanbat-haproxy hanbat-keepalived hanbat-pgbouncer postgresql
cd /
chroot "$root" chown postgres: /run/hanbat-pgbouncer /run/postgresql
exec timeout --kill-after=5 "$LIMIT" chroot "$root" sh -c "$COMMAND"
"""


def cached_base() -> Path | None:
    """The newest base layer of the lab's image, if there is one."""
    from lab import image

    if hasattr(image, "cached_base"):
        found = image.cached_base()
        return Path(found) if found else None
    # Debian's programs are the same in each; the pins of the Python packages may be older.
    layers = sorted(image.cache_root().glob("base-*"), key=lambda layer: layer.stat().st_mtime)
    return layers[-1] / "tree" if layers else None


def inside(
    topology: Topology, host: Host, command: str, tmp_path: Path, limit_s: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """Runs a shell command in the image with the host's tree. Status 124 means: still ran at the limit.

    Skips the test where that cannot be done.
    """
    if os.geteuid() != 0:
        pytest.skip("needs root: it mounts the lab's image")
    base = cached_base()
    if base is None:
        pytest.skip("the lab's image is not built: run `hanbat lab up` once")
    work = tmp_path / "machine"
    shutil.rmtree(work, ignore_errors=True)
    (work / "mem").mkdir(parents=True)
    write(tree(topology, host, SECRETS), work / "tree")
    (work / "tree").chmod(0o755)
    subnet = topology.site_of(host.name).subnet
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "WORK": str(work),
        "BASE": str(base),
        "ADDRESS": f"{host.address}/{subnet.prefixlen}",
        "LIMIT": str(limit_s),
        "COMMAND": command,
    }
    argv = [
        "unshare",
        "--mount",
        "--net",
        "--uts",
        "--ipc",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        SCRIPT,
    ]
    return subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=limit_s + 30, check=False
    )
