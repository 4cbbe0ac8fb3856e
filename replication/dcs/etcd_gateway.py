"""The few calls of etcd's HTTP gateway (v3, JSON) that the steward needs, each bounded in time."""

from __future__ import annotations

import base64
import json
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

TIMEOUT_S = 1.0


class EtcdUnanswered(Exception):
    """A member did not answer in time, refused, or answered something else."""


def call(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """POST to a member. Raises EtcdUnanswered."""
    request = Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=TIMEOUT_S) as answer:
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
    answer = call(url, "/v3/kv/range", {"key": base64.b64encode(key.encode()).decode()})
    rows = answer.get("kvs", [])
    return base64.b64decode(rows[0]["value"]).decode() if rows else None


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
