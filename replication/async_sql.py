"""Waiting, with a bound, for the answer on an asynchronous psycopg2 connection."""

from __future__ import annotations

import select
import time
from typing import Any

import psycopg2.extensions as pg

LOOKS = 20  # at what is there already, when the time is over


def reached(connection: Any, limit_s: float) -> bool:
    """Whether a new connection's other side answers TCP within the limit. Raises psycopg2.Error."""
    end = time.monotonic() + limit_s
    while connection.poll() == pg.POLL_WRITE:
        left_s = max(0.0, end - time.monotonic())
        if not any(select.select([], [connection.fileno()], [], left_s)):
            return False
    return True


def answered(connection: Any, limit_s: float) -> bool:
    """Whether the answer is there within the limit; 0 is a look without waiting. Raises psycopg2.Error."""
    end = time.monotonic() + limit_s
    looks = 0
    while (state := connection.poll()) != pg.POLL_OK:
        left_s = max(0.0, end - time.monotonic())
        looks += left_s == 0.0
        reading = [connection.fileno()] if state == pg.POLL_READ else []
        writing = [connection.fileno()] if state == pg.POLL_WRITE else []
        if looks > LOOKS or not any(select.select(reading, writing, [], left_s)):
            return False
    return True
