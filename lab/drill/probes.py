"""Probes of where the primary is: Patroni of every database host, the leader key in etcd, the LSN ring.

They only look. A probe that got no answer says *unreachable*, it never repeats what it saw before.
"""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

from lab.drill.clock import Clock
from lab.drill.exchange import Exchanged, exchange
from lab.drill.journal import Journal
from lab.drill.operations import Stage

PROBE_TIMEOUT_S = 0.8
RING_FIELDS = ("role", "primary", "lag_bytes", "rpo_seconds", "known", "age_seconds", "site_safe")


class Probes:
    """Looks at intervals, journals what it saw and keeps the latest for the parent."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self.latest: dict[str, dict[str, Any]] = {"patroni": {}, "leader": {}, "ring": {}}

    async def patroni(self, host: str, url: str, interval_s: float, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            asked_at = self._clock.now()
            result = await exchange(
                "GET", f"{url}/patroni", connect_timeout_s=PROBE_TIMEOUT_S, timeout_s=PROBE_TIMEOUT_S
            )
            view = patroni_view(result)
            # Silence counts from the question on; an answer counts from when it came.
            self._keep(
                "patroni", host, view, asked_at if view["role"] == "unreachable" else self._clock.now()
            )
            await asyncio.sleep(interval_s)

    async def leader(
        self, host: str, url: str, keys: tuple[str, str, str], interval_s: float, stopping: asyncio.Event
    ) -> None:
        """Reads Patroni's leader key, the controllers' operation and /sync at one revision, through etcd.

        A linearizable read: the DCS's own word, or none.
        """
        ranges = [{"requestRange": {"key": base64.b64encode(key.encode()).decode()}} for key in keys]
        body = {"success": ranges}
        while not stopping.is_set():
            result = await exchange(
                "POST",
                f"{url}/v3/kv/txn",
                body=body,
                connect_timeout_s=PROBE_TIMEOUT_S,
                timeout_s=PROBE_TIMEOUT_S,
            )
            self._keep("leader", host, dcs_view(result))
            await asyncio.sleep(interval_s)

    async def ring(self, host: str, url: str, interval_s: float, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            result = await exchange(
                "GET", f"{url}/rpo", connect_timeout_s=PROBE_TIMEOUT_S, timeout_s=PROBE_TIMEOUT_S
            )
            answered = result.status == 200 and isinstance(result.response, dict)
            view = (
                {name: result.response.get(name) for name in RING_FIELDS}
                if answered
                else {"known": "unknown"}
            )
            self._keep("ring", host, view)
            await asyncio.sleep(interval_s)

    def _keep(self, probe: str, host: str, seen: dict[str, Any], at: float | None = None) -> None:
        at = self._clock.now() if at is None else at
        self.latest[probe][host] = {"at": at, **seen}
        self._journal.write(probe=probe, host=host, seen_at=at, **seen)


def patroni_view(result: Exchanged) -> dict[str, Any]:
    """What matters of Patroni's status. `role` is primary, standby, other or unreachable."""
    status = result.response
    if result.stage is not Stage.ANSWERED or not isinstance(status, dict):
        return {"role": "unreachable"}
    role = {"primary": "primary", "master": "primary", "replica": "standby"}.get(
        str(status.get("role")), "other"
    )
    if status.get("state") not in ("running", "streaming", "in archive recovery"):
        role = "other"
    standbys = status.get("replication") or []
    return {
        "role": role,
        "state": status.get("state"),
        "timeline": status.get("timeline"),
        # What Patroni itself wrote to /sync: who may be promoted. It comes after what PostgreSQL shows.
        "in_sync_set": bool(status.get("sync_standby", False) or status.get("quorum_standby", False)),
        "unlocked": bool(status.get("cluster_unlocked", False)),
        "streaming": sorted(row["application_name"] for row in standbys if row.get("state") == "streaming"),
        "sync": sorted(
            row["application_name"] for row in standbys if row.get("sync_state") in ("sync", "quorum")
        ),
    }


def dcs_view(result: Exchanged) -> dict[str, Any]:
    """The holder of the leader key, the controllers' operation, and whom /sync names beside the primary.

    `holder`: a name, "" when the lock is free, None when the DCS did not answer. `epoch` is 0 when there was
    no operation yet; `operation_revision` tells one operation's write from the next.
    """
    answer = result.response
    if result.status != 200 or not isinstance(answer, dict) or "header" not in answer:
        return {"holder": None}
    leader, operation, sync = (_first(part) for part in answer.get("responses") or ({}, {}, {}))
    seen: dict[str, Any] = {"holder": _text(leader) if leader else ""}
    if sync is not None:
        named = json.loads(_text(sync)).get("sync_standby") or ""
        seen |= {"sync": sorted(filter(None, named.split(","))), "sync_revision": int(sync["mod_revision"])}
    if operation is None:
        return {**seen, "epoch": 0, "operation_revision": 0}
    read = json.loads(_text(operation))
    return {
        **seen,
        "epoch": int(read.get("epoch", 0)),
        "phase": read.get("phase"),
        "operation_revision": int(operation.get("mod_revision", 0)),
    }


def _first(part: dict[str, Any]) -> dict[str, Any] | None:
    rows = (part.get("response_range") or {}).get("kvs") or []
    return rows[0] if rows else None


def _text(row: dict[str, Any]) -> str:
    return base64.b64decode(row["value"]).decode()
