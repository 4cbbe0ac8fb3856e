"""A modelled Patroni's claims of timeline numbers: the real code over the model's etcd.

Which number, which files, what is compared and what is put is decided by the real code. Only the wrapper
around the step before a promotion is written again, since here that step can be stopped between its requests.
What the members say of their timelines is not modelled: a claim has to do without it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from failover.transaction import LEADER, SYNC
from replication.mends import fresh_timeline, sync_swap
from replication.mends.fresh_timeline import KEY, Memory
from replication.mends.sync_swap import Put, Rider

from .engine import Engine
from .etcd import Entry, Etcd
from .history_files import Folder
from .postgres import Postgres
from .requests import Requests, Step
from .rules import NOBODY, PatroniRules, Sync
from .watching import WatchCache

HISTORY = "patroni/history"
TIMELINE = f"patroni/{KEY}"

Snapshot = dict[str, Entry]


class Keys:
    """Stands where the real code has Patroni's client. What would be sent is noted, and sent by the model."""

    sync_path, leader_path = SYNC, LEADER

    def __init__(self, host: str, cache: WatchCache) -> None:
        self._name, self._client, self._cache = host, self, cache
        self._asked: Mapping[str, Any] | None = None

    def asked(self) -> Mapping[str, Any] | None:
        asked, self._asked = self._asked, None
        return asked

    def client_path(self, name: str) -> str:
        return f"patroni/{name}"

    def get_cluster(self, path: str) -> list[dict[str, str]]:
        entry = self._cache.copy().get(TIMELINE)
        one = {"key": TIMELINE, "value": entry.value, "mod_revision": str(entry.revision)} if entry else None
        return [one] if one else []

    def handle_etcd_exceptions(self, function: Any) -> Any:
        return function(self)

    def retry(self, function: Any, client: Any) -> Any:
        return function(client)

    def handle_auth_errors(self, function: Any, *words: Any, retry: Any) -> Any:
        return function(self, *words, retry=retry)

    def call_rpc(self, method: str, fields: Mapping[str, Any], retry: Any) -> dict[str, Any]:
        assert method == "/kv/txn"
        self._asked = fields
        return {}

    def _restart_watcher(self) -> None:
        return


def transact(etcd: Etcd, asked: Mapping[str, Any]) -> int | None:
    """What etcd makes of a transaction of its JSON gateway: the new revision, or None."""
    if not all(_holds(etcd, compare) for compare in asked["compare"]):
        return None
    puts = [one["request_put"] for one in asked["success"]]
    return etcd.apply([_change(_text(put["key"]), _text(put["value"])) for put in puts])


def _text(word: str) -> str:
    return base64.b64decode(word).decode()


def _holds(etcd: Etcd, compare: Mapping[str, str]) -> bool:
    key = _text(compare["key"])
    if compare["target"] == "VALUE":
        entry = etcd.get(key)
        return entry is not None and entry.value == _text(compare["value"])
    return etcd.mod(key) == int(compare["mod_revision"] if compare["target"] == "MOD" else 0)


def _change(key: str, value: str) -> tuple[str, Any, int]:
    if key == SYNC:
        read = json.loads(value)
        return key, Sync(read["leader"], frozenset(read["members"])), 0
    return key, value, 0


class Claims(Requests):
    """What a Patroni does about timeline numbers; `take_sync` is its own step before a promotion."""

    def __init__(self, host: str, engine: Engine, etcd: Etcd, rules: PatroniRules, server: Postgres) -> None:
        super().__init__(host, engine, etcd, rules)
        self.server = server
        self.keys: Any = Keys(host, self.cache)
        self.rider, self.memory = Rider(), Memory()
        self.promoting = False

    def take_sync(self, snapshot: Snapshot) -> Step:
        raise NotImplementedError

    def swap_of(self, value: Sync, revision: int) -> Any:
        """What a write of /sync asks of etcd: alone, or with the claim that rides on it."""
        if value == NOBODY:  # the key is deleted, which is another function
            return super().swap_of(value, revision)
        word = json.dumps({"leader": value.leader, "members": sorted(value.members)})
        alone = super().swap_of(value, revision)
        sync_swap.set_sync_state_value(lambda *given: False, self.rider)(self.keys, word, str(revision))
        asked = self.keys.asked()
        return alone if asked is None else lambda: transact(self.etcd, asked)

    def before_promotion(self, snapshot: Snapshot) -> Step:
        """`fresh_timeline.before_promotion`, between whose steps this host may be stopped."""
        if not self.rules.claims:
            return (yield from self.take_sync(snapshot))
        if self.is_ordered():  # by a Patroni before this one
            return False
        unused, self.memory.unused, self.memory.untidy = self.memory.unused, None, True
        number, self.rider.put = self.prepare(snapshot, unused)
        try:
            promotes = yield from self.take_sync(snapshot)
            alone = self.rider.take()
        finally:
            self.rider.put = None
        promotes = promotes and (alone is None or (yield from self.write(alone)))
        if not promotes:
            self.memory.unused = number
            self.tidy()
        return promotes

    def prepare(self, snapshot: Snapshot, unused: int | None) -> tuple[int, Put | None]:
        before = fresh_timeline.claimed(self.keys)
        history = snapshot.get(HISTORY)
        heard = history.value if history else 0
        wal: Any = self.server.files
        number, again = fresh_timeline.made_ready(wal, self.server.timeline, heard, before, self.host, unused)
        self.log(f"{'has claimed' if again else 'claims'} timeline {number}")
        return number, None if again else fresh_timeline.put_of(self.keys, before, number, self.host)

    def write(self, put: Put) -> Step:
        """`sync_swap.write` of a claim alone."""
        sync_swap.write(self.keys, [put])
        asked = self.keys.asked()
        assert asked is not None
        return (yield from self.request(lambda: transact(self.etcd, asked)))

    def raise_number(self) -> Step:
        """`fresh_timeline._raise`: a primary's own number is claimed, if nobody has claimed it."""
        before, number = fresh_timeline.claimed(self.keys), self.server.timeline
        if self.rules.claims and number > before.number:
            self.before_write(self.host)
            yield 0
            yield from self.write(fresh_timeline.put_of(self.keys, before, number, self.host))

    def told_history(self) -> int:
        """What /history ends with: one above where this timeline came from, which is too low after a gap."""
        return self.server.files.parent(self.server.timeline) + 1

    def tidy(self) -> None:
        folder: Any = self.server.files
        fresh_timeline.tidy(folder)
        self.memory.untidy = False

    def is_untidy(self) -> bool:
        """`fresh_timeline.touch_member`, of a standby that is not being promoted."""
        idle = not self.server.primary and not self.promoting
        return self.memory.untidy and self.rules.claims and idle and not self.is_ordered()

    def is_ordered(self) -> bool:
        return self.rules.asks_server and self.server.is_ordered()


def first_claim(etcd: Etcd, host: str) -> None:
    """As a primary of timeline 1 has written it."""
    etcd.apply([(TIMELINE, json.dumps({"timeline": 1, "host": host}), 0)])


def folder_of(other: Folder) -> Folder:
    """What a rewind leaves: the files of the server that it copies."""
    made = Folder()
    made.texts = dict(other.texts)
    return made
