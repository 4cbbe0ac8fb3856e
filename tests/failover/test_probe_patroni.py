"""A primary whose Patroni is silent for three seconds is unreachable, since then; nothing else is.

The rule is checked by histories with what each must end in; wrong rules are planted, and each is caught.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pytest

from failover import probe_patroni
from failover.observer import monotonic_ms
from failover.policy import Policy
from failover.probe_patroni import MUTE, PATRONI_MS, Answer, Asked, Heard, PatroniWatch, WithPatroni, ask
from failover.streaks import Probe, Streak, extended, seen
from failover.view import Reach, Role

ANSWERS, SILENT, REFUSED = Answer.ANSWERS, Answer.SILENT, Answer.REFUSED
After = Callable[[Heard | None, Asked], Heard]
Judged = Callable[[Probe, Heard | None, int], Probe]
Questions = tuple[tuple[int, int, Answer], ...]


@dataclass(frozen=True)
class History:
    """Questions to Patroni as (began, took, answer), and what a probe at `at_ms` must say then."""

    name: str
    questions: Questions
    at_ms: int
    reach: Reach
    since_ms: int | None = None
    role: Role = Role.PRIMARY
    sql: Reach = Reach.REACHABLE


def row(answer: Answer, start: int, end: int, *after: Questions) -> Questions:
    """One every 400 ms, and what comes after."""
    asked = tuple((at, 0, answer) for at in range(start, end + 1, 400))
    return sum(after, asked)


UP, GONE = Reach.REACHABLE, Reach.UNREACHABLE
BACK = ((2400, 5, ANSWERS),)
STARVED = ((2400, 5, Answer.UNKNOWN),)
HISTORIES = (
    History("it answers", row(ANSWERS, 0, 8000), 8100, UP),
    History("frozen: hung for long", row(ANSWERS, 0, 400, row(SILENT, 800, 4000)), 4500, GONE, 800),
    History("killed: refused for long", row(ANSWERS, 0, 400, row(REFUSED, 800, 6000)), 6100, GONE, 800),
    History("killed: it may be starting", row(ANSWERS, 0, 400, row(REFUSED, 800, 5600)), 5700, UP),
    History("it listens and does not answer yet", row(REFUSED, 0, 2800, row(SILENT, 3200, 3600)), 3700, UP),
    History("not for long enough", row(ANSWERS, 0, 400, row(SILENT, 800, 3600)), 3900, UP),
    History("killed and started again", row(REFUSED, 0, 2000, BACK), 2600, UP),
    History("frozen, then killed", row(SILENT, 0, 1600, row(REFUSED, 2000, 5200)), 5300, GONE, 0),
    History("one answer breaks it", row(SILENT, 0, 2000, BACK, row(SILENT, 2800, 5200)), 5300, UP),
    History("the last question is what counts", row(SILENT, 0, 2800), 3500, UP),
    History("nobody listened for a while", row(SILENT, 0, 800, row(SILENT, 5000, 5400)), 5500, UP),
    History("we were starved", row(SILENT, 0, 2000, STARVED, row(SILENT, 2800, 4000)), 4100, UP),
    History("what was heard is old", row(SILENT, 0, 4000), 9000, UP),
    History("a standby's is nobody's concern", row(REFUSED, 0, 8000), 8100, UP, role=Role.STANDBY),
    History("stuck is an answer", row(Answer.STUCK, 0, 8000), 8100, UP),
    History("PostgreSQL says more", row(SILENT, 0, 8000), 8100, Reach.UNKNOWN, sql=Reach.UNKNOWN),
    History("never asked", (), 100, UP),
)


def told(history: History, after: After, judged: Judged) -> tuple[Reach, int | None]:
    heard: Heard | None = None
    for began, took, answer in history.questions:
        heard = after(heard, Asked(began, began + took, answer))
    found = judged(Probe(history.at_ms - 5, history.at_ms, history.sql, history.role), heard, history.at_ms)
    return found.reach, found.since_ms


def wrong(after: After = probe_patroni.after, judged: Judged = probe_patroni.judged) -> list[str]:
    """The histories that a rule gets wrong."""
    return [one.name for one in HISTORIES if told(one, after, judged) != (one.reach, one.since_ms)]


def test_the_rule() -> None:
    assert wrong() == []


def a_standby_counts(probe: Probe, heard: Heard | None, now_ms: int) -> Probe:
    found = probe_patroni.judged(replace(probe, role=Role.PRIMARY), heard, now_ms)
    return replace(found, role=probe.role)


def whatever_postgresql_says(probe: Probe, heard: Heard | None, now_ms: int) -> Probe:
    return probe_patroni.judged(replace(probe, reach=UP, role=Role.PRIMARY), heard, now_ms)


def until_now(probe: Probe, heard: Heard | None, now_ms: int) -> Probe:
    """Counts to now, and not to the last question."""
    if heard is not None and heard.mute_since_ms is not None:
        heard = Heard(replace(heard.last, ended_ms=now_ms), heard.mute_since_ms)
    return probe_patroni.judged(probe, heard, now_ms)


def not_dated_back(probe: Probe, heard: Heard | None, now_ms: int) -> Probe:
    return replace(probe_patroni.judged(probe, heard, now_ms), since_ms=None)


def anew_each_time(before: Heard | None, asked: Asked) -> Heard:
    return probe_patroni.after(None, asked)


def only_silence(before: Heard | None, asked: Asked) -> Heard:
    if before is not None and before.last.answer is not asked.answer:
        before = None
    return probe_patroni.after(before, asked)


def by_the_last_answer(before: Heard | None, asked: Asked) -> Heard:
    return replace(probe_patroni.after(before, asked), refused=asked.answer is REFUSED)


def for_ever(before: Heard | None, asked: Asked) -> Heard:
    """A silence that no answer ends."""
    found = probe_patroni.after(before, asked)
    since = before.mute_since_ms if before else None
    return found if since is None else Heard(asked, since)


def gaps_do_not_matter(before: Heard | None, asked: Asked) -> Heard:
    if before is not None and before.last.answer in MUTE:
        before = Heard(replace(before.last, ended_ms=asked.began_ms), before.mute_since_ms)
    return probe_patroni.after(before, asked)


@pytest.mark.parametrize(
    ("rule", "caught_by"),
    [
        ({"judged": a_standby_counts}, "a standby's is nobody's concern"),
        ({"judged": whatever_postgresql_says}, "PostgreSQL says more"),
        ({"judged": until_now}, "the last question is what counts"),
        ({"judged": not_dated_back}, "frozen: hung for long"),
        ({"after": anew_each_time}, "frozen: hung for long"),
        ({"after": only_silence}, "frozen, then killed"),
        ({"after": by_the_last_answer}, "it listens and does not answer yet"),
        ({"after": for_ever}, "one answer breaks it"),
        ({"after": gaps_do_not_matter}, "nobody listened for a while"),
    ],
)
def test_wrong_rules_are_caught(rule: dict[str, Callable[..., object]], caught_by: str) -> None:
    assert caught_by in wrong(**rule)  # type: ignore[arg-type]


def test_the_window_is_not_waited_for_once_more() -> None:
    """Three seconds of silence are enough for the vote at once."""
    streak: Streak | None = None
    heard: Heard | None = None
    for at_ms in range(0, 6000, 200):
        answer = ANSWERS if at_ms < 1000 else SILENT
        heard = probe_patroni.after(heard, Asked(at_ms, at_ms, answer))
        probe = Probe(at_ms, at_ms + 5, UP, Role.PRIMARY, detail=Probe(0, 0, UP).detail)
        streak = extended(streak, probe_patroni.judged(probe, heard, at_ms + 5))
        word = seen("dj-db1", streak, at_ms + 5, 1000)
        if word.reach is GONE:
            break
    assert word.for_ms > Policy().window_ms
    assert at_ms == 1000 + PATRONI_MS + 200
    assert streak is not None
    assert streak.last.detail.why == "it answers, and its Patroni does not"
    assert streak.last.detail.patroni == "silent"


def test_the_sync_position_stands_still_from_the_first_mute_answer_on() -> None:
    """PostgreSQL goes on acknowledging; the candidate is not behind by what it does meanwhile."""
    streak: Streak | None = None
    heard: Heard | None = None
    for at_ms in range(0, 6000, 200):
        heard = probe_patroni.after(heard, Asked(at_ms, at_ms, ANSWERS if at_ms < 1000 else SILENT))
        probe = Probe(at_ms, at_ms, UP, Role.PRIMARY, sync_lsn=at_ms)
        streak = extended(streak, probe_patroni.judged(probe, heard, at_ms))
    assert streak is not None
    assert (streak.reach, streak.sync_lsn) == (GONE, 800)
    heard = probe_patroni.after(heard, Asked(6000, 6000, ANSWERS))
    probe = Probe(6000, 6000, UP, Role.PRIMARY, sync_lsn=6000)
    assert extended(streak, probe_patroni.judged(probe, heard, 6000)).sync_lsn == 6000


@contextmanager
def server(answer: bytes | None) -> Iterator[int]:
    """Answers every connection with `answer`; None: accepts and says nothing."""
    kept: list[socket.socket] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                if answer is None:
                    kept.append(connection)
                    continue
                with connection:
                    connection.recv(4096)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for connection in kept:
                connection.close()


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (b"HTTP/1.0 200 OK\r\n\r\n", ANSWERS),
        (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", Answer.STUCK),
        (b"", SILENT),
        (b"what?\r\n\r\n", SILENT),
        (None, SILENT),
    ],
)
def test_what_is_heard(answer: bytes | None, word: Answer) -> None:
    with server(answer) as port:
        found = ask("127.0.0.1", port, monotonic_ms)
    assert found.answer is word
    assert found.ended_ms - found.began_ms < 1200


def test_nobody_listens_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert ask("127.0.0.1", unused.getsockname()[1], monotonic_ms).answer is REFUSED


def test_a_watch_and_a_prober_together() -> None:
    class Up:
        def probe(self) -> Probe:
            return Probe(monotonic_ms(), monotonic_ms(), UP, Role.PRIMARY)

    with server(b"HTTP/1.0 200 OK\r\n\r\n") as port:
        watch = PatroniWatch("dj-db1", "127.0.0.1", port, monotonic_ms)
        prober = WithPatroni(Up(), watch, monotonic_ms)
        assert prober.probe().detail.patroni == ""
        assert watch.step() == probe_patroni.PERIOD_S
        assert prober.probe().detail.patroni == "answers"
    assert watch.step() == probe_patroni.MUTE_PERIOD_S
    found = prober.probe()
    assert (found.reach, found.detail.patroni) == (UP, "refused")
    assert found.detail.patroni_mute_ms is not None
