"""Parameters of the PostgreSQL server that follow the rendered file (a reload applies most)."""

from __future__ import annotations

from datetime import timedelta

from hanbat.topology import Topology


def _ms(length: timedelta) -> str:
    return f"{round(length.total_seconds() * 1000)}ms"


def parameters(topology: Topology) -> dict[str, str]:
    """Parameters of `postgresql.parameters` in patroni.yml, the same at every site."""
    timing, server = topology.replication, topology.postgresql
    silent = _ms(timing.wal_sender_timeout)
    values = {
        "shared_buffers": f"{server.shared_buffers_mb}MB",
        "unix_socket_directories": "/run/postgresql",
        "password_encryption": "scram-sha-256",
        "timezone": "UTC",
        # Replication: commits wait for a vanished standby no longer than wal_sender_timeout.
        "synchronous_commit": "on",
        "wal_sender_timeout": silent,
        "wal_receiver_timeout": silent,
        "wal_receiver_status_interval": "1s",
        "wal_retrieve_retry_interval": "1s",
        # The first change of a page after a checkpoint logs all of it: a commit waits for that to cross
        # the WAN. And few checkpoints: initdb takes these two from the segment's size (`layout`), which
        # would be 64 MB and 5 MB.
        "wal_compression": "lz4" if server.version >= 15 else "on",
        "max_wal_size": "1GB",
        "min_wal_size": "80MB",
        "max_slot_wal_keep_size": f"{timing.max_slot_wal_keep_size_mb}MB",
        # A standby serves no application reads: its queries must delay neither the primary's vacuum
        # nor, for long, its own replay and with it a promotion.
        "hot_standby_feedback": "off",
        "max_standby_streaming_delay": "5s",
        # A client that died with its host lets go of its locks soon.
        "tcp_keepalives_idle": "5s",
        "tcp_keepalives_interval": "2s",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": "10s",
        "idle_in_transaction_session_timeout": "60s",
        # The journal keeps the log.
        "log_destination": "stderr",
        "logging_collector": "off",
        "log_line_prefix": "[%p] %q%u@%d/%a ",
        "log_timezone": "UTC",
        "lc_messages": "C",  # observers read why a login was refused
        "log_lock_waits": "on",
        "log_min_duration_statement": "2s",
        "jit": "off",
    }
    if server.version >= 14:
        values["client_connection_check_interval"] = "2s"
    return values
