"""The block period: after an operation the controllers keep still for a while, so the next drill waits.

Nobody writes down *when* an operation ended, only that it did. So a drill keeps in the lab's state which
operation it saw last and since when, on the computer's monotonic clock.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lab import record
from lab.drill.driver import Watched

MARGIN_S = 2.0
FILE = "drill-last-operation.json"


def operation_revision(seen: Watched) -> int | None:
    """Revision of the controllers' last operation, 0 for none; None when no member of etcd has said it."""
    told = seen.status.get("seen", {}).get("leader", {})
    known = [view["operation_revision"] for view in told.values() if "operation_revision" in view]
    return max(known) if known else None


def remember(state: Path, revision: int, monotonic: float) -> float:
    """Since when (monotonic) this operation is known to stand; keeps it if it is new."""
    path = state / FILE
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if kept["revision"] == revision:
            return float(kept["monotonic"])
    record.save(path, {"revision": revision, "monotonic": monotonic})
    return monotonic


def rest_s(revision: int, since: float, now: float, block_s: float) -> float:
    """How long to wait until the controllers may act again. `block_s`: their block period."""
    return 0.0 if revision == 0 else max(0.0, since + block_s + MARGIN_S - now)
