"""A write of `/sync` always compares: the revision that was read, or "no key" while holding the lock.

Patroni 4.1 swaps `/sync` by its revision; where its snapshot shows none (the synchronous mode was off), it
puts the key without looking. A primary that sleeps before that put, loses its lock and wakes after another
has been promoted, has named others in `/sync` and has acknowledged, would take `/sync` from it.

A promotion's write may carry a claim of its timeline (`fresh_timeline`): both are written, or none is.

One function is wrapped, `Etcd3.set_sync_state_value`, which every write of `/sync` goes through.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from replication.mends.wrapping import known, wrap

ABSENT = "0"  # as a revision
Words = Mapping[str, Any]  # of etcd's JSON gateway


@dataclass(frozen=True, slots=True)
class Put:
    """A value for a key that is still at `revision`."""

    key: str
    value: str
    revision: str


class Rider:
    """What the next write of `/sync` carries with it; None once a write has begun."""

    def __init__(self) -> None:
        self.put: Put | None = None

    def take(self) -> Put | None:
        put, self.put = self.put, None
        return put


RIDER = Rider()


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def at(key: str, revision: str) -> Words:
    """The comparison with a revision. An absent key has 0 as its revision of creation."""
    if revision == ABSENT:
        return {"key": encoded(key), "target": "CREATE", "create_revision": ABSENT}
    return {"key": encoded(key), "target": "MOD", "mod_revision": revision}


def holds(key: str, value: str) -> Words:
    return {"key": encoded(key), "target": "VALUE", "value": encoded(value)}


def transact(client: Any, compares: list[Words], puts: list[Words], *, retry: Any = None) -> dict[str, Any]:
    """etcd's answer; empty where a comparison failed. Patroni's own `txn` takes one comparison only.

    A failed one may mean that what Patroni has read is old: it is read anew, as Patroni does.
    """
    success = [{"request_put": put} for put in puts]
    answer = client.call_rpc("/kv/txn", {"compare": compares, "success": success}, retry)
    if answer.get("succeeded"):
        return answer
    client._restart_watcher()
    return {}


def write(dcs: Any, puts: list[Put], *more: Words) -> str | bool:
    """The revision at which all were put; False where something was not as read, or etcd did not answer."""
    compares = [at(put.key, put.revision) for put in puts] + list(more)
    values: list[Words] = [{"key": encoded(put.key), "value": encoded(put.value)} for put in puts]

    def once(client: Any, *, retry: Any = None) -> dict[str, Any]:
        return client.handle_auth_errors(transact, compares, values, retry=retry)

    def asked(self: Any) -> str | bool:
        return self.retry(once, self._client).get("header", {}).get("revision", False)

    return dcs.handle_etcd_exceptions(asked)


def set_sync_state_value(original: Callable[..., str | bool], rider: Rider) -> Callable[..., str | bool]:
    """In the place of the function of that name, which swaps `/sync` alone."""

    def swap(self: Any, value: str, version: str | None = None) -> str | bool:
        claim = rider.take()
        if claim is None and version is not None:
            return original(self, value, version)
        puts = [Put(self.sync_path, value, ABSENT if version is None else str(version))]
        mine = () if version is not None else (holds(self.leader_path, self._name),)
        return write(self, puts + ([claim] if claim else []), *mine)

    return swap


def install(rider: Rider = RIDER) -> None:
    """Wraps the function in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `dcs` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.dcs.etcd3 import Etcd3, PatroniEtcd3Client  # pyright: ignore[reportMissingTypeStubs]

    known(PatroniEtcd3Client, "call_rpc", ("self", "method", "fields", "retry"))
    # Patroni hides its parameters behind a decorator.
    hidden = ("self", "args", "kwargs")
    wrap(Etcd3, "set_sync_state_value", hidden, lambda original: set_sync_state_value(original, rider))
