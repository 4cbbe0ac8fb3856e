"""Parties and their keys.

A key is made by the caller from a random source, at least 32 characters, and is shown to the server only.
The server stores its SHA-256: a fast hash is right for a key of high entropy (nothing can be guessed, so
slow hashing would only slow each request); it would be wrong for a password. A key is never returned.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

from app.database import Database, Transaction
from app.errors import Refusal
from app.models import NewCompany, NewInstitution
from app.working_days import iso

Ids = Mapping[str, int]
"""The ids of a request's path, by name."""
CACHE_S = 30.0
CACHE_SIZE = 5_000


@dataclass(frozen=True, slots=True)
class Party:
    """Who is asking."""

    id: int
    kind: str
    name: str


def key_hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


class Parties:
    """Finds the party of a key. A party never changes, so a found one is remembered for a short time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache: dict[bytes, tuple[float, Party]] = {}

    def of_key(self, key: str) -> Party:
        """The party of a key; Refusal 401 when there is none."""
        digest = key_hash(key)
        known = self._cache.get(digest)
        if known is not None and time.monotonic() - known[0] < CACHE_S:
            return known[1]
        row = self._database.read(
            lambda tx: tx.maybe("SELECT id, kind, name FROM procurement.party WHERE key_hash = %s", (digest,))
        )
        if row is None:
            raise Refusal(
                401, "unknown_key", "this key belongs to no party", "send Authorization: Bearer KEY"
            )
        if len(self._cache) >= CACHE_SIZE:
            self._cache.clear()
        party = Party(**row)
        self._cache[digest] = (time.monotonic(), party)
        return party

    def of_id(self, party_id: int) -> Party | None:
        row = self._database.read(
            lambda tx: tx.maybe("SELECT id, kind, name FROM procurement.party WHERE id = %s", (party_id,))
        )
        return None if row is None else Party(**row)


def add_institution(tx: Transaction, party: Party, ids: Ids, body: NewInstitution, request_key: str) -> dict:
    return _add(tx, "institution", body.name, None, body.key, request_key)


def add_company(tx: Transaction, party: Party, ids: Ids, body: NewCompany, request_key: str) -> dict:
    return _add(tx, "company", body.name, body.business_number, body.key, request_key)


def _add(tx: Transaction, kind: str, name: str, number: str | None, key: str, request_key: str) -> dict:
    row = tx.one(
        "INSERT INTO procurement.party (kind, name, business_number, key_hash, request_key)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING id, created_at",
        (kind, name, number, key_hash(key), request_key),
    )
    answer = {"id": row["id"], "kind": kind, "name": name, "created_at": iso(row["created_at"])}
    return answer if number is None else answer | {"business_number": number}


def me(tx: Transaction, party: Party, ids: Ids) -> dict:
    return {"id": party.id, "kind": party.kind, "name": party.name}
