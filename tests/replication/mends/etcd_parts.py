"""Patroni's own etcd client and DCS, over an etcd in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
from patroni.dcs.etcd3 import Etcd3, PatroniEtcd3Client, base64_decode


class Etcd:
    """Keys with their revisions, and transactions as etcd makes them."""

    def __init__(self) -> None:
        self.revision = 10
        self.keys: dict[str, tuple[str, int]] = {}

    def put(self, key: str, value: str) -> None:
        self.revision += 1
        self.keys[key] = (value, self.revision)

    def holds(self, compare: dict[str, Any]) -> bool:
        value, revision = self.keys.get(base64_decode(compare["key"]), ("", 0))
        if compare["target"] == "VALUE":
            return revision > 0 and value == base64_decode(compare["value"])
        if compare["target"] == "CREATE":
            assert compare["create_revision"] == "0"
            return revision == 0
        return revision == int(compare["mod_revision"])

    def answer(self, method: str, fields: dict[str, Any]) -> dict[str, Any]:
        if method == "/kv/put":
            self.put(base64_decode(fields["key"]), base64_decode(fields["value"]))
            return {"header": {"revision": str(self.revision)}}
        assert method == "/kv/txn"
        if not all(self.holds(one) for one in fields["compare"]):
            return {"header": {"revision": str(self.revision)}}
        self.revision += 1
        for one in fields["success"]:
            put = one["request_put"]
            self.keys[base64_decode(put["key"])] = (base64_decode(put["value"]), self.revision)
        return {"header": {"revision": str(self.revision)}, "succeeded": True}


class Client(PatroniEtcd3Client):
    """Patroni's own requests. `answers_lost`: how many are made, and their answer never comes."""

    def __init__(self, etcd: Etcd) -> None:
        self.etcd, self.asked, self.answers_lost, self.restarts = etcd, 0, 0, 0
        self._reauthenticate = False

    def call_rpc(self, method: str, fields: dict[str, Any], retry: Any = None) -> dict[str, Any]:
        self.asked += 1
        answer = self.etcd.answer(method, fields)
        if self.answers_lost:
            self.answers_lost -= 1
            return {}
        return answer

    def _restart_watcher(self) -> None:
        self.restarts += 1

    def get_cluster(self, path: str) -> list[dict[str, Any]]:
        return [
            {"key": key, "value": value, "mod_revision": str(revision), "lease": None}
            for key, (value, revision) in self.etcd.keys.items()
        ]


class Dcs(Etcd3):
    """Patroni's own way to its keys, for one host."""

    def __init__(self, etcd: Etcd, name: str) -> None:
        self._abstract_client: Any = Client(etcd)
        self._base_path, self._name, self._has_failed = "/service/hanbat", name, False
        self._mpp: Any = type("Mpp", (), {"is_enabled": staticmethod(lambda: False)})

    def retry(self, method: Callable[..., Any], *words: Any, **named: Any) -> Any:
        return method(*words, **named, retry=None)
