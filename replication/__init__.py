"""How data gets from site to site: PostgreSQL, Patroni and etcd, protection modes, the LSN ring and RPO.

May import: hanbat.
"""
