"""How data gets from site to site: PostgreSQL, Patroni and etcd, protection modes, the LSN ring and RPO.

- `patroni_launcher`: starts Patroni, and puts in what Patroni does not do by itself.
- `mends/`: what it puts in, one idea a file.
- `salvage/`: what a returning host had alone is kept before anything destroys it.
- `lsn/`: the LSN ring: what would be lost now.
- `dcs/`: the steward, which keeps etcd's leader away from the active site.
- `render`, with `templates/`: the files of a machine; `layout`, `access`, `server`, `scram`: what they hold.
- `protection`, `sync_set`: what a protection mode means, and which standbys a commit waits for.
- `unprotected`: the record of when a standby was left out of that.
- `async_sql`, `local_sql`, `disk_room`: questions to PostgreSQL, each bounded in time.

May import: hanbat. Inside, arrows point down, too: the launcher, `mends`, then `salvage`, `lsn` and `dcs`,
which know nothing of each other.
"""
