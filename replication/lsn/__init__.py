"""The LSN ring: how much would be lost if the primary's site vanished now, in bytes and in seconds.

- `ring`: the samples and the rule. Pure.
- `view`: what Patroni's REST answers mean for it. Pure.
- `watch`: a round of answers goes in, the report comes out.
- `metrics`: the report for Prometheus.
- `service`: asks the hosts once a second, and answers `/rpo` and `/metrics`.

May import: hanbat; nothing of replication outside this folder.
"""
