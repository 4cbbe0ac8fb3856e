"""An etcd in memory for several clients: transactions, leases, and answers that are lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from failover.etcd_dcs import LeaseGone, NotAnswered
from failover.etcd_json import Entry
from failover.executor import Answer
from failover.transaction import Compare, Put, Target, Transaction


@dataclass
class MemoryEtcd:
    """The store. `late`: requests that arrive when `deliver` is called."""

    keys: dict[str, Entry] = field(default_factory=dict[str, Entry])
    revision: int = 100
    leases: set[int] = field(default_factory=set[int])
    last_lease: int = 7000
    late: list[Transaction] = field(default_factory=list[Transaction])

    def put(self, key: str, value: str, lease: int = 0) -> None:
        """As a program of another kind writes."""
        self.revision += 1
        self.keys[key] = Entry(value, self.revision, lease)

    def apply(self, transaction: Transaction) -> int | None:
        """As `EtcdDcs.write`, answered at once. Raises LeaseGone."""
        if not all(self._holds(one) for one in transaction.compares):
            return None
        leases = {one.lease for one in transaction.changes if isinstance(one, Put)} - {0}
        if leases - self.leases:
            raise LeaseGone(str(leases))
        self.revision += 1
        for change in transaction.changes:
            if isinstance(change, Put):
                self.keys[change.key] = Entry(change.value, self.revision, change.lease)
            else:
                self.keys.pop(change.key, None)
        return self.revision

    def _holds(self, compare: Compare) -> bool:
        entry = self.keys.get(compare.key)
        if compare.target is Target.VALUE:
            return entry is not None and entry.value == compare.equals
        return (entry.revision if entry else 0) == compare.equals

    def end(self, lease: int) -> None:
        """It ran out or was revoked."""
        self.leases.discard(lease)
        self.keys = {key: entry for key, entry in self.keys.items() if entry.lease != lease}

    def deliver(self) -> list[bool]:
        """Whether each of the late requests had an effect."""
        done: list[bool] = []
        for one in self.late:
            try:
                done.append(self.apply(one) is not None)
            except LeaseGone:
                done.append(False)
        self.late = []
        return done


@dataclass
class Client:
    """`EtcdDcs` over the store. `lose`: "answer" or "request" of the next write; `mute`: nobody answers."""

    etcd: MemoryEtcd
    lose: str = ""
    mute: bool = False
    before_write: Callable[[], None] = lambda: None

    def close(self) -> None:
        """Nothing is open."""

    def snapshot(self) -> dict[str, Entry]:
        self._heard()
        return dict(self.etcd.keys)

    def write(self, transaction: Transaction) -> int | None:
        self._heard()
        self.before_write()
        lost, self.lose = self.lose, ""
        if lost == "request":
            self.etcd.late.append(transaction)
        elif lost == "answer":
            self.etcd.apply(transaction)
        if lost:
            raise NotAnswered(f"the {lost} was lost", sent=True)
        return self.etcd.apply(transaction)

    def grant(self, ttl_s: int) -> int:
        self._heard()
        assert ttl_s > 0
        self.etcd.last_lease += 1
        self.etcd.leases.add(self.etcd.last_lease)
        return self.etcd.last_lease

    def keep_alive(self, lease: int) -> None:
        if lease not in self.etcd.leases:
            raise LeaseGone(str(lease))

    def revoke(self, lease: int) -> Answer:
        if self.mute:
            return Answer.UNKNOWN
        self.etcd.end(lease)
        return Answer.OK

    def _heard(self) -> None:
        if self.mute:
            raise NotAnswered("nobody answered", sent=True)
