"""`/sync` names a standby only once PostgreSQL waits for it; in Patroni's place, and in its own functions."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import psycopg2
import pytest
from patroni.collections import CaseInsensitiveSet
from patroni.dcs import SyncState
from patroni.ha import Ha
from patroni.postgresql.config import ConfigHandler
from patroni.postgresql.sync import SyncHandler, _SyncState

from replication.mends import grown_set
from replication.mends.gate import GATE
from replication.mends.grown_set import ALIVE, BEHIND, Growth, InForce, current_state, look, names_in, told
from replication.mends.in_force import RECORD, SENT, SHOWN
from replication.mends.wrapping import ReplacedFunctionChanged

from .handover_parts import Session

ALONE = '{"leader": "dj-db1", "sync_standby": ""}'
PAIR = '{"leader": "dj-db1", "sync_standby": "dj-db2"}'
BOTH = '2 ("dj-db2","gg-db1")'


def sync(value: str) -> Any:
    return SimpleNamespace(sync=SyncState.from_node("7", value))


class Server:
    """Patroni's handle of a primary that was told `value`; who streams has flushed so much."""

    def __init__(self, value: str, **flushed: int) -> None:
        self.name = "dj-db1"
        self.config = SimpleNamespace(_server_parameters={"synchronous_standby_names": value})
        self.flushed = flushed

    def pg_stat_replication(self) -> list[dict[str, Any]]:
        return [
            {"application_name": name.replace("_", "-"), "flush_lsn": lsn}
            for name, lsn in self.flushed.items()
        ]


class Looks:
    """Every look that was begun, by what was looked for and whether anybody was waited for before."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bool]] = []
        self.futures: list[Future[InForce | None]] = []

    def begin(self, value: str, bare: bool, ended: Callable[[], None]) -> Future[InForce | None]:
        self.asked.append((value, bare))
        self.futures.append(Future())
        return self.futures[-1]

    def end(self, lsn: int = 900) -> Session:
        session = Session(**{ALIVE: 1})
        self.futures[-1].set_result(InForce(session.new(), lsn))
        return session


class Primary:
    """`current_state` in the place of Patroni's, which confirms all of `confirmed`."""

    def __init__(self, server: Server, *confirmed: str) -> None:
        self.looks, self._postgresql = Looks(), server
        self.growth = Growth(self.looks.begin)
        names = CaseInsensitiveSet(confirmed)
        found = _SyncState("priority", 1, names, names, names)
        self._state = current_state(lambda handler, cluster: found, self.growth)

    def confirmed(self, value: str) -> set[str]:
        return set(self._state(self, sync(value)).sync_confirmed)


def test_a_new_standby_is_confirmed_when_the_names_are_in_force_and_not_before() -> None:
    """Planted: PostgreSQL shows `sync`, and acknowledges alone while its checkpointer is busy."""
    primary = Primary(Server('"gg-db1"', gg_db1=900), "gg-db1")
    assert primary.confirmed(ALONE) == set()
    assert primary.confirmed(ALONE) == set()
    assert primary.looks.asked == [('"gg-db1"', True)]  # once, with the checkpointer
    primary.looks.end()
    assert primary.confirmed(ALONE) == {"gg-db1"}
    assert primary.looks.asked == [('"gg-db1"', True)]


def test_what_was_acknowledged_without_it_until_then_it_must_have() -> None:
    """Planted: Patroni asks for what was there when the names changed; alone it went on for a while."""
    server = Server('"gg-db1"', gg_db1=899)
    primary = Primary(server, "gg-db1")
    primary.confirmed(ALONE)
    primary.looks.end(900)
    assert primary.confirmed(ALONE) == set()
    server.flushed["gg_db1"] = 900
    assert primary.confirmed(ALONE) == {"gg-db1"}


def test_a_set_that_grows_needs_no_checkpoint() -> None:
    primary = Primary(Server(BOTH, dj_db2=900, gg_db1=900), "dj-db2", "gg-db1")
    assert primary.confirmed(PAIR) == {"dj-db2"}
    assert primary.looks.asked == [(BOTH, False)]
    primary.looks.end()
    assert primary.confirmed(PAIR) == {"dj-db2", "gg-db1"}


def test_who_is_named_needs_no_look() -> None:
    primary = Primary(Server('"dj-db2"', dj_db2=1), "dj-db2")
    assert primary.confirmed(PAIR) == {"dj-db2"}
    assert primary.looks.asked == []


def test_whom_another_primary_had_named_is_new() -> None:
    """Planted: Patroni counts whomever `/sync` names, also where it names another leader."""
    primary = Primary(Server('"dj-db2"', dj_db2=900), "dj-db2")
    assert primary.confirmed('{"leader": "gg-db1", "sync_standby": "dj-db2"}') == set()
    assert primary.looks.asked == [('"dj-db2"', True)]


def test_the_voters_of_a_quorum_are_new() -> None:
    """Planted: on the way from the mode `quorum` to `on` all of them are confirmed, whatever they have."""
    primary = Primary(Server('"dj-db2"', dj_db2=899), "dj-db2")
    voters = '{"leader": "dj-db1", "sync_standby": "dj-db2,gg-db1,gg-db2", "quorum": 1}'
    assert primary.confirmed(voters) == set()
    assert primary.looks.asked == [('"dj-db2"', True)]
    primary.looks.end(900)
    assert primary.confirmed(voters) == set()


def test_whom_postgresql_was_told_to_forget_is_not_confirmed() -> None:
    """Planted: it still shows the names from before, and will read the new ones."""
    primary = Primary(Server('"gg-db1"', dj_db2=900), "dj-db2")
    assert primary.confirmed(PAIR) == set()


def test_other_names_need_another_look() -> None:
    primary = Primary(Server('"gg-db1"', gg_db1=900), "gg-db1")
    primary.confirmed(ALONE)
    first = primary.looks.end()
    assert primary.confirmed(ALONE) == {"gg-db1"}
    server: Any = SimpleNamespace()
    told(lambda handler, value: True, primary.growth)(server, "x")  # and back again
    assert first.closed
    assert primary.confirmed(ALONE) == set()
    told(lambda handler, value: None, primary.growth)(server, "x")
    primary.looks.end()
    assert primary.confirmed(ALONE) == {"gg-db1"}  # told what it had been told: nothing changes


def test_a_postmaster_that_was_started_again_is_looked_at_again() -> None:
    primary = Primary(Server('"gg-db1"', gg_db1=900), "gg-db1")
    primary.confirmed(ALONE)
    primary.looks.end().answers[ALIVE] = psycopg2.OperationalError("server closed the connection")
    assert primary.confirmed(ALONE) == set()
    assert primary.confirmed(ALONE) == set()
    assert len(primary.looks.asked) == 2


@pytest.mark.parametrize("failure", [TimeoutError("slow"), None])
def test_a_look_that_showed_nothing_is_taken_again(failure: Exception | None) -> None:
    primary = Primary(Server('"gg-db1"', gg_db1=900), "gg-db1")
    primary.confirmed(ALONE)
    future = primary.looks.futures[-1]
    future.set_exception(failure) if failure else future.set_result(None)
    assert primary.confirmed(ALONE) == set()
    assert len(primary.looks.asked) == 2


def test_the_gate_is_not_looked_at_here() -> None:
    primary = Primary(Server(GATE))
    primary.confirmed(ALONE)
    assert primary.looks.asked == []


@pytest.mark.parametrize(
    ("value", "names"),
    [("", set()), ("*", set()), ('"gg-db1"', {"gg-db1"}), (BOTH, {"dj-db2", "gg-db1"}), ("2 (", set())],
)
def test_what_the_names_are(value: str, names: set[str]) -> None:
    assert names_in(value) == names


def answers(value: str = BOTH) -> Session:
    return Session(**{SHOWN: value, SENT: {}, RECORD: 900, BEHIND.format(lsn=900): 0})


@pytest.mark.parametrize(("bare", "commands"), [(True, 2), (False, 0)])
def test_the_checkpointer_is_waited_for_only_where_nobody_was(bare: bool, commands: int) -> None:
    session = answers()
    assert look(BOTH, bare, session.new) == InForce(session.new(), 900)
    assert session.commands.count("CHECKPOINT") == commands
    assert session.commands[-2:] == [SENT, RECORD]  # the position is taken after all have read
    assert not session.closed


def test_the_end_of_a_look_waits_a_moment_for_who_is_sync() -> None:
    session, now = answers(), [0.0]
    session.answers[BEHIND.format(lsn=900)] = 1
    found = look(BOTH, False, session.new, lambda s: now.__setitem__(0, now[0] + s), lambda: now[0])
    assert found is not None
    assert now[0] == pytest.approx(grown_set.FLUSH_S, abs=0.05)


def test_a_server_that_is_being_promoted_is_asked_for_no_checkpoint() -> None:
    session = answers()
    session.answers[RECORD] = psycopg2.OperationalError("recovery is in progress")
    with pytest.raises(psycopg2.Error):
        look(BOTH, True, session.new)
    assert "CHECKPOINT" not in session.commands


def test_a_session_that_fails_is_closed() -> None:
    session = answers()
    session.answers[RECORD] = TimeoutError("slow")
    with pytest.raises(TimeoutError):
        look(BOTH, False, session.new)
    assert session.closed


def ended(monkeypatch: pytest.MonkeyPatch, outcome: Any) -> list[str]:
    """How often Patroni's loop was woken by a look that came to this."""

    def looked(value: str, bare: bool) -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(grown_set, "look", looked)
    woken: list[str] = []
    future = grown_set.in_a_thread(BOTH, True, lambda: woken.append("woken"))
    end_s = time.monotonic() + 5
    while not future.done() and time.monotonic() < end_s:
        time.sleep(0.01)
    time.sleep(0.05)
    return woken


def test_patronis_loop_is_woken_by_news_and_by_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a look that fails at once would wake a loop that looks at once."""
    assert ended(monkeypatch, InForce(answers().new(), 900)) == ["woken"]
    assert ended(monkeypatch, None) == []
    assert ended(monkeypatch, TimeoutError("slow")) == []


def test_the_wrapped_functions_are_those_that_were_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in (
        (SyncHandler, "current_state"),
        (ConfigHandler, "set_synchronous_standby_names"),
        (Ha, "process_sync_replication"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # put back afterwards
    grown_set.install(Growth())
    monkeypatch.setattr(SyncHandler, "current_state", lambda self, cluster, more: None)
    with pytest.raises(ReplacedFunctionChanged):
        grown_set.install(Growth())
