"""ssh into a lab's machines with fabric: only known host keys, every wait bounded.

fabric 3.2 accepts unknown host keys silently, and its local timeout leaves the remote process
running: both are met here.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import paramiko
from fabric import Config, Connection
from invoke.runners import Result

from lab import sockets
from lab.errors import CommandTimedOut

if TYPE_CHECKING:
    from lab.laboratory import Lab

CONNECT_S = 5


class LabConnection(Connection):
    """A connection from the client machine to a host. Close it, or use it as a context."""

    def __init__(self, lab: Lab, host: str) -> None:
        address = str(lab.topology.host(host).address)
        options: dict[str, Any] = {
            "key_filename": str(lab.operator_key),
            "look_for_keys": False,
            "allow_agent": False,
            "banner_timeout": CONNECT_S,
            "auth_timeout": CONNECT_S,
        }
        super().__init__(
            host=address,
            user="root",
            config=Config(lazy=True, overrides={"load_ssh_configs": False}),
            connect_timeout=CONNECT_S,
            connect_kwargs=options,
            # Any true value makes fabric ask `open_gateway` for the socket.
            gateway=f"namespace {lab.names.client}",
        )
        # The attributes of a Connection are guarded until the constructor of fabric has run.
        self.__dict__["_namespace"] = lab.names.client
        client = self.client
        assert client is not None
        client.load_host_keys(str(lab.known_hosts))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())

    def open_gateway(self) -> Any:
        """A socket that stands on the client machine. Raises OSError."""
        return sockets.connect(self.__dict__["_namespace"], str(self.host), 22, timeout_s=CONNECT_S)

    def command(self, argv: Sequence[str], *, timeout_s: float) -> Result:
        """Run a command; it is ended over there too when its time is over. Raises CommandTimedOut."""
        words = ["timeout", "--kill-after=1", f"{timeout_s:g}", *argv]
        result: Result = self.run(
            shlex.join(words), hide=True, warn=True, in_stream=False, timeout=int(timeout_s) + 5
        )
        if result.exited in (124, 137):
            raise CommandTimedOut(f"{self.host}: {shlex.join(argv)}: no end after {timeout_s:g} s")
        return result


def connect(lab: Lab, host: str) -> LabConnection:
    """A connection to a host; it opens at its first use. Raises KeyError for an unknown host."""
    return LabConnection(lab, host)
