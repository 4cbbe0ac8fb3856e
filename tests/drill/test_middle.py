"""A fault in the middle of a switchover: what was heard, and planted strikes that were not in the middle."""

from __future__ import annotations

import base64
import json
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from failover.handover import Handover, Pooler, PoolerState, encode
from lab import sockets
from lab.drill import middle
from lab.drill.case import CheckVerdict
from lab.drill.clock import Clock
from lab.drill.handover_watch import HandoverWatch, Key, Word, word_of
from lab.drill.matrix import Expect, Once
from lab.drill.middle import Command, Middle, Said, judge, middle_of, reached
from lab.drill.planned import ending, said

ENDED = Command("dj-db1", "gg-db1", (Said(10.02, "hold", ""),), 14.0, 0, "done", "gg-db1")
WORDS = (
    Word(9.0, Key.LOCK, False, "gg-db1"),  # of an earlier handover
    Word(10.0, Key.HOLD, False, "gg-db1", "h1"),
    Word(10.1, Key.POOLER, False, "dj-app1", "h1"),
    Word(10.1, Key.POOLER, False, "gg-app1", "h1"),
    Word(10.8, Key.LOCK, False, "gg-db1"),
    Word(10.9, Key.POOLER, False, "dj-app1", ""),
    Word(11.0, Key.HOLD, True),
    Word(11.2, Key.POOLER, False, "gg-app1", ""),
)
EXPECT = Expect(("{backup_db}",), poolers_release_s=4.0)
GOOD = middle_of(WORDS, Once.HELD, ENDED, 10.2, 10.3)
LOCKED = middle_of(WORDS, Once.LOCKED, ENDED, 10.9, 11.4)


def verdicts(seen: Middle, expect: Expect = EXPECT) -> dict[str, CheckVerdict]:
    return {each.name: each.verdict for each in judge(seen, expect)}


def test_what_was_heard_of_a_handover():
    assert (GOOD.seen_at, GOOD.lock_at, GOOD.gone_at, GOOD.open_at) == (10.0, 10.8, 11.0, 11.2)
    assert GOOD.poolers == {"dj-app1", "gg-app1"}
    assert not reached(WORDS[:1], Once.HELD, "gg-db1")
    assert reached(WORDS[:2], Once.HELD, "gg-db1")
    assert not reached(WORDS[:4], Once.LOCKED, "gg-db1"), "the lock of an earlier handover is not ours"
    assert reached(WORDS[:5], Once.LOCKED, "gg-db1")
    assert not reached(WORDS, Once.HELD, "dj-db2")


@pytest.mark.parametrize("seen", [GOOD, LOCKED], ids=["held", "locked"])
def test_a_strike_in_the_middle_passes(seen):
    assert set(verdicts(seen).values()) == {CheckVerdict.PASSED}
    plain = middle.as_plain(seen)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["handover_seen_s"] == round(10.0 - (seen.struck_at or 0), 3)


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (replace(GOOD, struck_at=9.5), "0.50 s too early"),
        (middle_of(WORDS[:1], Once.HELD, ENDED, 10.2, 10.3), "never seen"),
        (middle_of(WORDS[:4], Once.LOCKED, ENDED, 10.9, 11.0), "never seen"),
        (replace(GOOD, struck_at=11.5, bit_at=11.6), "the hold ended"),
        (replace(GOOD, bit_at=11.1), "the hold ended"),
        (replace(GOOD, gone_at=None, trouble="the stream ended"), "was not heard"),
        (replace(GOOD, struck_at=None), "nothing struck"),
        (replace(GOOD, bit_at=None), "nothing struck"),
        (replace(LOCKED, struck_at=14.5, bit_at=14.6), "the command ended"),
        (replace(LOCKED, struck_at=10.7), "too early"),
    ],
)
def test_a_strike_that_was_not_in_the_middle_is_never_a_pass(seen, why):
    (first, *_) = judge(seen, EXPECT)
    assert (first.name, first.verdict) == ("struck_in_the_middle", CheckVerdict.UNKNOWN)
    assert why in first.seen


def test_a_command_that_died_of_the_strike_had_not_ended_before():
    killed = replace(GOOD, command=Command("dj-db1", "gg-db1", (), 10.25, -9))
    assert verdicts(killed) == {
        "struck_in_the_middle": CheckVerdict.PASSED,
        "poolers_let_go": CheckVerdict.PASSED,
    }
    early = replace(killed, command=replace(killed.command, ended_at=10.1))
    assert verdicts(early)["struck_in_the_middle"] is CheckVerdict.UNKNOWN


MOVED_ON = (*WORDS, Word(12.0, Key.LOCK, True), Word(13.0, Key.LOCK, False, "dj-db2"))


@pytest.mark.parametrize(
    ("end", "primary", "words", "wanted"),
    [
        ("done", "gg-db1", WORDS, CheckVerdict.PASSED),
        ("done", "gg-db1", MOVED_ON, CheckVerdict.FAILED),
        ("done", "gg-db1", (*WORDS, Word(14.1, Key.LOCK, False, "dj-db2")), CheckVerdict.PASSED),
        ("incomplete", "dj-db2", MOVED_ON, CheckVerdict.PASSED),
        ("done", "gg-db1", WORDS[:4], CheckVerdict.FAILED),
        ("unchanged", "dj-db1", WORDS[:4], CheckVerdict.PASSED),
        ("unchanged", "dj-db1", WORDS, CheckVerdict.FAILED),
        ("unknown", None, WORDS, None),
        ("", None, WORDS, None),
    ],
)
def test_a_command_that_names_another_primary_than_the_lock_fails(end, primary, words, wanted):
    command = replace(ENDED, end=end, primary=primary)
    seen = middle_of(words, Once.HELD, command, 10.2, 10.3)
    assert verdicts(seen).get("command_told_the_truth") is wanted


def test_a_lock_that_was_not_heard_of_to_the_end_is_in_doubt():
    seen = replace(GOOD, trouble="the stream ended")
    assert verdicts(seen)["command_told_the_truth"] is CheckVerdict.UNKNOWN


def test_poolers_that_stay_held_fail():
    for words in (
        WORDS[:-1],
        (*WORDS[:-2], WORDS[-1]),
        (*WORDS, Word(11.3, Key.POOLER, False, "gg-app1", "h2")),
    ):
        seen = middle_of(words, Once.HELD, ENDED, 10.2, 10.3)
        assert verdicts(seen)["poolers_let_go"] is CheckVerdict.FAILED
    late = replace(GOOD, open_at=14.3)
    assert verdicts(late)["poolers_let_go"] is CheckVerdict.FAILED


def test_poolers_that_nobody_saw_are_in_doubt():
    for seen in (replace(GOOD, poolers=frozenset()), replace(GOOD, trouble="the stream ended")):
        assert verdicts(seen)["poolers_let_go"] is CheckVerdict.UNKNOWN
    assert "poolers_let_go" not in verdicts(GOOD, Expect(("{primary}",)))


def event(key: str, value: str | None) -> dict[str, object]:
    row = {"key": base64.b64encode(key.encode()).decode()}
    if value is None:
        return {"type": "DELETE", "kv": row}
    return {"kv": {**row, "value": base64.b64encode(value.encode()).decode()}}


def test_events_of_etcd_become_words():
    hold = encode(Handover("h1", "dj-db1", "gg-db1", 9000))
    pooler = encode(Pooler("dj-app1", PoolerState.HELD, "h1", "dj-db1"))
    assert word_of(1.0, Key.HOLD, event("h", hold)) == Word(1.0, Key.HOLD, False, "gg-db1", "h1")
    assert word_of(1.0, Key.HOLD, event("h", None)) == Word(1.0, Key.HOLD, True)
    assert word_of(1.0, Key.LOCK, event("l", "gg-db1")) == Word(1.0, Key.LOCK, False, "gg-db1")
    assert word_of(1.0, Key.POOLER, event("p/dj-app1", pooler)) == Word(
        1.0, Key.POOLER, False, "dj-app1", "h1"
    )
    assert word_of(1.0, Key.POOLER, event("p/dj-app1", None)) == Word(1.0, Key.POOLER, True, "dj-app1")


class Etcd(BaseHTTPRequestHandler):
    """Tells of a watch: that it is made, one hold, the end of the stream."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = base64.b64decode(asked["create_request"]["key"]).decode()
        said: list[dict[str, object]] = [{"created": True}]
        if key == "/hanbat/c/handover":
            said.append({"events": [event(key, encode(Handover("h1", "dj-db1", "gg-db1", 9000)))]})
        self.send_response(200)
        self.end_headers()
        for each in said:
            self.wfile.write(json.dumps({"result": each}).encode() + b"\n")
            self.wfile.flush()
        STAY.wait(5)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


STAY = threading.Event()


def test_a_watch_hears_the_hold_and_says_when_it_ends(monkeypatch):
    STAY.clear()
    monkeypatch.setattr(
        sockets,
        "connect",
        lambda namespace, address, port, *, timeout_s: socket.create_connection((address, port), timeout_s),
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), Etcd) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        watch = HandoverWatch("ns", ("127.0.0.1", server.server_port), "c", Clock.anchored_now())
        assert watch.begin(5.0)
        assert watch.wait(lambda words: reached(words, Once.HELD, "gg-db1"), 5.0)
        assert not watch.trouble
        STAY.set()
        assert not watch.wait(lambda words: reached(words, Once.LOCKED, "gg-db1"), 5.0)
        assert "the stream ended" in watch.trouble
        watch.close()
        server.shutdown()


def test_the_commands_words_are_read():
    assert said("   0.42 s  hold         Patroni of a hands over to b\n", 5.0) == Said(
        5.0, "hold", "Patroni of a hands over to b"
    )
    assert said("Traceback (most recent call last):\n", 5.0) is None
    begun = Command("dj-db1", "gg-db1")
    told = ending(
        begun,
        5.0,
        0,
        json.dumps({"preflight": {}, "result": {"end": "done", "primary": "gg-db1", "reason": ""}}),
    )
    assert (told.ended_at, told.exit_status, told.end, told.primary) == (5.0, 0, "done", "gg-db1")
    refused = ending(begun, 5.0, 3, json.dumps({"preflight": {"reasons": [{"fact": "gg-db1 is behind"}]}}))
    assert (refused.end, refused.reason) == ("not begun", "gg-db1 is behind")
    assert ending(begun, 5.0, -9, "").end == ""
