"""Etcd's HTTP gateway (v3, JSON): our transactions as its requests, its answers as rows. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from failover.transaction import Compare, Put, Target, Transaction

PATRONI, OURS = "patroni/", "hanbat/"


class EtcdAnswerWrong(Exception):
    """The gateway answered something that is not etcd's."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as read. `revision` is its mod_revision, `lease` 0 when it has none."""

    value: str
    revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Where the two groups of keys stand in etcd."""

    cluster: str

    @property
    def patroni(self) -> str:
        return f"/service/{self.cluster}/"

    @property
    def ours(self) -> str:
        """Outside Patroni's prefix: its watch is not woken by our pulses."""
        return f"/hanbat/{self.cluster}/"

    def real(self, key: str) -> str:
        """Raises ValueError for a key of neither group."""
        if key.startswith(PATRONI):
            return self.patroni + key.removeprefix(PATRONI)
        if key.startswith(OURS):
            return self.ours + key.removeprefix(OURS)
        raise ValueError(f"no prefix for {key}")

    def short(self, key: str) -> str:
        """The inverse of `real`; raises ValueError."""
        if key.startswith(self.patroni):
            return PATRONI + key.removeprefix(self.patroni)
        if key.startswith(self.ours):
            return OURS + key.removeprefix(self.ours)
        raise ValueError(f"{key} is below neither prefix")


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def unb64(text: str) -> str:
    return base64.b64decode(text).decode()


def transaction_body(transaction: Transaction, prefixes: Prefixes) -> dict[str, Any]:
    """Body of POST /v3/kv/txn."""
    success: list[dict[str, Any]] = []
    for change in transaction.changes:
        key = b64(prefixes.real(change.key))
        if isinstance(change, Put):
            put = {"key": key, "value": b64(change.value), "lease": str(change.lease)}
            success.append({"request_put": put})
        else:
            success.append({"request_delete_range": {"key": key}})
    return {"compare": [_compare(one, prefixes) for one in transaction.compares], "success": success}


def _compare(compare: Compare, prefixes: Prefixes) -> dict[str, Any]:
    key = b64(prefixes.real(compare.key))
    if compare.target is Target.VALUE:
        return {"key": key, "target": "VALUE", "result": "EQUAL", "value": b64(str(compare.equals))}
    return {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": str(compare.equals)}


def snapshot_body(prefixes: Prefixes) -> dict[str, Any]:
    """Both groups of keys at one revision: a transaction of two linearizable range reads."""

    def below(prefix: str) -> dict[str, Any]:
        return {"request_range": {"key": b64(prefix), "range_end": b64(range_end(prefix))}}

    return {"success": [below(prefixes.patroni), below(prefixes.ours)]}


def range_end(prefix: str) -> str:
    """The first key after all those that begin with the prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def entries(answer: Mapping[str, Any], prefixes: Prefixes) -> dict[str, Entry]:
    """The rows of a snapshot's answer, by short name. Raises EtcdAnswerWrong."""
    try:
        if "header" not in answer:
            raise EtcdAnswerWrong("no header")
        found: dict[str, Entry] = {}
        for response in cast(list[dict[str, Any]], answer.get("responses", [])):
            for row in cast(list[dict[str, Any]], response["response_range"].get("kvs", [])):
                found[prefixes.short(unb64(row["key"]))] = Entry(
                    unb64(row.get("value", "")), int(row["mod_revision"]), int(row.get("lease", 0))
                )
    except (KeyError, TypeError, ValueError) as error:
        raise EtcdAnswerWrong(f"no snapshot: {error!r}") from error
    return found


def succeeded(answer: Mapping[str, Any]) -> bool:
    """Whether a transaction was carried out. Raises EtcdAnswerWrong."""
    if "header" not in answer:
        raise EtcdAnswerWrong("a transaction's answer has no header")
    return answer.get("succeeded", False) is True


def revision(answer: Mapping[str, Any]) -> int:
    """The revision of the store after a request. Raises EtcdAnswerWrong."""
    try:
        return int(answer["header"]["revision"])
    except (KeyError, TypeError, ValueError) as error:
        raise EtcdAnswerWrong("no revision in the header") from error
