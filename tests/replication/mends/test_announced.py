"""The announcement of a planned handover, as Patroni's loop reads it with all other keys."""

from __future__ import annotations

from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs.etcd3 import Etcd3

from replication.mends import announced, kept_members
from replication.mends.announced import KEY, Announced, Announcement, decode, encode
from replication.mends.kept_members import Memory
from replication.mends.kept_offer import Offer, Offers
from replication.mends.wrapping import ReplacedFunctionChanged

from .handover_parts import Candidate

WORD = Announcement("a1b2", "gg-db1")


class Dcs(Etcd3):
    """As far as keys are taken apart."""

    def __init__(self) -> None:
        self._ctl = False


def read(known: Announced, **keys: str) -> str:
    nodes = {key: {"key": key, "value": value, "mod_revision": "7"} for key, value in keys.items()}
    Dcs()._cluster_from_nodes(nodes)
    return known.to("gg-db1")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Announced:
    monkeypatch.setattr(Etcd3, "_cluster_from_nodes", Etcd3._cluster_from_nodes)  # put back afterwards
    made = Announced()
    announced.install(made)
    return made


def test_it_is_noted_while_it_stands(known: Announced) -> None:
    assert read(known) == ""
    assert read(known, **{KEY: encode(WORD)}) == "a1b2"
    assert known.to("dj-db2") == ""
    assert read(known) == ""


@pytest.mark.parametrize("text", ["", "{}", "7", '{"id": "x\'; DROP", "candidate": "gg-db1"}'])
def test_what_is_no_announcement_announces_nothing(known: Announced, text: str) -> None:
    """Its id goes into a statement."""
    assert decode(text) is None
    assert read(known, **{KEY: text}) == ""


def test_patronis_loop_tells_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr(kept_members, "tend", lambda ha, gate, look, *words: told.append(words))
    monkeypatch.setattr(kept_members.ANNOUNCED, "last", WORD)
    memory, candidate = Memory(Offers()), Candidate()
    touch = kept_members.touch_member(lambda ha: True, memory)
    touch(candidate)
    memory.offers.last = Offer("7", frozenset({"dj-db2"}))
    touch(candidate)
    candidate.state_handler.name = "dj-db2"
    touch(candidate)
    assert told == [("a1b2", False), ("a1b2", True), ("", False)]


def test_the_wrapped_function_is_the_one_that_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Etcd3, "_cluster_from_nodes", lambda self, more, nodes: None)
    with pytest.raises(ReplacedFunctionChanged):
        announced.install(Announced())
