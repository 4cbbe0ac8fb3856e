"""What the load is told before it starts: one frozen plan, from the parent to the load as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

PROBE_INTERVAL_S = 0.2


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """Addresses, keys, rates and bounds of one load. URLs have no slash at the end."""

    run: str  # every idempotency key begins with it
    seed: int
    wall: float  # the clock's anchor, see `lab.drill.clock`
    monotonic: float
    operator_key: str
    edges: Mapping[str, str]  # site -> URL of its edge
    patroni: Mapping[str, str]  # db host -> URL of Patroni's REST API
    lsn_ring: Mapping[str, str]  # db host -> URL of the LSN ring
    etcd: Mapping[str, str]  # etcd host -> client URL, the witness first
    leader_key: str  # Patroni's leader key in etcd
    sync_key: str  # Patroni's /sync: who may be promoted
    operation_key: str  # the controllers' last operation, with its epoch
    operations_path: str
    probes_path: str
    canary_rate_per_s: float = 20.0
    bidder_rate_per_s: float = 4.0
    bidder_tenders: int = 8
    bidders_at_once: int = 8
    lives: int = 3
    life_pause_s: float = 1.0
    companies: int = 60
    official: bool = True  # whether the official tender is part of this drill
    official_first: int = 40
    official_bidding_s: int = 46
    request_timeout_s: float = 2.0
    connect_timeout_s: float = 1.0
    probe_interval_s: float = PROBE_INTERVAL_S
    ring_interval_s: float = 1.0
    status_interval_s: float = 0.1
    max_s: float = 300.0

    @classmethod
    def read(cls, path: Path) -> LoadPlan:
        """Raises TypeError for a key that is not a field."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """The file holds the operator's key: mode 0600."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")
