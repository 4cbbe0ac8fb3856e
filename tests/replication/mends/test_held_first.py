"""The old primary of a planned handover stops only when every pooler holds."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from failover.etcd_json import Prefixes, range_end
from failover.handover import HANDOVER, POOLER, Handover, Pooler, PoolerState, encode
from replication.dcs import etcd_gateway
from replication.dcs.etcd_gateway import EtcdUnanswered
from replication.mends.held_first import LIMIT_S, late, until_held, words_of

HOLD = Handover("h1", "dj-db1", "gg-db1", 9000)
OBEYS = Pooler("dj-app1", PoolerState.HELD, "h1", "dj-db1")
PREFIXES = Prefixes("hanbat")


@pytest.mark.parametrize(
    ("holds", "poolers", "expected"),
    [
        ([HOLD], [OBEYS], False),
        ([HOLD], [OBEYS, replace(OBEYS, host="dj-app2", state=PoolerState.HOLDING)], True),
        ([HOLD], [OBEYS, replace(OBEYS, host="dj-app2", state=PoolerState.OPEN, handover="")], True),
        ([HOLD], [replace(OBEYS, handover="h0")], True),
        ([HOLD], [], False),  # all are silent, and nobody is waited for in vain
        ([], [replace(OBEYS, state=PoolerState.OPEN)], False),  # by patronictl: nobody was asked to hold
    ],
)
def test_who_is_late(holds: list[Handover], poolers: list[Pooler], expected: bool) -> None:
    assert late([encode(one) for one in holds], [encode(one) for one in poolers]) is expected


@pytest.mark.parametrize("text", ["", "{", "[]", "7"])
def test_a_word_that_cannot_be_read_is_late(text: str) -> None:
    assert late([encode(HOLD)], [encode(OBEYS), text])
    assert not late([text], [encode(OBEYS)])


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def held_after(limit_s: float | None, clock: Clock) -> Callable[[], Any]:
    def words() -> tuple[list[str], list[str]]:
        held = limit_s is not None and clock.now >= limit_s
        state = PoolerState.HELD if held else PoolerState.HOLDING
        return [encode(HOLD)], [encode(replace(OBEYS, state=state))]

    return words


def test_a_late_pooler_is_waited_for_and_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """Planted: the primary was quiet for a moment, and one pooler was late by a tenth of a second."""
    clock = Clock()
    until_held(held_after(0.1, clock), clock.sleep, clock)
    assert 0.1 <= clock.now < 0.13
    until_held(held_after(None, clock), clock.sleep, clock)
    assert clock.now < 0.2 + LIMIT_S
    assert "not every pooler holds" in caplog.text


def test_an_etcd_that_does_not_answer_keeps_nobody_from_stopping(caplog: pytest.LogCaptureFixture) -> None:
    def words() -> Any:
        raise EtcdUnanswered("http://x: timed out")

    clock = Clock()
    until_held(words, clock.sleep, clock)
    assert clock.now == 0.0
    assert "not waited for" in caplog.text


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_it_reads_what_gatekeepers_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys, their prefix and their words are those of `failover`, which stands above."""
    asked: list[tuple[str, Any]] = []

    def call(url: str, path: str, body: dict[str, Any], limit_s: float) -> dict[str, Any]:
        asked.append((url, body))
        if "dead" in url:
            raise EtcdUnanswered(url)
        found = [
            [{"key": encoded(PREFIXES.real(HANDOVER)), "value": encoded(encode(HOLD))}],
            [{"key": encoded(PREFIXES.real(POOLER) + "dj-app1"), "value": encoded(encode(OBEYS))}],
        ]
        return {"responses": [{"response_range": {"kvs": rows}} for rows in found]}

    monkeypatch.setattr(etcd_gateway, "call", call)
    holds, poolers = words_of(("dead:2379", "10.0.0.1:2379"), "hanbat")()
    assert (list(holds), list(poolers)) == ([encode(HOLD)], [encode(OBEYS)])
    assert [url for url, _ in asked] == ["http://dead:2379", "http://10.0.0.1:2379"]
    for one, key in zip(asked[1][1]["success"], (HANDOVER, POOLER), strict=True):
        begin, end = one["request_range"]["key"], one["request_range"]["range_end"]
        assert begin == encoded(PREFIXES.real(key))
        assert end == encoded(range_end(PREFIXES.real(key)))
    with pytest.raises(EtcdUnanswered):
        words_of(("dead:2379",), "hanbat")()
