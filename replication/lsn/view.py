"""What Patroni's REST answers mean for the LSN ring: pure functions of parsed JSON.

Sources: `GET /cluster` (members, roles, states) and `GET /patroni` of one host (`xlog.location` on
the primary, its flushed WAL; `xlog.received_location` on a standby), read in Patroni 4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast


class Known(StrEnum):
    """Yes, no, or nobody can tell."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


class Role(StrEnum):
    """A host's part in replication, as far as it is known."""

    PRIMARY = "primary"
    STANDBY = "standby"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Position:
    """Where one host's WAL ends, and on which timeline. `location` on a primary, else `received`."""

    primary: bool
    timeline: int | None
    lsn: int


def _section(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = document.get(key)
    return cast(Mapping[str, Any], value) if isinstance(value, dict) else {}


def position(patroni: Mapping[str, Any] | None) -> Position | None:
    """The position in an answer of `/patroni`; None when it tells none (starting, stopped)."""
    if patroni is None:
        return None
    primary = patroni.get("role") in ("primary", "master")
    lsn = _section(patroni, "xlog").get("location" if primary else "received_location")
    if not isinstance(lsn, int) or lsn <= 0:
        return None
    timeline = patroni.get("timeline")
    return Position(primary, timeline if isinstance(timeline, int) else None, lsn)


def members(cluster: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], ...]:
    """The rows of `/cluster`."""
    rows: Any = cluster.get("members", []) if cluster else []
    return tuple(cast(Iterable[Mapping[str, Any]], rows))


def leader(cluster: Mapping[str, Any] | None) -> str | None:
    """Name of the primary in an answer of `/cluster`, None when there is none or no answer."""
    return next((str(row["name"]) for row in members(cluster) if row.get("role") == "leader"), None)


def site_safe(cluster: Mapping[str, Any] | None, sites: Mapping[str, str]) -> Known:
    """Whether a standby of another site than the primary's is in the sync set and streams.

    `sites` gives the site of each db host. Unknown without an answer or without a primary.
    """
    primary = leader(cluster)
    if primary is None or primary not in sites:
        return Known.UNKNOWN
    for row in members(cluster):
        remote = sites.get(str(row.get("name"))) not in (None, sites[primary])
        if remote and row.get("role") == "sync_standby" and row.get("state") == "streaming":
            return Known.YES
    return Known.NO


def best_received(
    positions: Mapping[str, Position | None], primary: str, timeline: int | None, sites: Mapping[str, str]
) -> int | None:
    """The furthest position that a standby of another site received on the primary's timeline.

    An old primary that came back may be further, on a timeline that is nobody's: it does not count.
    None when no such standby told its position.
    """
    received = [
        place.lsn
        for name, place in positions.items()
        if place is not None
        and not place.primary
        and sites.get(name) != sites.get(primary)
        and (timeline is None or place.timeline in (None, timeline))
    ]
    return max(received, default=None)
