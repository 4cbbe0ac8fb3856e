"""The planned switchover of a drill, in one place: `hanbat switchover` where it is, else Patroni's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from subprocess import CompletedProcess

from hanbat.errors import HanbatError
from hanbat.topology import HostRole
from lab.drill.drill import Drill
from lab.drill.errors import ServiceFailed

HANBAT = "/opt/hanbat/bin/hanbat"
PATRONICTL = "/opt/hanbat/bin/patronictl"
PATRONI_CONFIG = "/etc/hanbat/patronictl.yml"  # of root
ASK_LIMIT_S = 10.0
PAUSE_S = 1.0
REASON_LENGTH = 300


def hand_over(drill: Drill, candidate: str, *, limit_s: float | None = None) -> None:
    """Hands the primary over to a host. A refusal changes nothing, so it is asked again for a while.

    Raises ServiceFailed with the last refusal.
    """
    limit = drill.scenario.bounds.switchover_s if limit_s is None else limit_s
    end = drill.clock.now() + limit
    while True:
        said = ask(drill, candidate, limit)
        if said is None:
            return
        if drill.clock.now() > end:
            raise ServiceFailed(f"switchover to {candidate}: {said}")
        drill.note("switchover_refused", candidate, said)
        time.sleep(PAUSE_S)


def ask(drill: Drill, candidate: str, limit_s: float) -> str | None:
    """Asks once; None when it is done, else what was said."""
    where = speaker(drill, candidate)
    try:
        if has_hanbat_switchover(drill, where):
            return _said(_hanbat(drill, where, candidate, limit_s), done="")
        return _said(_patronictl(drill, where, candidate, limit_s), done="Successfully switched over")
    except HanbatError as error:
        return str(error)[:REASON_LENGTH]


def has_hanbat_switchover(drill: Drill, host: str) -> bool:
    """Whether the product can do it (it needs the controllers). Asked once a drill: it takes a second."""
    if not drill.lab.topology.failover.enabled:
        return False
    if drill.has_switchover is not None:
        return drill.has_switchover
    argv = [HANBAT, "switchover", "--help"]
    has = drill.lab.run(host, argv, timeout_s=ASK_LIMIT_S).returncode == 0
    drill.has_switchover = has
    return has


def speaker(drill: Drill, candidate: str) -> str:
    """A database host to give the command on: one that runs, at the best not the candidate's."""
    hosts = [host.name for host in drill.lab.topology.hosts_with(HostRole.DB)]
    for host in sorted(hosts, key=lambda host: host == candidate):
        machine = drill.lab.machine(host)
        if machine.running() and not machine.group.frozen():
            return host
    raise ServiceFailed("no database host runs that could be told to switch over")


def _hanbat(drill: Drill, host: str, candidate: str, limit_s: float) -> CompletedProcess[str]:
    return drill.lab.run(host, command_of(candidate), timeout_s=limit_s)


def command_of(candidate: str) -> list[str]:
    """Argv of the product's own command."""
    return [HANBAT, "switchover", "--to", candidate, "--execute", "--json"]


def _patronictl(drill: Drill, host: str, candidate: str, limit_s: float) -> CompletedProcess[str]:
    argv: Sequence[str] = [
        PATRONICTL,
        "-c",
        PATRONI_CONFIG,
        "switchover",
        "--candidate",
        candidate,
        "--force",
    ]
    return drill.lab.run(host, argv, timeout_s=limit_s)


def _said(ended: CompletedProcess[str], *, done: str) -> str | None:
    words = (ended.stdout + ended.stderr).strip()
    if ended.returncode == 0 and done in words:
        return None
    plain = " ".join(line for line in words.splitlines() if not line.startswith(("+", "|")))
    return plain[-REASON_LENGTH:] or f"exit status {ended.returncode}"
