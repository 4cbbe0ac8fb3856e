"""Nothing but the backup is left, and it lacks what was acknowledged: only a named person's word moves it.

The whole way: replication is cut, the backup leaves the sync set, an institution is registered
(acknowledged by the main site alone), the main site loses its power. The controllers do not move; a
person is refused without a signature, and with one has a service again. When the main site is back, what
was left behind is kept and named.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from hanbat.topology import HostRole, SiteRole
from lab.faults import make_fault
from lab.laboratory import Lab
from replication import access

from .seeing import primaries, ready_at, until, whole

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="the lab needs root")]
SIGNER = "홍길동 (Hong Gil-dong), duty officer"
READ_SIGNED = """
import json
from failover import config
read = config.load(config.PATH).dcs().snapshot()
signed = [entry.value for key, entry in read.items() if key.startswith("hanbat/signed/")]
print(json.dumps([json.loads(one) for one in signed]))
"""


@pytest.fixture(autouse=True)
def healed(lab: Lab) -> Iterator[None]:
    """Afterwards the primary is at home again, by the planned way."""
    home = lab.topology.site_with(SiteRole.PRIMARY).hosts_with(HostRole.DB)[0].name
    until(lambda: whole(lab), what="the cluster is whole", limit_s=90)
    yield
    for fault in lab.faults.read():
        make_fault(lab, fault.name, fault.target).heal()
    until(lambda: whole(lab), what="the cluster is whole", limit_s=120)
    argv = ["hanbat", "switchover", "--to", home, "--execute"]
    until(
        lambda: primaries(lab) == [home] or lab.run(home, argv, timeout_s=60).returncode == 0,
        what="home again",
        limit_s=60,
    )


def register(lab: Lab, edge: str, name: str) -> int:
    """Registers an institution through an edge; the status of the answer, 0 for none."""
    url = f"http://{lab.topology.site(edge).edge}/api/v1/institutions"
    headers = [
        f"Authorization: Bearer {lab.secrets.app_operator_key}",
        f"Idempotency-Key: {name}",
        "Content-Type: application/json",
    ]
    body = json.dumps({"name": name, "key": uuid.uuid4().hex})
    argv = ["curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "-d", body, url]
    for header in headers:
        argv += ["-H", header]
    return int(lab.run(None, argv, timeout_s=15).stdout or 0)


def known(lab: Lab, host: str, name: str) -> bool:
    sql = f"select count(*) from procurement.party where name = '{name}'"
    argv = ["psql", "-XAtd", access.DATABASE, "-c", sql]
    return lab.run(host, argv, timeout_s=10, user="postgres").stdout.strip() == "1"


def cut_off(lab: Lab, primary: str, host: str) -> bool:
    """Whether the primary no longer waits for the host."""
    argv = ["psql", "-XAtc", "show synchronous_standby_names"]
    names = lab.run(primary, argv, timeout_s=10, user="postgres").stdout.strip()
    return names != "" and host not in names


def failover(lab: Lab, host: str, to: str, *more: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, plan, and what was said."""
    argv = ["hanbat", "failover", "--to", to, "--json", *more]
    said = lab.run(host, argv, timeout_s=60)
    return said.returncode, json.loads(said.stdout) if said.stdout.strip() else {}, said.stderr


def signed(lab: Lab, host: str) -> list[dict[str, Any]]:
    """What stands in etcd of everyone who has signed."""
    return json.loads(lab.run(host, ["python3", "-c", READ_SIGNED], timeout_s=20).stdout)


def salvaged(lab: Lab, host: str, name: str) -> bool:
    """Whether the host kept a row of this name, and knows that the new primary lacks it."""
    listed = lab.run(host, ["hanbat", "salvage", "list", "--json"], timeout_s=20)
    for one in json.loads(listed.stdout or "[]"):
        lab.run(host, ["hanbat", "salvage", "compare", one["id"]], timeout_s=30)
        shown = lab.run(host, ["hanbat", "salvage", "show", one["id"], "--json"], timeout_s=20)
        if name in shown.stdout and json.loads(shown.stdout)["verdict"] == "missing":
            return True
    return False


def test_what_is_lost_was_signed_for_kept_and_named(lab: Lab) -> None:
    home, backup = lab.topology.site_with(SiteRole.PRIMARY), lab.topology.site_with(SiteRole.BACKUP)
    (old,) = primaries(lab)
    (spare,) = [host.name for host in backup.hosts_with(HostRole.DB)]
    assert lab.topology.site_of(old) == home
    before, lost, after = (f"signed-loss {moment} {uuid.uuid4().hex[:8]}" for moment in ("1", "2", "3"))

    assert register(lab, home.name, before) == 201
    make_fault(lab, "replication-cut", f"{home.name}-{backup.name}").inject()
    until(lambda: cut_off(lab, old, spare), what="the backup leaves the sync set", limit_s=20)
    assert register(lab, home.name, lost) == 201  # acknowledged, and not at the backup
    make_fault(lab, "power-cut", home.name).inject()

    time.sleep(3)  # longer than a takeover takes
    assert primaries(lab) == []
    status, plan, _ = failover(lab, spare, backup.name)
    assert status == 3
    assert plan["plan"]["guards"]["candidate_in_sync"]["held"] == "fails"
    assert plan["plan"]["support"]["candidate"].strip()
    status, _, said = failover(lab, spare, backup.name, "--execute")
    assert (status, "[178]" in said) == (3, True), said
    wrong = ("--execute", "--accept-loss", "--by", SIGNER, "--confirm")
    status, _, said = failover(lab, spare, backup.name, *wrong, "another-cluster")
    assert (status, "[180]" in said) == (2, True), said
    assert primaries(lab) == []

    status, _, said = failover(lab, spare, backup.name, *wrong, plan["plan"]["cluster"])
    assert status == 0, said
    (record,) = [one for one in signed(lab, spare) if one["by"] == SIGNER]
    assert (record["old"], record["candidate"]) == (old, spare)
    assert "candidate_in_sync" in record["not_proved"]
    assert record["lacks_bytes"] > 0
    assert (record["no_loss_proved"], "loses an unknown amount" in record["stated"]) == (False, True)
    until(lambda: primaries(lab) == [spare], what=f"{spare} is the primary", limit_s=10)
    until(lambda: ready_at(lab, backup.name) == (200, backup.name), what="the backup serves", limit_s=15)
    assert register(lab, backup.name, after) == 201
    assert [known(lab, spare, name) for name in (before, lost, after)] == [True, False, True]

    for fault in lab.faults.read():
        make_fault(lab, fault.name, fault.target).heal()
    until(
        lambda: primaries(lab) == [spare] and whole(lab), what="the main site follows the backup", limit_s=180
    )
    hosts = [host.name for host in lab.topology.hosts_with(HostRole.DB)]
    for host in hosts:
        assert [known(lab, host, name) for name in (before, lost, after)] == [True, False, True], host
    until(lambda: salvaged(lab, old, lost), what="what was left behind is kept and named", limit_s=30)
