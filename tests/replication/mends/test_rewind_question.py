"""A leader that cannot be reached is not asked; through Patroni's own class."""

from __future__ import annotations

import socket
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.postgresql import rewind as module
from patroni.postgresql.rewind import Rewind

from replication.mends import rewind_question
from replication.mends.rewind_question import check_leader_is_not_in_recovery, is_reachable
from replication.mends.wrapping import ReplacedFunctionChanged


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Patroni's own function connected to; the wrapped one is put back afterwards."""
    name = "check_leader_is_not_in_recovery"
    monkeypatch.setattr(Rewind, name, staticmethod(Rewind.check_leader_is_not_in_recovery))
    seen: list[Any] = []

    def connect(**conn_kwargs: Any) -> Any:
        seen.append(conn_kwargs)
        raise OSError("no server here")

    monkeypatch.setattr(module, "get_connection_cursor", connect)
    rewind_question.install()
    return seen


def test_a_leader_that_is_reached_is_asked_as_before(asked: list[Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        kwargs = {"host": "127.0.0.1", "port": str(server.getsockname()[1])}
        assert Rewind.__new__(Rewind).check_leader_is_not_in_recovery(kwargs) is None
    assert asked == [kwargs]


def test_a_leader_that_is_not_reached_is_not_asked(asked: list[Any]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        kwargs = {"host": "127.0.0.1", "port": unused.getsockname()[1]}
        assert Rewind.check_leader_is_not_in_recovery(kwargs) is None
    assert asked == []


@pytest.mark.parametrize(
    "kwargs", [{}, {"host": "a,b", "port": "5432,5433"}, {"host": "a"}, {"host": "a", "port": "none"}]
)
def test_a_place_that_is_not_plain_is_left_to_patroni(kwargs: dict[str, Any]) -> None:
    called: list[Any] = []
    check = check_leader_is_not_in_recovery(lambda words: not called.append(words), lambda host, port: False)
    assert check(kwargs) is True
    assert called == [kwargs]


def test_a_socket_of_this_host_is_always_reached() -> None:
    assert is_reachable("/run/postgresql", 5432)


def test_another_function_than_the_one_that_was_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rewind, "check_leader_is_not_in_recovery", staticmethod(lambda more, words: True))
    with pytest.raises(ReplacedFunctionChanged):
        rewind_question.install()
