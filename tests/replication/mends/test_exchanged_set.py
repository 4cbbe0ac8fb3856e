"""While the names of `synchronous_standby_names` change, no commit goes without those who stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations, product
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import psycopg2
import pytest
from patroni.postgresql.config import ConfigHandler

from replication.mends import exchanged_set
from replication.mends.exchanged_set import exchanged, is_read, parsed, stage, written
from replication.mends.gate import GATE
from replication.mends.wrapping import known

HOSTS = "abijn"
Names = tuple[str, ...]  # one value; commits wait for as many as it has


def releases(read: Mapping[str, Names]) -> Iterator[frozenset[str]]:
    """By each walsender, for each order of those with the same place: whose flush a commit needs.

    As in PostgreSQL 15, `SyncRepGetSyncRecPtr`. `read`: what each walsender has read.
    """
    places = {one: names.index(one) + 1 for one, names in read.items() if one in names}
    for order in permutations(places):
        candidates = sorted(order, key=lambda one: places[one])
        for one, names in read.items():
            first = candidates[: len(names)]
            if one in first and len(first) == len(names):
                yield frozenset(first)


def shows(read: Mapping[str, Names], names: Names) -> bool:
    """What `is_read` waits for."""
    return all(
        (value.index(one) if one in value else None) == (names.index(one) if one in names else None)
        for one, value in read.items()
    )


def lost(values: Sequence[Names], kept: frozenset[str], waits: bool) -> bool:
    """Whether a commit goes without all of `kept` on the way through these values.

    `waits`: the last is told only when every walsender shows its place in the one before.
    """
    for count in range(1, len(HOSTS) + 1):
        for connected in combinations(HOSTS, count):
            for each in product(values, repeat=count):
                read = dict(zip(connected, each, strict=True))
                last = values[-1] in each
                seen = {one: values[-2] if value == values[-1] else value for one, value in read.items()}
                if last and waits and not shows(seen, values[-2]):
                    continue
                if any(not kept <= needed for needed in releases(read)):
                    return True
    return False


def sets(largest: int) -> Iterator[Names]:
    for count in range(1, largest + 1):
        yield from combinations(HOSTS, count)


def names_of(value: str) -> Names:
    return tuple(value.split(" ")[-1].strip("()").split(","))


def test_no_mixture_of_what_walsenders_have_read_lets_a_commit_go() -> None:
    """Planted: the values alone, as Patroni tells them. All sets of three at most of five hosts."""
    planted = staged = 0
    for old, new in product(sets(3), repeat=2):
        kept = frozenset(old) & frozenset(new)
        between = tuple(stage(written(old), written(new)))
        if not between:
            assert not kept or not lost((old, new), kept, waits=False), (old, new)
            continue
        staged += 1
        planted += lost((old, new), kept, waits=False)
        assert not lost((old, between), kept, waits=False), (old, between, new)
        assert not lost((between, new), kept, waits=True), (old, between, new)
    assert staged > planted > 100


def test_what_is_left_from_before_is_waited_for() -> None:
    """Planted: (j, n) to (n) needs no stage; (n) to (i, n) meets a j that has read neither."""
    values = (("j", "n"), ("n",), ("i", "n"))
    assert stage("n", "2 (i,n)") == ["n"]
    assert lost(values, frozenset("n"), waits=False)
    assert not lost(values, frozenset("n"), waits=True)


@pytest.mark.parametrize(
    ("before", "value", "names"),
    [
        ('2 ("dj-db2","gg-db1")', '2 ("gg-db1","gg-db2")', [GATE, "gg-db1"]),
        ('2 ("dj-db2","gg-db1")', '3 ("dj-db2","gg-db1","gg-db2")', [GATE, "dj-db2", "gg-db1"]),
        ('3 ("a-1","b-1","c-1")', '2 ("a-1","B-1")', [GATE, "a-1", "b-1"]),
        (f'3 ({GATE},{GATE},"a-1")', '2 ("a-1","b-1")', [GATE, GATE, "a-1"]),
        ('"gg-db1"', '2 ("dj-db2","gg-db1")', ["gg-db1"]),
        ('2 ("dj-db2","gg-db1")', '"gg-db1"', []),  # alone
        ('2 ("dj-db2","gg-db1")', '2 ("gg-db1","dj-db2")', []),  # the same
        (GATE, '2 ("dj-db2","gg-db1")', []),  # nobody stays
        ('"gg-db1"', "*", []),
        ("2 (unreadable", '2 ("dj-db2","gg-db1")', []),
    ],
)
def test_the_stage(before: str, value: str, names: list[str]) -> None:
    assert stage(before, value) == names


def test_it_is_written_as_patroni_writes_it() -> None:
    assert written(["gg-db1"]) == '"gg-db1"'
    assert parsed(written([GATE, GATE, "gg-db1"])) == (3, [GATE, "gg-db1"])


class Config:
    """What is used of Patroni's `ConfigHandler`."""

    def __init__(self, before: str, state: str = "running", primary: bool = True) -> None:
        self._server_parameters: dict[str, Any] = {"synchronous_standby_names": before}
        self._postgresql = SimpleNamespace(state=state, is_primary=lambda: primary)
        self.told: list[str | None] = []

    def set_synchronous_standby_names(self, value: str | None) -> bool | None:
        if value == self._server_parameters.get("synchronous_standby_names"):
            return None
        self._server_parameters["synchronous_standby_names"] = value
        self.told.append(value)
        return True


OLD, STAGE, NEW = '2 ("j","n")', f"2 ({GATE},n)", '2 ("i","n")'


@pytest.mark.parametrize(
    ("config", "value", "read", "told"),
    [
        (Config(OLD), NEW, True, [STAGE, NEW]),
        (Config(OLD), NEW, False, [STAGE]),  # and nothing goes until a later loop
        (Config(STAGE), NEW, False, []),
        (Config(STAGE), NEW, True, [NEW]),
        (Config("n"), NEW, False, []),
        (Config("n"), NEW, True, [NEW]),
        (Config(OLD), None, True, [None]),
        (Config(OLD, primary=False), NEW, True, [NEW]),
        (Config(OLD, state="starting"), NEW, True, [NEW]),
    ],
)
def test_what_postgresql_is_told(
    config: Config, value: str | None, read: bool, told: list[str | None]
) -> None:
    wrapped = exchanged(Config.set_synchronous_standby_names, lambda names: read)
    assert wrapped(config, value) == (True if told else None)
    assert config.told == told


class Session:
    """Answers what walsenders show, one answer after the other, and the last one from then on."""

    def __init__(self, *answers: Any, shown: str = STAGE) -> None:
        self.answers, self.shown, self.closed = list(answers), shown, 0

    def ask(self, sql: str) -> Any:
        if sql != exchanged_set.PLACES:
            return self.shown
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.closed += 1


@pytest.mark.parametrize(
    ("session", "read"),
    [
        (Session([["j", 1], ["n", 2]], [["j", 0], ["n", 2], ["x", 0]]), True),
        (Session([["j", 1], ["n", 2]]), False),
        (Session([["n", 1]]), False),
        (Session([], shown=OLD), False),
        (Session(psycopg2.OperationalError("gone")), False),
        (Session(TimeoutError()), False),
    ],
)
def test_every_walsender_shows_its_place(session: Session, read: bool) -> None:
    now = iter(range(100))
    new: Any = lambda: session  # noqa: E731
    assert is_read([GATE, "n"], new, lambda _: None, lambda: next(now) / 10) is read
    assert session.closed


def test_it_is_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    before = known(ConfigHandler, "set_synchronous_standby_names", ("self", "value"))
    monkeypatch.setattr(ConfigHandler, "set_synchronous_standby_names", before)
    exchanged_set.install()
    assert ConfigHandler.set_synchronous_standby_names is not before
