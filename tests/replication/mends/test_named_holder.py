"""A lock holder that /sync does not name gives the lock back; with Patroni's own classes where it matters."""

from __future__ import annotations

from dataclasses import dataclass, field

import patroni.postgresql  # noqa: F401  (first: Patroni's modules import each other in a circle)
import pytest
from patroni.dcs import SyncState
from patroni.ha import Ha

from replication.mends.named_holder import SIGNATURE, install, is_named, replacement


@dataclass
class Postgresql:
    name: str
    primary: bool

    def is_primary(self) -> bool:
        return self.primary


@dataclass
class Cluster:
    sync: SyncState


@dataclass
class Holder:
    """Holds the lock; remembers what was done to it."""

    cluster: Cluster
    state_handler: Postgresql
    paused: bool = False
    synchronous: bool = True
    done: list[str] = field(default_factory=list)

    def is_paused(self) -> bool:
        return self.paused

    def sync_mode_is_active(self) -> bool:
        return self.synchronous and not self.cluster.sync.is_empty

    def demote(self, mode: str) -> None:
        self.done.append(f"demote {mode}")

    def release_leader_key_voluntarily(self) -> None:
        self.done.append("release")


def holder(name: str, leader: str | None, members: str, *, primary: bool = False, **other: bool) -> Holder:
    sync = SyncState.from_node("7", {"leader": leader, "sync_standby": members} if leader else None)
    return Holder(Cluster(sync), Postgresql(name, primary), **other)


def enforce(who: Holder) -> str:
    return replacement(lambda self, message, promote_message: promote_message)(who, "stay", "promoted")


@pytest.mark.parametrize("primary", [True, False])
@pytest.mark.parametrize(("leader", "members"), [("dj-db1", "gg-db1"), ("gg-db1", "dj-db1,dj-db2")])
def test_a_named_holder_is_left_to_patroni(leader: str, members: str, primary: bool) -> None:
    who = holder("gg-db1", leader, members, primary=primary)
    assert enforce(who) == "promoted"
    assert who.done == []


def test_an_unnamed_standby_gives_the_lock_back_and_does_not_promote() -> None:
    who = holder("gg-db1", "dj-db1", "dj-db2")
    assert "gave the lock back" in enforce(who)
    assert who.done == ["release"]


def test_an_unnamed_primary_stops_before_it_gives_the_lock_back() -> None:
    who = holder("dj-db1", "gg-db1", "", primary=True)
    assert "demoted" in enforce(who)
    assert who.done == ["demote immediate"]


@pytest.mark.parametrize(
    "who",
    [
        holder("dj-db1", None, ""),
        holder("dj-db1", "gg-db1", "", synchronous=False),
        holder("dj-db1", "gg-db1", "", paused=True),
    ],
    ids=["no /sync yet", "no synchronous mode", "a person has paused Patroni"],
)
def test_where_sync_names_nobody_or_a_person_decides_patroni_goes_on(who: Holder) -> None:
    assert is_named(who)


def test_it_is_patronis_own_function_that_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    import inspect

    original = Ha.enforce_primary_role
    monkeypatch.setattr(Ha, "enforce_primary_role", original)  # put back afterwards
    assert tuple(inspect.signature(original).parameters) == SIGNATURE
    install()
    assert Ha.enforce_primary_role is not original
    # What the rule calls and asks is there, under these names.
    for name in ("is_paused", "sync_mode_is_active", "demote", "release_leader_key_voluntarily"):
        assert callable(getattr(Ha, name))


def test_every_way_to_being_primary_goes_through_the_wrapped_function() -> None:
    """`promote` of PostgreSQL is called in one place of Patroni's loop, inside enforce_primary_role."""
    import inspect

    import patroni.ha

    source = inspect.getsource(patroni.ha)
    inside = inspect.getsource(patroni.ha.Ha.enforce_primary_role)
    assert source.count("state_handler.promote") == inside.count("state_handler.promote") >= 1
