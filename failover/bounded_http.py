"""One question, bounded in time as a whole: the standard clients' limits are per wait, not per question."""

from __future__ import annotations

import socket
import time

MOST_BYTES = 65_536


class NoAnswer(Exception):
    """No whole answer in time."""


def get(address: str, port: int, path: str, limit_s: float) -> tuple[int, bytes]:
    """Status and body. Raises NoAnswer, OSError (a refusal, no route) or ValueError (this is not HTTP)."""
    return _ask(
        address, port, f"GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n", limit_s
    )


def post(address: str, port: int, path: str, body: str, limit_s: float) -> tuple[int, bytes]:
    """As `get`, with a JSON body in ASCII."""
    head = f"POST {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return _ask(address, port, head + body, limit_s)


def _ask(address: str, port: int, request: str, limit_s: float) -> tuple[int, bytes]:
    end = time.monotonic() + limit_s
    try:
        with socket.create_connection((address, port), timeout=limit_s) as connection:
            connection.sendall(request.encode("ascii"))
            return parsed(_all_of(connection, end))
    except TimeoutError as error:
        raise NoAnswer(f"no answer within {limit_s} s") from error


def _all_of(connection: socket.socket, end: float) -> bytes:
    read = b""
    while len(read) < MOST_BYTES:
        left_s = end - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        part = connection.recv(8192)
        if not part:
            break
        read += part
    return read


def parsed(answer: bytes) -> tuple[int, bytes]:
    """Status and body of an HTTP/1.0 answer. Raises NoAnswer for none, ValueError for what is not HTTP."""
    if not answer:
        raise NoAnswer("the connection was closed without an answer")
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        raise ValueError("this is not HTTP")
    return int(words[1]), body
