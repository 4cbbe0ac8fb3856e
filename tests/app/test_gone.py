"""A request whose client has gone away before its turn is dropped; under gunicorn as it runs on a machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from app import gone

LIMIT_S = 15.0
BUSY_S = 1.0


def slow() -> Flask:
    """Each request keeps the one thread busy, and says that it was served."""
    app = Flask("slow")
    gone.install(app)

    @app.post("/<name>")
    def serve(name: str) -> str:
        with Path(os.environ["SERVED"]).open("a", encoding="utf-8") as served:
            served.write(f"{name}\n")
        time.sleep(BUSY_S)
        return name

    return app


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as door:
        number = door.getsockname()[1]
    one_thread = ["--workers", "1", "--worker-class", "gthread", "--threads", "1", "--no-control-socket"]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gunicorn",
            "--bind",
            f"127.0.0.1:{number}",
            *one_thread,
            "tests.app.test_gone:slow()",
        ],
        env={**os.environ, "SERVED": str(tmp_path / "served")},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield number
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def post(port: int, name: str) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S)
    line.sendall(
        f"POST /{name} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi".encode()
    )
    return line


def answers(port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex(("127.0.0.1", port)) == 0


def test_who_is_still_there_is_served_and_who_has_gone_is_not(port: int, tmp_path: Path) -> None:
    end = time.monotonic() + LIMIT_S
    while not answers(port) and time.monotonic() < end:
        time.sleep(0.1)
    first = post(port, "first")
    time.sleep(BUSY_S / 4)
    post(port, "gone").close()
    stays = post(port, "stays")
    for line in (first, stays):
        assert line.recv(100).startswith(b"HTTP/1.1 200")
        line.close()
    assert (tmp_path / "served").read_text(encoding="utf-8").split() == ["first", "stays"]


def test_a_line_is_gone_when_its_other_side_is_closed_whatever_is_left_to_read() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert not gone.has_gone(here)
        there.sendall(b"unread")
        assert not gone.has_gone(here)
        there.close()
        assert gone.has_gone(here)
