"""What each protection mode means for Patroni's dynamic configuration (design, section 4)."""

from __future__ import annotations

from typing import Any

from hanbat.topology import ProtectionMode, Topology
from replication import sync_set

# With a sync set, being behind the old primary's last position says nothing: what was acknowledged
# is on every member of the set. A large transaction under way must not forbid the promotion.
ANY_LAG_BYTES = 2**50


def dynamic_configuration(topology: Topology) -> dict[str, Any]:
    """Settings that Patroni keeps in the DCS, the same for all members (`bootstrap.dcs`)."""
    timing, server = topology.replication, topology.postgresql
    synchronous = timing.mode is not ProtectionMode.MAX_PERFORMANCE
    return {
        "ttl": int(timing.ttl.total_seconds()),
        "loop_wait": int(timing.loop_wait.total_seconds()),
        "retry_timeout": int(timing.retry_timeout.total_seconds()),
        "maximum_lag_on_failover": ANY_LAG_BYTES if synchronous else timing.max_lag_mb * 2**20,
        "synchronous_mode": synchronous,
        "synchronous_mode_strict": timing.mode is ProtectionMode.MAX_PROTECTION,
        "synchronous_node_count": sync_set.node_count(topology),
        "check_timeline": True,
        # In a pure DCS outage the primary goes on while every member answers it. The sync set cannot
        # shrink meanwhile, so no acknowledged write is at risk; after a site loss it does not apply.
        "failsafe_mode": True,
        # A crashed primary is restarted in place only briefly, then a standby takes over.
        "primary_start_timeout": 5,
        # A primary that cannot stop (a walsender stuck on a dead link) is killed after this.
        "primary_stop_timeout": 10,
        # A slot of an absent member holds WAL up to max_slot_wal_keep_size, for a day at most.
        "member_slots_ttl": "24h",
        "postgresql": {
            "use_pg_rewind": True,
            "use_slots": True,
            # Those that Patroni takes from the DCS only: a standby with less refuses to start.
            "parameters": {
                "max_connections": server.max_connections,
                "max_worker_processes": server.max_worker_processes,
                "max_locks_per_transaction": server.max_locks_per_transaction,
                "max_prepared_transactions": server.max_prepared_transactions,
                "max_wal_senders": server.max_wal_senders,
                "max_replication_slots": server.max_wal_senders,
                "wal_level": "replica",
                "hot_standby": "on",
                "wal_log_hints": "on",
                "wal_keep_size": f"{timing.wal_keep_size_mb}MB",
            },
        },
    }
