"""Patroni's cache of etcd: fed by a watch, late, one event at a time (etcd3.py, `KVCache`, 4.1.5).

`get_cluster` copies this cache; it does not ask etcd. So what a loop calls its snapshot can be old, and,
as events are put in one by one, can stand in the middle of one transaction. The host's own writes are put
in at once, before the watch tells of them.
"""

from __future__ import annotations

from .etcd import Entry, Etcd, Event


class WatchCache:
    def __init__(self, etcd: Etcd, host: str) -> None:
        self.etcd, self.host = etcd, host
        self.keys: dict[str, Entry] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """One range read: a consistent copy."""
        self.keys = {key: entry for key, entry in self.etcd.data.items() if key.startswith("patroni/")}
        self.position, self.inside = len(self.etcd.history), 0

    def wrote(self, key: str, value: object, revision: int, lease: int = 0) -> None:
        """The host's own write."""
        self._apply(Event(key, value, revision, lease))

    def copy(self) -> dict[str, Entry]:
        """What a loop takes as its snapshot. A host that is cut off keeps reading what it had."""
        if self.etcd.serves(self.host):
            self._advance()
        return dict(self.keys)

    def _advance(self) -> None:
        rng, history = self.etcd.engine.rng, self.etcd.history
        until = self.etcd.engine.now - rng.randrange(2, 40)
        while self.position < len(history) and history[self.position][0] <= until:
            events = history[self.position][1]
            torn = len(events) > 1 and rng.random() < self.etcd.torn
            stop = rng.randrange(self.inside, len(events)) if torn else len(events)
            for event in events[self.inside : stop]:
                self._apply(event)
            if torn:
                self.inside = stop
                return
            self.position, self.inside = self.position + 1, 0

    def _apply(self, event: Event) -> None:
        if not event.key.startswith("patroni/"):
            return
        known = self.keys.get(event.key)
        if known is not None and known.revision >= event.revision:
            return
        if event.value is None:
            self.keys.pop(event.key, None)
        else:
            self.keys[event.key] = Entry(event.value, event.revision, event.lease)
