"""max_protection: what is required when Patroni asks, and whether its function is still the one read."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patroni import version
from patroni.collections import CaseInsensitiveSet
from patroni.postgresql.misc import PostgresqlState
from patroni.postgresql.sync import SyncHandler, parse_sync_standby_names

from replication.mends import remote_sync
from replication.mends.remote_sync import install, required
from replication.mends.wrapping import ReplacedFunctionChanged
from replication.patroni_launcher import check_version

REMOTE = frozenset({"gg-db1", "gg-db2"})
names = st.frozensets(st.sampled_from(["dj-db2", "dj-db3", "gg-db1", "gg-db2", "*"]))


@given(names)
def test_a_commit_always_waits_for_a_remote_member(asked: frozenset[str]) -> None:
    assert required(asked, REMOTE) & REMOTE


@given(names)
def test_who_is_asked_for_is_required_and_a_star_never(asked: frozenset[str]) -> None:
    """`/sync` lists at most what was asked for, so each of it must acknowledge."""
    assert asked - {"*"} <= required(asked, REMOTE)
    assert "*" not in required(asked, REMOTE)


@given(names)
def test_a_set_with_a_remote_member_stays_as_it_is(asked: frozenset[str]) -> None:
    if asked & REMOTE:
        assert required(asked, REMOTE) == asked - {"*"}


def test_names_compare_as_postgresql_compares_them() -> None:
    assert required({"GG-DB1"}, REMOTE) == {"GG-DB1"}


class FakeConfig:
    def __init__(self) -> None:
        self.written: list[str | None] = []

    def set_synchronous_standby_names(self, value: str | None) -> bool:
        self.written.append(value)
        return True


class FakePostgresql:
    """A standby that is about to be promoted: Patroni writes the names and needs no answer."""

    supports_multiple_sync = True
    supports_quorum_commit = True
    state = PostgresqlState.STOPPED

    def __init__(self) -> None:
        self.config = FakeConfig()


@pytest.fixture
def original() -> Iterator[Any]:
    kept = SyncHandler.set_synchronous_standby_names
    yield kept
    SyncHandler.set_synchronous_standby_names = kept


def written(asked: Any, num: int | None = None) -> str | None:
    postgresql = FakePostgresql()
    SyncHandler(postgresql).set_synchronous_standby_names(asked, num)  # pyright: ignore[reportArgumentType]
    return postgresql.config.written[-1]


def test_patronis_own_strict_mode_accepts_any_standby(original: Any) -> None:
    """Why the function is replaced: strict writes `*`, and shrinks to the in-site standby."""
    assert written(CaseInsensitiveSet(), 1) == "*"
    assert written(CaseInsensitiveSet(["dj-db2"])) == '"dj-db2"'


def test_after_a_promotion_all_remote_members_are_required(original: Any) -> None:
    install(REMOTE)
    assert written(CaseInsensitiveSet(), 1) == '2 ("gg-db1","gg-db2")'
    assert written(CaseInsensitiveSet("*")) == '2 ("gg-db1","gg-db2")'


def test_with_the_other_site_gone_the_in_site_standby_is_not_enough(original: Any) -> None:
    install(frozenset({"gg-db1"}))
    value = written(CaseInsensitiveSet(["dj-db2"]))
    assert value == '2 ("dj-db2","gg-db1")'
    parsed = parse_sync_standby_names(value)
    assert parsed.num == len(parsed.members)  # all of them, so /sync = dj-db2 tells the truth


def test_a_set_with_a_remote_member_is_written_by_patroni_itself(original: Any) -> None:
    plain = written(CaseInsensitiveSet(["gg-db1", "dj-db2"]))
    install(frozenset({"gg-db1"}))
    assert written(CaseInsensitiveSet(["gg-db1", "dj-db2"])) == plain == '2 ("dj-db2","gg-db1")'


def test_the_replaced_function_is_the_one_that_was_read() -> None:
    """Fails loudly on a new Patroni: then read the function and its callers in ha.py once more."""
    check_version(version.__version__)
    assert (
        tuple(inspect.signature(SyncHandler.set_synchronous_standby_names).parameters)
        == remote_sync.SIGNATURE
    )
    source = inspect.getsource(SyncHandler.set_synchronous_standby_names)
    for line in (
        "has_asterisk = '*' in sync or num and num >= 1 and not sync",
        "sync = [quote_standby_name(x) for x in sorted(sync)]",
        "num = len(sync)",
        "sync_param = f'{prefix}{num} ({sync_param})'",
        "self._postgresql.config.set_synchronous_standby_names(sync_param)",
    ):
        assert line in source


def test_a_changed_signature_is_refused(original: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(self: Any, sync: Any, num: Any, more: Any) -> None: ...

    monkeypatch.setattr(SyncHandler, "set_synchronous_standby_names", changed)
    with pytest.raises(ReplacedFunctionChanged):
        install(REMOTE)
    assert SyncHandler.set_synchronous_standby_names is changed
