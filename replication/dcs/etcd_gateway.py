"""The few calls of etcd's HTTP gateway (v3, JSON) that replication needs, each bounded in time."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

TIMEOUT_S = 1.0


class EtcdUnanswered(Exception):
    """A member did not answer in time, refused, or answered something else."""


def call(url: str, path: str, body: dict[str, Any], limit_s: float = TIMEOUT_S) -> dict[str, Any]:
    """POST to a member. Raises EtcdUnanswered."""
    request = Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=limit_s) as answer:
            document: Any = json.load(answer)
    except HTTPError as error:
        with error:
            detail = error.read(300).decode("utf-8", "replace")
        raise EtcdUnanswered(f"{url}{path}: {error.code} {detail}") from error
    except (OSError, ValueError) as error:
        raise EtcdUnanswered(f"{url}{path}: {error}") from error
    if not isinstance(document, dict):
        raise EtcdUnanswered(f"{url}{path}: no JSON object")
    return cast(dict[str, Any], document)


def value_of(url: str, key: str) -> str | None:
    """The value of a key, None when the key is not there (a read through a majority)."""
    answer = call(url, "/v3/kv/range", {"key": _b64(key.encode())})
    rows = answer.get("kvs", [])
    return _text(rows[0]["value"]) if rows else None


def values_below(url: str, prefixes: Sequence[str], limit_s: float) -> list[dict[str, str]]:
    """For each prefix its keys with their values, all of one revision. Raises EtcdUnanswered."""
    ranges = [
        {"request_range": {"key": _b64(prefix.encode()), "range_end": _b64(_behind(prefix))}}
        for prefix in prefixes
    ]
    answer = call(url, "/v3/kv/txn", {"success": ranges}, limit_s)
    try:
        rows = [one["response_range"].get("kvs", []) for one in answer["responses"]]
        return [{_text(row["key"]): _text(row["value"]) for row in found} for found in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise EtcdUnanswered(f"{url}: {error!r}") from error


def _behind(prefix: str) -> bytes:
    """The first key behind all that begin with it."""
    raw = prefix.encode()
    return raw[:-1] + bytes([raw[-1] + 1])


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode()


def leader_id(url: str) -> tuple[str, str | None]:
    """The member's own id, and the id of the leader that it follows (None: it knows none)."""
    answer = call(url, "/v3/maintenance/status", {})
    leader = answer.get("leader", "0")
    return str(answer["header"]["member_id"]), None if leader == "0" else str(leader)


def member_ids(url: str) -> dict[str, str]:
    """Id of each started member by its name."""
    answer = call(url, "/v3/cluster/member/list", {})
    return {row["name"]: str(row["ID"]) for row in answer.get("members", []) if row.get("name")}


def is_healthy(url: str) -> bool | None:
    """Whether a member answers with a majority behind it; None when it does not answer at all."""
    try:
        with urlopen(f"{url}/health", timeout=TIMEOUT_S) as answer:
            return json.load(answer).get("health") in ("true", True)
    except HTTPError as error:
        error.close()
        return False
    except (OSError, ValueError):
        return None


def move_leader(url: str, target: str) -> None:
    """Hand over the leadership; `url` must be the leader's. Raises EtcdUnanswered."""
    call(url, "/v3/maintenance/transfer-leadership", {"targetID": target})
