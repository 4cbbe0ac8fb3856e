"""An old primary with a tail that nobody else has comes back by itself as a healthy standby."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from hanbat.topology import HostRole
from lab.faults import make_fault
from lab.laboratory import Lab

from .seeing import primaries, until, whole

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")]
DATA = "/var/lib/postgresql/15/hanbat"
TAIL = "create table if not exists tail (n int); insert into tail select generate_series(1, 50000)"


@pytest.fixture(autouse=True)
def healed(lab: Lab) -> Iterator[None]:
    until(lambda: whole(lab), what="the cluster is whole", limit_s=90)
    yield
    for fault in lab.faults.read():
        make_fault(lab, fault.name, fault.target).heal()


def diverge(lab: Lab) -> tuple[str, str]:
    """Cut the primary off, write there what no other host gets, let another be promoted: (old, new).

    The write is never acknowledged: its commit waits for the sync standbys until the session is ended.
    """
    (old,) = primaries(lab)
    fault = make_fault(lab, "partition", old)
    fault.inject()
    assert fault.active()
    argv = ["timeout", "-k", "1", "4", "psql", "-Xqc", TAIL]
    written = lab.run(old, argv, timeout_s=15, user="postgres")
    assert written.returncode == 124, "a primary that was cut off acknowledged a write"
    others = [host.name for host in lab.topology.hosts_with(HostRole.DB) if host.name != old]

    def promoted() -> bool:
        return any(in_recovery(lab, name) == "f" for name in others)

    until(promoted, what="another primary", limit_s=45)
    (new,) = [name for name in others if in_recovery(lab, name) == "f"]
    return old, new


def in_recovery(lab: Lab, host: str) -> str:
    argv = ["psql", "-XAtc", "select pg_is_in_recovery()"]
    return lab.run(host, argv, timeout_s=10, user="postgres").stdout.strip()


def journal(lab: Lab, host: str, since: str) -> str:
    argv = ["journalctl", "-u", "hanbat-patroni", "--since", since, "--no-pager", "-o", "cat"]
    return lab.run(host, argv, timeout_s=10).stdout


def now(lab: Lab, host: str) -> str:
    return lab.run(host, ["date", "+%Y-%m-%d %H:%M:%S"], timeout_s=10).stdout.strip()


def tail_exists(lab: Lab, host: str) -> bool:
    argv = ["psql", "-XAtc", "select to_regclass('tail') is not null"]
    return lab.run(host, argv, timeout_s=10, user="postgres").stdout.strip() == "t"


def test_a_diverged_primary_is_rewound(lab: Lab) -> None:
    old, new = diverge(lab)
    since = now(lab, old)
    make_fault(lab, "partition", old).heal()
    until(
        lambda: primaries(lab) == [new] and whole(lab), what=f"{old} is a sync standby of {new}", limit_s=90
    )
    assert "running pg_rewind" in journal(lab, old, since)
    assert [tail_exists(lab, host.name) for host in lab.topology.hosts_with(HostRole.DB)] == [False] * 3


def test_a_diverged_primary_that_cannot_be_rewound_is_cloned_anew(lab: Lab) -> None:
    old, new = diverge(lab)
    since = now(lab, old)
    # Patroni has stopped its PostgreSQL or will; without its WAL pg_rewind cannot find where the two parted.
    lab.run(old, ["systemctl", "stop", "hanbat-patroni"], timeout_s=40)
    lab.run(old, ["sh", "-c", f"rm -f {DATA}/pg_wal/0*"], timeout_s=10)
    make_fault(lab, "partition", old).heal()
    lab.run(old, ["systemctl", "start", "hanbat-patroni"], timeout_s=20)
    until(
        lambda: primaries(lab) == [new] and whole(lab), what=f"{old} is a sync standby of {new}", limit_s=120
    )
    assert "replica has been created using basebackup" in journal(lab, old, since)
    assert not tail_exists(lab, old)
