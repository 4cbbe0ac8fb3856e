"""Starts Patroni: `python -m replication.patroni_launcher /etc/hanbat/patroni.yml`.

What Patroni 4.1 does not do by itself, and nothing else; in brackets its module in `replication.mends`:

- It waits until a member of the DCS is healthy and puts that one first (`PATRONI_ETCD3_HOSTS`):
  Patroni asks the first of its list at its start and ends, or sleeps 5 s, when that one is down.
- It goes back to the member of the DCS that it should ask first (`etcd_home`).
- In the synchronous modes a holder of the lock that `/sync` does not name gives it back
  (`named_holder`, ADR 0005).
- Where a person must approve a move, no host of the other side takes a free lock by itself
  (`held_back`, ADR 0006).
- `/sync` names a standby only once PostgreSQL is shown to wait for it (`grown_set`).
- A standby has left the sync set for every walsender before another one joins it (`exchanged_set`).
- `synchronous_standby_names` is emptied only after `/sync` was (`kept_set`).
- `/sync` is written only if it is still what was read, also where there was none (`sync_swap`).
- A promotion claims its timeline's number in etcd first (`fresh_timeline`).
- Two histories under one timeline's number are not joined (`joined_number`).
- An offer to a host that `/sync` does not name is refused, and nobody waits for it (`stale_offer`).
- A lock that is offered to this member is free to it, also shortly after failsafe mode (`offered_lock`).
- Only a standby on the primary's own timeline becomes sync (`same_timeline`).
- The sync set changes one by one, and holds a host of each site where it can (`steady_set`).
- A standby that drags commits is left out of the sync set for a while, in `max_availability` only
  (`dragging`).
- A primary that was offered away takes its lock back only if it can still commit and extend a file
  (`shown_commit`).
- A planned handover does without Patroni's pauses (`quick_handover`), and stops the old primary only when
  every pooler holds (`held_first`).
- After a takeover the third host is soon back in the sync set (`short_naps`).
- It says of a restart of PostgreSQL that it is one, from beginning to end (`told_restart`).
- A returning host's unreplicated tail is kept before it is rewound or cloned (`salvage_hook`).
- A host is rewound only when there is room to write (`room_to_rewind`).
- WAL that no data directory points to is set aside before a directory is made anew, which would fail
  because of it (`stray_wal`).
- A clone or a removal of the data directory that was broken off is begun anew (`broken_clone`).
- In `max_protection` it replaces `SyncHandler.set_synchronous_standby_names`, so that a commit
  always waits for a standby of another site (`remote_sync`, ADR 0003).

It refuses any other minor version of Patroni: the replaced functions were read in 4.1 only.
Environment, from the unit: HANBAT_PROTECTION_MODE, HANBAT_REMOTE_MEMBERS (names, spaces between),
HANBAT_DRAG_LIMIT_S, HANBAT_DRAG_TIME_S.

Patroni starts the postmaster through a fresh interpreter that imports this module once more, so
what is heavy (Patroni, YAML, the topology's model) is imported where it is used, or not at all.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hanbat.errors import Exit, HanbatError, render

KNOWN_MINOR = "4.1."
MAX_AVAILABILITY = "max_availability"
MAX_PROTECTION = "max_protection"
MAX_PERFORMANCE = "max_performance"
MODES = frozenset({MAX_AVAILABILITY, MAX_PROTECTION, MAX_PERFORMANCE})  # hanbat.topology.ProtectionMode
DCS_WAIT_S = 60.0
PROBE_S = 1.0


class UnknownPatroni(HanbatError):
    """The Patroni installed is not of the minor version whose code was read."""

    code = 131
    hint = "install patroni 4.1.x, or read the new set_synchronous_standby_names and adapt remote_sync.py"


class DcsUnhealthy(HanbatError):
    """No member of the DCS became healthy in time; systemd starts us again."""

    code = 132
    hint = "see whether a majority of etcd runs: systemctl status hanbat-etcd"


class LauncherMisused(HanbatError):
    """The unit gives no usable protection mode, no remote members in max_protection, or no drag bounds."""

    code = 133
    hint = "render the unit anew: hanbat render HOST"
    exit_status = Exit.USAGE


def check_version(version: str) -> None:
    """Raises UnknownPatroni for anything but 4.1.x."""
    if not version.startswith(KNOWN_MINOR):
        raise UnknownPatroni(f"Patroni {version} is installed; {KNOWN_MINOR}x is known")


def protection(environment: Mapping[str, str]) -> tuple[str, frozenset[str]]:
    """Protection mode and remote members. Raises LauncherMisused."""
    mode = environment.get("HANBAT_PROTECTION_MODE", "")
    if mode not in MODES:
        raise LauncherMisused(f"HANBAT_PROTECTION_MODE is {mode!r}, known are {', '.join(sorted(MODES))}")
    remote = frozenset(environment.get("HANBAT_REMOTE_MEMBERS", "").split())
    if mode == MAX_PROTECTION and not remote:
        raise LauncherMisused("max_protection without HANBAT_REMOTE_MEMBERS")
    return mode, remote


def drag_bounds(environment: Mapping[str, str]) -> tuple[float, float]:
    """Lag and time, in seconds, from which a standby is taken out. Raises LauncherMisused."""
    names = ("HANBAT_DRAG_LIMIT_S", "HANBAT_DRAG_TIME_S")
    try:
        limit_s, time_s = (float(environment.get(name, "")) for name in names)
    except ValueError as error:
        raise LauncherMisused(f"{' or '.join(names)} is no number: {error}") from error
    if not (0 < limit_s < float("inf") and 0 < time_s < float("inf")):
        raise LauncherMisused(f"{' and '.join(names)} are {limit_s:g} and {time_s:g}: both must be above 0")
    return limit_s, time_s


def is_healthy(host: str) -> bool:
    """Whether an etcd member, `address:port`, answers and has a majority behind it."""
    from urllib.request import urlopen

    try:
        with urlopen(f"http://{host}/health", timeout=PROBE_S) as answer:
            return b'"true"' in answer.read(1000)
    except OSError:  # refused, unreachable, timed out, or 503 for "no majority"
        return False


def healthy_first(
    hosts: Sequence[str],
    *,
    healthy: Callable[[str], bool],
    limit_s: float,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[str, ...]:
    """The members with the first healthy one in front, the others in their order.

    Waits for one at most `limit_s` (a probe may add its own time). Raises DcsUnhealthy.
    """
    end = now() + limit_s
    while True:
        for host in hosts:
            if healthy(host):
                return (host, *(other for other in hosts if other != host))
        if now() >= end:
            raise DcsUnhealthy(f"none of {', '.join(hosts)} was healthy within {limit_s:g} s")
        sleep(0.2)


def _document(config: Path) -> dict[str, Any]:
    import yaml

    return cast(dict[str, Any], yaml.safe_load(config.read_text(encoding="utf-8")))


def _launch(config: Path) -> None:
    from patroni.__main__ import main as patroni_main  # pyright: ignore[reportMissingTypeStubs]
    from patroni.version import __version__  # pyright: ignore[reportMissingTypeStubs]

    check_version(__version__)
    mode, remote = protection(os.environ)
    document = _document(config)
    order = tuple(cast(list[str], document["etcd3"]["hosts"]))
    hosts = healthy_first(order, healthy=is_healthy, limit_s=DCS_WAIT_S, now=time.monotonic, sleep=time.sleep)
    os.environ["PATRONI_ETCD3_HOSTS"] = ",".join(hosts)
    _put_in(mode, remote, order, document)
    sys.argv = ["patroni", str(config)]
    patroni_main()


def _put_in(mode: str, remote: frozenset[str], order: Sequence[str], document: Mapping[str, Any]) -> None:
    """All that is replaced in Patroni. The order matters where a word says so."""
    from replication.mends import (
        announced,
        broken_clone,
        cleaned_beside,
        dragging,
        etcd_home,
        exchanged_set,
        fresh_lease,
        fresh_timeline,
        grown_set,
        held_back,
        held_first,
        joined_number,
        kept_members,
        kept_offer,
        kept_set,
        named_holder,
        offered_lock,
        parting,
        quick_handover,
        remote_sync,
        rewind_question,
        room_to_rewind,
        salvage_hook,
        same_timeline,
        short_naps,
        shown_commit,
        stale_offer,
        steady_set,
        stray_wal,
        sync_swap,
        told_restart,
        whole_write,
    )
    from replication.salvage import settings as salvage_settings

    whole_write.install()
    etcd_home.install(order, is_healthy)
    offered_lock.install()
    fresh_lease.install()
    rewind_question.install()
    room_to_rewind.install()
    short_naps.install()
    told_restart.install()
    cleaned_beside.install()
    quick_handover.install(held_first.waits(order, str(document["scope"])))
    # After quick_handover: they look in every loop, also in one that tells nothing.
    if mode != MAX_PERFORMANCE:
        announced.install()
        kept_offer.install()
        parting.install()
        kept_members.install(gate_always=mode == MAX_PROTECTION)
        stale_offer.install()
        grown_set.install()
        exchanged_set.install()
    shown_commit.install()
    same_timeline.install()
    steady_set.install(remote)
    if mode == MAX_AVAILABILITY:
        dragging.install(*drag_bounds(os.environ))
    joined_number.install()  # before the salvage, which then sees each step that destroys a tail first
    broken_clone.install()  # before the salvage, too: what it marks as good for nothing was looked at
    salvage_hook.install(salvage_settings.load()).compare_what_is_left()
    stray_wal.install(stray_wal.wal_dir(document))
    kept_set.install()
    sync_swap.install()
    fresh_timeline.install()  # after all that decides on a promotion: it claims the number also without /sync
    if held_back.PATH.exists():  # where the controllers are not enabled there is none
        held_back.install()
    if mode != MAX_PERFORMANCE:
        named_holder.install()
    if mode == MAX_PROTECTION:
        remote_sync.install(remote)


def main(argv: Sequence[str]) -> int:
    """Runs Patroni until it ends."""
    if len(argv) != 2:
        print("usage: python -m replication.patroni_launcher CONFIG", file=sys.stderr)
        return Exit.USAGE
    try:
        _launch(Path(argv[1]))
    except HanbatError as error:
        print(render(error), file=sys.stderr)
        return error.exit_status
    return Exit.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv))
