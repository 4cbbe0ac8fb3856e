"""Judgements on what the load's probes say now. Pure functions of one status; stale sight is no sight."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.drill.driver import Watched

FRESH_S = 2.5


@dataclass(frozen=True, slots=True)
class Wanted:
    """The whole cluster: all database hosts, and how many standbys a commit waits for."""

    db_hosts: frozenset[str]
    sync_count: int


def _now(seen: Watched) -> float:
    return float(seen.status.get("at", 0.0))


def _fresh(seen: Watched, probe: str) -> dict[str, Mapping[str, Any]]:
    latest = seen.status.get("seen", {}).get(probe, {})
    return {host: view for host, view in latest.items() if _now(seen) - view["at"] < FRESH_S}


def primary_of(seen: Watched) -> str | None:
    """The one host that is the primary; None when there is none, or two."""
    primaries = [host for host, view in _fresh(seen, "patroni").items() if view["role"] == "primary"]
    return primaries[0] if len(primaries) == 1 else None


def lock_holder(seen: Watched) -> str | None:
    """Who holds the lock, by the newest fresh word of the DCS; "" when it is free, None without a word."""
    told = [view for view in _fresh(seen, "leader").values() if view["holder"] is not None]
    return max(told, key=lambda view: view["at"])["holder"] if told else None


def serving(seen: Watched) -> str | None:
    """The primary that counts: it says so, and the DCS does not name another.

    An old primary that is cut off may say so too, for a while; when the DCS says nothing, only one may.
    """
    holder = lock_holder(seen)
    if holder is None:
        return primary_of(seen)
    return holder if _fresh(seen, "patroni").get(holder, {}).get("role") == "primary" else None


def standbys_of(seen: Watched, primary: str) -> tuple[frozenset[str], frozenset[str]]:
    """(streaming, sync) standbys as the primary sees them."""
    view = _fresh(seen, "patroni").get(primary, {})
    return frozenset(view.get("streaming", ())), frozenset(view.get("sync", ()))


def sync_set_of(seen: Watched) -> frozenset[str]:
    """Standbys that say that they are in the sync set: those that may be promoted."""
    return frozenset(host for host, view in _fresh(seen, "patroni").items() if view.get("in_sync_set"))


def whole(seen: Watched, wanted: Wanted, homes: frozenset[str]) -> bool:
    """A primary among `homes`, every other host a running, streaming standby, and the sync set whole.

    The sync set must be whole for PostgreSQL, which waits for it, and for Patroni, which promotes from it.
    """
    primary = primary_of(seen)
    if primary is None or primary not in homes:
        return False
    streaming, sync = standbys_of(seen, primary)
    roles = {host: view["role"] for host, view in _fresh(seen, "patroni").items()}
    others = wanted.db_hosts - {primary}
    running = others <= streaming and all(roles.get(host) == "standby" for host in others)
    return running and len(sync & sync_set_of(seen) & others) >= wanted.sync_count


def unreachable(seen: Watched, hosts: frozenset[str], since: float) -> bool:
    """Every one of the hosts was looked at after `since` and did not answer."""
    latest = seen.status.get("seen", {}).get("patroni", {})
    return all(h in latest and latest[h]["at"] > since and latest[h]["role"] == "unreachable" for h in hosts)


def acknowledging(seen: Watched, streams: frozenset[str], since: float) -> bool:
    """Every one of the streams had an acknowledgement after `since`."""
    reached = seen.status.get("streams", {})
    return all((reached.get(name, {}).get("last_acknowledged_at") or 0.0) > since for name in streams)
