"""Observe, plan, act: observers, the pure planner, the executor; switchover and failback.

Empty until part 2: today a takeover is Patroni's own, when its lease runs out.
May import: `hanbat`, `replication`, `backup_site`, `primary`.
"""
