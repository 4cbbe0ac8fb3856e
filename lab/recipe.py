"""What goes into the machines' image: packages, what is taken out again, which units are off.

Any change here changes the image's hash, so the next `up` builds a new one.
"""

from __future__ import annotations

RECIPE = 1
SUITE = "bookworm"
PYTHON = (3, 11)  # Debian 12's

PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "iproute2",
    "nftables",
    "postgresql-15",
    "etcd-server",
    "etcd-client",
    "haproxy",
    "pgbouncer",
    "pgbackrest",
    "keepalived",
    "curl",
    "sudo",
    "iputils-ping",
    "procps",
    "socat",
)

# Not unpacked at all. Copyright files stay.
NOT_UNPACKED = (
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/info/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    "--dpkgopt=path-exclude=/usr/lib/postgresql/*/lib/bitcode/*",
)

# Started by a machine's rendered tree under our own names, or of no use in a machine of the lab.
MASKED_UNITS = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dev-hugepages.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "etcd.service",
    "fstrim.timer",
    "getty.target",
    "haproxy.service",
    "keepalived.service",
    "logrotate.timer",
    "man-db.timer",
    "modprobe@.service",
    "pgbackrest.service",
    "pgbouncer.service",
    "postgresql.service",
    "remote-fs.target",
    "sys-fs-fuse-connections.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-networkd-wait-online.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pcrphase.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-repart.service",
    "systemd-timesyncd.service",
    "systemd-udevd.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
)

# Files that the recipe writes over the packages: path, text, mode.
FILES = (
    (
        "/etc/ssh/sshd_config.d/hanbat.conf",
        "HostKey /etc/ssh/ssh_host_ed25519_key\n"
        "PermitRootLogin prohibit-password\nPasswordAuthentication no\nUseDNS no\nUsePAM no\n"
        "MaxStartups 100:30:200\nMaxSessions 100\n",
        0o644,
    ),
    # The journal of a machine survives a power cut, and is small.
    (
        "/etc/systemd/journald.conf.d/hanbat.conf",
        "[Journal]\nStorage=persistent\nSystemMaxUse=64M\nRateLimitIntervalSec=0\n",
        0o644,
    ),
    ("/usr/lib/sysusers.d/hanbat.conf", 'u hanbat - "Hanbat services" /var/lib/hanbat\n', 0o644),
    ("/etc/profile.d/hanbat.sh", 'PATH="$PATH:/opt/hanbat/bin"\n', 0o644),
    ("/etc/default/locale", "LANG=C.UTF-8\n", 0o644),
)

# Made by package scripts; each machine has its own, or none.
REMOVED = (
    "/etc/ssh/ssh_host_*",
    "/etc/machine-id",
    "/var/lib/dbus/machine-id",
    "/etc/hostname",
    "/etc/resolv.conf",
)


def text() -> str:
    """Everything of this file that shapes an image, as one text to hash."""
    return repr((RECIPE, SUITE, PYTHON, PACKAGES, NOT_UNPACKED, MASKED_UNITS, FILES, REMOVED))
