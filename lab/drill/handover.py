"""The planned switchover of a drill, in one place: `hanbat switchover` where it is, else Patroni's own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from subprocess import CompletedProcess

from hanbat.errors import Exit, HanbatError
from hanbat.topology import HostRole
from lab.drill.drill import Drill
from lab.drill.errors import ServiceFailed

HANBAT = "/opt/hanbat/bin/hanbat"
PATRONICTL = "/opt/hanbat/bin/patronictl"
PATRONI_CONFIG = "/etc/hanbat/patronictl.yml"  # of root
ASK_LIMIT_S = 10.0
PAUSE_S = 1.0
REASON_LENGTH = 300


@dataclass(frozen=True, slots=True)
class NotDone:
    """A switchover that was not done. `begun`: not surely refused before anybody was held or stopped."""

    said: str
    begun: bool


def hand_over(drill: Drill, candidate: str, *, limit_s: float | None = None) -> None:
    """Hands the primary over to a host. Only what was refused before it began is asked again, for a while.

    Raises ServiceFailed with what was said last.
    """
    limit = drill.scenario.bounds.switchover_s if limit_s is None else limit_s
    end = drill.clock.now() + limit
    while True:
        failure = ask(drill, candidate, limit)
        if failure is None:
            return
        if failure.begun or drill.clock.now() > end:
            raise ServiceFailed(f"switchover to {candidate}: {failure.said}")
        drill.note("switchover_refused", candidate, failure.said)
        time.sleep(PAUSE_S)


def ask(drill: Drill, candidate: str, limit_s: float) -> NotDone | None:
    """Asks once; None when it is done.

    `hanbat switchover` says with its exit status whether it began; `patronictl` does not, and is asked again.
    """
    where = speaker(drill, candidate)
    ours = has_hanbat_switchover(drill, where)
    try:
        if ours:
            return _failure(_hanbat(drill, where, candidate, limit_s), done="", refused=Exit.NOT_READY)
        ended = _patronictl(drill, where, candidate, limit_s)
    except HanbatError as error:
        return NotDone(str(error)[:REASON_LENGTH], begun=ours)
    return _failure(ended, done="Successfully switched over", refused=None)


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


def _failure(ended: CompletedProcess[str], *, done: str, refused: Exit | None) -> NotDone | None:
    words = (ended.stdout + ended.stderr).strip()
    if ended.returncode == 0 and done in words:
        return None
    plain = " ".join(line for line in words.splitlines() if not line.startswith(("+", "|")))
    said = plain[-REASON_LENGTH:] or f"exit status {ended.returncode}"
    return NotDone(said, begun=refused is not None and ended.returncode != refused)
