"""Who has gone away is not served.

After an outage of the database requests of clients who gave up long ago stand before those of clients who
still wait: in the queue of the edge, and, once sent, in the worker's own. The edge drops the first by itself,
and closes the connection of the second; here such a request is dropped before anything is done for it.
"""

from __future__ import annotations

import select
import socket

from flask import Flask, Response, request

CLIENT_CLOSED_REQUEST = 499
"""Nobody reads it; the counters of requests show it (the number is nginx's)."""


def has_gone(line: socket.socket) -> bool:
    """Whether the other side has closed its connection; what it sent before may still be unread."""
    poll = select.poll()
    poll.register(line, select.POLLRDHUP)
    return bool(poll.poll(0))


def install(app: Flask) -> None:
    """Look before each request. Without gunicorn there is no connection to look at, and nobody is gone."""

    @app.before_request
    def drop() -> Response | None:
        line = request.environ.get("gunicorn.socket")
        if line is None or not has_gone(line):
            return None
        return Response(status=CLIENT_CLOSED_REQUEST)
