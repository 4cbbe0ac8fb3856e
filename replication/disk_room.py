"""Statements that show whether PostgreSQL can still make a file longer.

On a full disk a small commit goes through: its WAL segment is there already. What an application writes
needs new pages sooner or later. So a few pages are added to a temporary table: PostgreSQL asks the file
system for each of them at once (`mdextend`). The commit shortens the file in place. Nothing of the table
goes into WAL; its definition does, once a session.

A table that is never vacuumed holds back the oldest transaction number of its database: a session that is
kept for long is to be renewed now and then.
"""

from __future__ import annotations

import re

import psycopg2

CREATE = (
    "CREATE TEMP TABLE hanbat_room (filler name) WITH (fillfactor = 10) "
    "ON COMMIT DELETE ROWS TABLESPACE pg_default"
)
# With this fill factor eight rows of 64 bytes take a page: four pages.
EXTEND = "INSERT INTO pg_temp.hanbat_room SELECT 'x' FROM generate_series(1, 32)"
LACKS = {"53100": "disk full", "58030": "input/output error"}  # by SQLSTATE
# PostgreSQL gives a file's error the class of its errno (`errcode_for_file_access`): a file system that is
# read-only is of the class of a missing privilege, a quota or a broken file system of XX. So the part of the
# server that speaks is asked, which depends on no language: these speak of files.
FILES = frozenset({"md.c", "fd.c", "slru.c", "xlog.c"})
RESOURCES, SYSTEM, INTERNAL = "53", "58", "XX"
# A login that is refused has no SQLSTATE for a client, only text (`lc_messages` is C: replication/server.py).
AT_LOGIN = re.compile(
    r"FATAL: .* file .*: (Read-only file system|Structure needs cleaning|Input/output error"
    r"|Disk quota exceeded|No space left on device)"
)


def lack_of(error: Exception, *, made: bool) -> str | None:
    """What the disk lacks, if that is what the server says to these statements; None: not the disk.

    `made`: the table was there before, and had been extended.
    """
    if not isinstance(error, psycopg2.Error) or error.pgcode is None:
        return None
    told = error.diag
    return lack(error.pgcode, told.source_file or "", told.message_primary or "", made=made)


def lack(code: str, source: str, message: str, *, made: bool) -> str | None:
    """The same of a SQLSTATE, the file of the server's source that speaks, and its message.

    An internal error counts once the table is there: then the same statement was carried out before. Of a
    table that a person has dropped, a cancel or a server that stops (classes 42, 57) nothing is said here.
    """
    files = source in FILES
    if not files and code[:2] not in (RESOURCES, SYSTEM, *((INTERNAL,) if made else ())):
        return None
    return f"cannot extend a file: {LACKS.get(code) or message.rsplit(': ', 1)[-1] or code}"


def lack_at_login(error: Exception) -> str | None:
    """The same of a login. On a file system that is read-only a new session cannot open a single table."""
    told = AT_LOGIN.search(str(error)) if isinstance(error, psycopg2.Error) else None
    return f"nobody can log in: {told.group(1)}" if told else None
