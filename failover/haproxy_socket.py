"""HAProxy's runtime socket: close a server, open it, believe in it, cut its requests (management.txt)."""

from __future__ import annotations

import csv
import io
import socket
from dataclasses import dataclass
from pathlib import Path

from failover.dead_apps import waiting_in

SOCKET = Path("/run/hanbat-haproxy/admin.sock")
BACKEND = "primary"
ANSWER_S = 0.5


class HaproxySilent(Exception):
    """The socket gave no answer in time, or refused a command."""


@dataclass(frozen=True, slots=True)
class Haproxy:
    """Commands to one HAProxy. Each raises HaproxySilent, is bounded, and is safe twice."""

    path: Path = SOCKET
    backend: str = BACKEND

    def close(self, host: str) -> None:
        """No client from now on; the sessions that it has are cut. Its checks stop too."""
        self._say(f"set server {self.backend}/{host} state maint")
        self._say(f"shutdown sessions server {self.backend}/{host}")

    def open(self, host: str) -> None:
        """HAProxy's checks decide again, from where they stood."""
        self._say(f"set server {self.backend}/{host} state ready")

    def believe(self, host: str) -> None:
        """It is up until a check says otherwise."""
        self._say(f"set server {self.backend}/{host} health up")

    def states(self) -> dict[str, str]:
        """Each server's state as HAProxy words it: UP, DOWN, MAINT, ..."""
        rows = csv.DictReader(io.StringIO(self._ask(f"show stat {self.backend} 4 -1").lstrip("# ")))
        return {row["svname"]: row["status"] for row in rows}

    def figures(self) -> list[dict[str, str]]:
        """The rows of `show stat`, all servers and backends."""
        rows = csv.DictReader(io.StringIO(self._ask("show stat -1 6 -1").lstrip("# ")))
        return [{name: value or "" for name, value in row.items() if name} for row in rows]

    def cut(self, backend: str, host: str) -> None:
        """End the requests that a server has."""
        self._say(f"shutdown sessions server {backend}/{host}")

    def cut_waiting(self, backend: str) -> None:
        """End the requests that wait in a backend for a server."""
        for session in waiting_in(backend, self._ask("show sess").splitlines()):
            self._ask(f"shutdown session {session}")  # one that has ended meanwhile is no trouble

    def _say(self, command: str) -> None:
        answer = self._ask(command).strip()
        if answer:
            raise HaproxySilent(f"{command}: {answer}")

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            try:
                connection.connect(str(self.path))
                connection.sendall(f"{command}\n".encode())
                parts: list[bytes] = []
                while part := connection.recv(65536):
                    parts.append(part)
            except OSError as error:
                raise HaproxySilent(f"{self.path}: {error}") from error
        return b"".join(parts).decode()
