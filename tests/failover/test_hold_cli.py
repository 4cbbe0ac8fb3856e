"""`hanbat hold`: set, shown and cleared, against an etcd in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, cast

import click
import pytest
from click.testing import CliRunner

from failover import hold, hold_cli, patroni_keys
from failover.decided import DcsNotSeen
from failover.hold_cli import HoldChanged, HoldSetAlready
from failover.transaction import HOLD
from failover.view import DcsState
from hanbat.errors import Exit

from .memory_etcd import Client, MemoryEtcd


@dataclass
class Told:
    client: Client

    def dcs(self) -> Client:
        return self.client


@dataclass
class Person:
    """Types commands; `client` is what they reach etcd with."""

    client: Client

    def types(self, *words: str) -> tuple[Any, str]:
        """The exit status and what was printed. Raises what the command raises."""
        result = CliRunner().invoke(hold_cli.hold, words, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result.return_value, result.output.strip()


@pytest.fixture
def etcd() -> MemoryEtcd:
    return MemoryEtcd()


@pytest.fixture
def person(etcd: MemoryEtcd, monkeypatch: pytest.MonkeyPatch) -> Person:
    client = Client(etcd)
    monkeypatch.setattr(hold_cli, "read_config", lambda path: Told(client))
    return Person(client)


def test_a_hold_is_set_shown_and_cleared(etcd: MemoryEtcd, person: Person) -> None:
    assert person.types("show") == (Exit.DONE, "no hold is set")
    status, output = person.types("set", "--by", "김", "--reason", "the network is worked on")
    assert (status, output) == (Exit.DONE, "set: the controllers keep still until hanbat hold clear")
    entry = etcd.keys[HOLD]
    written = json.loads(entry.value)
    assert (written["by"], written["reason"], entry.lease) == ("김", "the network is worked on", 0)
    assert written["at"].endswith("+00:00")
    _, shown = person.types("show")
    assert shown == f"a hold is set by 김 since {written['at']}: the network is worked on"
    status, output = person.types("clear")
    assert (status, output) == (Exit.DONE, f"cleared; {shown} until now")
    assert etcd.keys == {}


def test_the_controllers_see_it(etcd: MemoryEtcd, person: Person) -> None:
    person.types("set", "--by", "kim")
    seen = cast(DcsState, patroni_keys.dcs_state(etcd.keys))
    assert seen.hold_revision == etcd.revision
    assert person.types("show") == (Exit.DONE, seen.hold)


def test_what_is_told_is_one_line_that_is_not_too_long() -> None:
    """It goes into the journal and onto a screen."""
    told = hold.told(hold.encode(hold.Asked("kim", "a\nb " + "c" * 999, "now")))
    assert told.startswith("a hold is set by kim since now: a b ccc")
    assert len(told) == hold.LONGEST


def test_a_second_one_is_refused_with_the_name_of_the_first(etcd: MemoryEtcd, person: Person) -> None:
    person.types("set", "--by", "kim")
    before = dict(etcd.keys)
    with pytest.raises(HoldSetAlready, match="by kim since") as refused:
        person.types("set", "--by", "lee")
    assert (refused.value.exit_status, "hanbat hold clear" in refused.value.hint) == (Exit.FAILED, True)
    assert etcd.keys == before


def test_json(etcd: MemoryEtcd, person: Person) -> None:
    assert json.loads(person.types("show", "--json")[1]) == {"hold": None}
    person.types("set", "--by", "kim")
    shown = json.loads(person.types("show", "--json")[1])["hold"]
    assert (shown["by"], shown["reason"]) == ("kim", "")
    assert json.loads(person.types("clear", "--json")[1]) == {"hold": None}


def test_nothing_to_clear_is_no_error(person: Person) -> None:
    assert person.types("clear") == (Exit.DONE, "no hold was set")


@pytest.mark.parametrize("value", ["", "operator", "7", "[]", '{"by": "kim"}'])
def test_a_hold_of_another_hand_is_a_hold(etcd: MemoryEtcd, person: Person, value: str) -> None:
    etcd.put(HOLD, value)
    assert person.types("show") == (Exit.DONE, f"a hold is set, not by this command: {value!r}")
    assert person.types("clear")[0] == Exit.DONE
    assert HOLD not in etcd.keys


def test_a_hold_that_was_set_anew_in_this_moment_is_not_cleared(etcd: MemoryEtcd, person: Person) -> None:
    etcd.put(HOLD, "first")
    person.client.before_write = lambda: etcd.put(HOLD, "second")
    with pytest.raises(HoldChanged):
        person.types("clear")
    assert etcd.keys[HOLD].value == "second"


@pytest.mark.parametrize("words", [("set", "--by", "kim"), ("clear",)])
def test_a_lost_answer_is_unknown(etcd: MemoryEtcd, person: Person, words: tuple[str, ...]) -> None:
    if words == ("clear",):
        etcd.put(HOLD, "first")
    person.client.lose = "answer"
    with pytest.raises(DcsNotSeen, match="may have been made") as unknown:
        person.types(*words)
    assert "hanbat hold show" in unknown.value.hint


@pytest.mark.parametrize("words", [("set", "--by", "kim"), ("clear",), ("show",)])
def test_without_etcd_nothing_is_known(person: Person, words: tuple[str, ...]) -> None:
    person.client.mute = True
    with pytest.raises(DcsNotSeen):
        person.types(*words)


@pytest.mark.parametrize("words", [("set",), ("set", "--by", " ")])
def test_a_hold_has_a_name(person: Person, words: tuple[str, ...], etcd: MemoryEtcd) -> None:
    with pytest.raises(click.UsageError):
        person.types(*words)
    assert etcd.keys == {}
