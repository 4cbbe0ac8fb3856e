"""What a returning host has beyond the new primary's history: kept, decoded, and looked up there.

How it goes, and what an operator does with it, is `docs/salvage.md`. Read the modules in this order:

- `wal`: where two histories part, and which segments hold a tail. Pure.
- `server`: PostgreSQL's programs, bounded, and the isolated server on an old data directory.
- `tail`: what a data directory has beyond the parting.
- `store`: the evidence on disk, complete or absent.
- `records`: the rows that the tail left, read from the isolated server.
- `compare`: whether the new primary has them.
- `report`: what a person is told.
- `settings`, with `words.yml`: the bounds, and the words for what is found.
- `keeping`: all of it in one order; `replication.mends.salvage_hook` calls it before Patroni destroys a tail.
- `cli`: `hanbat salvage`.

May import: hanbat; nothing of replication outside this folder.
"""
