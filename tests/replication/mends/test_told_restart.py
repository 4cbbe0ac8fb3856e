"""A restart is told from its beginning to its end, by Patroni's own functions; a start is none."""

from __future__ import annotations

import json
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
from patroni.postgresql import Postgresql

from patroni.api import RestApiHandler  # isort: skip  # Patroni's modules import each other in a circle

from replication.mends import told_restart
from replication.mends.told_restart import RESTARTS


class Server(Postgresql):
    """Patroni's restart, of a PostgreSQL that starts, or not. `told`: what was said meanwhile."""

    def __init__(self, starts: bool | None = True) -> None:
        self.starts, self.told, self.states = starts, [], []

    def set_state(self, value: Any) -> None:
        self.states.append(str(value))

    def is_starting(self) -> bool:
        return self.starts is None

    @property
    def state(self) -> Any:
        return self.states[-1]

    def stop(self, *words: Any, **named: Any) -> bool:
        self.told.append(says("restarting"))
        return True

    def start(self, *words: Any, **named: Any) -> bool | None:
        self.told.append(says("starting"))
        return self.starts


def says(state: str) -> bool:
    """What the REST interface answers in that state, through Patroni's own handler."""
    handler: Any = RestApiHandler.__new__(RestApiHandler)
    handler.wfile, handler.request_version, handler.requestline = BytesIO(), "HTTP/1.0", ""
    handler.log_request = lambda *words: None
    handler.server = SimpleNamespace(
        http_extra_headers={},
        server_header="",
        patroni=SimpleNamespace(
            version="4.1.5",
            scheduled_restart=None,
            postgresql=SimpleNamespace(
                sysid=None, pending_restart_reason=None, scope="hanbat", name="dj-db1"
            ),
            ha=SimpleNamespace(get_effective_tags=dict, watchdog=SimpleNamespace(is_healthy=True)),
            logger=SimpleNamespace(queue_size=0, NORMAL_LOG_QUEUE_SIZE=2),
        ),
    )
    response: dict[str, Any] = {"state": state, "role": "primary"}
    handler._write_status_response(503, response)
    told = json.loads(handler.wfile.getvalue().split(b"\r\n\r\n")[-1])
    assert (told["state"], told["role"]) == (state, "primary")
    return told.get(RESTARTS, False)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Postgresql, "restart", Postgresql.restart)  # put back afterwards
    monkeypatch.setattr(RestApiHandler, "_write_status_response", RestApiHandler._write_status_response)
    told_restart.install()


@pytest.mark.parametrize("starts", [True, False, None], ids=["starts", "fails", "not in time"])
def test_a_restart_is_told_while_it_lasts(starts: bool | None) -> None:
    server = Server(starts)
    assert not says("running")
    assert server.restart() is starts
    assert server.told == [True, True]
    assert not says("starting")


def test_the_repair_of_a_crash_is_no_restart() -> None:
    server = Server()
    server.start()
    assert server.told == [False]


def test_a_restart_that_raises_is_over() -> None:
    server = Server()
    server.stop = lambda *words, **named: 1 / 0  # type: ignore[assignment, method-assign]
    with pytest.raises(ZeroDivisionError):
        server.restart()
    assert not says("running")
