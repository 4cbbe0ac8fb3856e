"""Statements that show whether PostgreSQL can still make a file longer.

On a full disk a small commit goes through: its WAL segment is there already. What an application writes
needs new pages sooner or later. So a few pages are added to a temporary table: PostgreSQL asks the file
system for each of them at once (`mdextend`). The commit shortens the file in place. Nothing of the table
goes into WAL; its definition does, once a session.

A table that is never vacuumed holds back the oldest transaction number of its database: a session that is
kept for long is to be renewed now and then.
"""

from __future__ import annotations

import psycopg2

CREATE = (
    "CREATE TEMP TABLE hanbat_room (filler name) WITH (fillfactor = 10) "
    "ON COMMIT DELETE ROWS TABLESPACE pg_default"
)
# With this fill factor eight rows of 64 bytes take a page: four pages.
EXTEND = "INSERT INTO pg_temp.hanbat_room SELECT 'x' FROM generate_series(1, 32)"
LACKS = {"53100": "disk full", "58030": "input/output error"}  # by SQLSTATE


def lack_of(error: Exception) -> str | None:
    """What the disk lacks, if that is what the server says."""
    if not isinstance(error, psycopg2.Error) or error.pgcode not in LACKS:
        return None
    return f"cannot extend a file: {LACKS[error.pgcode]}"
