"""The DCS steward: it keeps the leader of etcd away from the active site.

- `leader`: where the leader should stand. Pure.
- `etcd_gateway`: the few calls of etcd that replication needs, each bounded in time.
- `steward`: the service beside each member of etcd.

May import: hanbat; nothing of replication outside this folder.
"""
