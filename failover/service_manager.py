"""What systemd is told of a service (sd_notify): that it is ready, that it still turns."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def ready() -> None:
    """Nothing without systemd. Raises OSError when it cannot be reached: it would wait for this word."""
    _say("READY=1", waits=True)


def alive() -> None:
    """Feeds the unit's WatchdogSec. Never raises, never waits: systemd itself may hang, and we must not."""
    with suppress(OSError):
        _say("WATCHDOG=1", waits=False)


def _say(text: str, *, waits: bool) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.setblocking(waits)
            connection.connect(address.replace("@", "\0", 1))
            connection.sendall(text.encode())
