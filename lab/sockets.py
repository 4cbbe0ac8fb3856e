"""Open TCP connections from inside a namespace, and ask the simple questions that probes ask."""

from __future__ import annotations

import ctypes
import http.client
import os
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lab.errors import NotInNamespace
from lab.identity import NETNS_ROOT

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(namespace: str) -> None:
    descriptor = os.open(NETNS_ROOT / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def connect(namespace: str, address: str, port: int, *, timeout_s: float) -> socket.socket:
    """A connection whose near end stands in a namespace.

    A socket keeps the namespace that it was made in, so only a short-lived thread enters it.
    Raises OSError as a connect does, NotInNamespace when the namespace cannot be entered.
    """
    result: list[socket.socket | Exception] = []

    def inside() -> None:
        try:
            _enter(namespace)
        except OSError as error:
            result.append(NotInNamespace(f"cannot enter the namespace {namespace}: {error}"))
            return
        try:
            result.append(socket.create_connection((address, port), timeout=timeout_s))
        except OSError as error:
            result.append(error)

    thread = threading.Thread(target=inside, name=f"enter-{namespace}")
    thread.start()
    thread.join()
    outcome = result[0]
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


@dataclass(frozen=True, slots=True)
class Answer:
    """What an HTTP server said."""

    status: int
    body: bytes


def http_get(namespace: str, address: str, port: int, path: str, *, timeout_s: float = 2.0) -> Answer:
    """GET over a connection from inside a namespace. Raises OSError when there is no answer in time."""
    client = http.client.HTTPConnection(address, port, timeout=timeout_s)
    try:
        client.sock = connect(namespace, address, port, timeout_s=timeout_s)
        client.request("GET", path, headers={"Connection": "close"})
        response = client.getresponse()
        return Answer(response.status, response.read())
    except http.client.HTTPException as error:
        raise ConnectionError(f"http://{address}:{port}{path}: {error!r}") from error
    finally:
        client.close()


def ssh_banner(namespace: str, address: str, *, timeout_s: float) -> bool:
    """Whether an sshd greets: the machine's programs run, not only its kernel."""
    try:
        with connect(namespace, address, 22, timeout_s=timeout_s) as connection:
            connection.settimeout(timeout_s)
            return connection.recv(8).startswith(b"SSH-")
    except OSError:
        return False


def reachable(namespace: str, address: str, *, port: int = 22, timeout_s: float = 0.7) -> bool:
    """Whether a machine's kernel answers, with a connection or with a refusal; silence is False."""
    try:
        connect(namespace, address, port, timeout_s=timeout_s).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def all_silent(probes: Sequence[tuple[str, str]]) -> bool:
    """Whether none of these addresses answers, each asked from its namespace, all at the same time."""
    with ThreadPoolExecutor(max(1, len(probes))) as pool:
        return not any(pool.map(lambda probe: reachable(*probe), probes))
