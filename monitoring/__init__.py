"""Exporter, Prometheus and Alertmanager rules, dashboards, the operators' console.

Empty until part 5; what each machine measures already is served by its own unit
(`replication.lsn.service`, the application's `/metrics`, HAProxy's and Patroni's).
May import: everything below it (`docs/architecture.md`, Layers).
"""
