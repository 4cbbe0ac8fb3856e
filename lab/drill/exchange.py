"""One HTTP request on a connection of its own, and how far it came.

A new connection for each request, never a reused one: on a reused connection nobody can tell a
request that was never read from one that was carried out.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import h11

from lab.drill.operations import Stage

READ_BYTES = 65536
ANSWER_LIMIT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Exchanged:
    """How a request ended. `status` and `response` are there only when the stage is ANSWERED."""

    stage: Stage
    status: int | None = None
    response: Any = None
    retry_after_s: float | None = None
    error: str = ""


async def exchange(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Any = None,
    connect_timeout_s: float = 1.0,
    timeout_s: float = 2.0,
) -> Exchanged:
    """Sends a request and reads its answer. `timeout_s` counts from the connection on.

    Never raises for the network: how far the request came is the answer.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), connect_timeout_s)
    except (OSError, TimeoutError) as error:
        return Exchanged(Stage.CONNECT, error=_describe(error))
    try:
        async with asyncio.timeout(timeout_s):
            return await _talk(reader, writer, method, url, dict(headers or {}), body)
    except (OSError, TimeoutError, h11.ProtocolError, EOFError) as error:
        return Exchanged(Stage.SENT, error=_describe(error))
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # the answer is known; how the socket closes is not our matter
            writer.transport.abort()


def _describe(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


async def _talk(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    method: str,
    url: str,
    headers: dict[str, str],
    body: Any,
) -> Exchanged:
    parts = urlsplit(url)
    payload = b"" if body is None else json.dumps(body).encode()
    fields = {"Host": parts.netloc, "Connection": "close", "Accept": "application/json", **headers}
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(payload))}
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection = h11.Connection(h11.CLIENT)
    head = connection.send(h11.Request(method=method, target=target, headers=list(fields.items()))) or b""
    data = (connection.send(h11.Data(payload)) or b"") if payload else b""
    writer.write(head + data + (connection.send(h11.EndOfMessage()) or b""))
    await writer.drain()
    return await _answer(reader, connection)


async def _answer(reader: asyncio.StreamReader, connection: h11.Connection) -> Exchanged:
    answer: h11.Response | None = None
    content = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(READ_BYTES))
        elif isinstance(event, h11.Response):
            answer = event
        elif isinstance(event, h11.Data):
            content += event.data
            if len(content) > ANSWER_LIMIT_BYTES:
                raise EOFError("the answer is too long")
        elif isinstance(event, h11.EndOfMessage):
            break
        elif isinstance(event, h11.ConnectionClosed):
            raise EOFError("closed before the answer was complete")
    if answer is None:
        raise EOFError("no answer")
    fields = {name.decode().lower(): value.decode("latin-1") for name, value in answer.headers}
    return Exchanged(
        Stage.ANSWERED, answer.status_code, _parse(bytes(content)), _seconds(fields.get("retry-after"))
    )


def _parse(content: bytes) -> Any:
    """The answer as JSON, or its first text when it is none."""
    try:
        return json.loads(content)
    except ValueError:
        return content[:500].decode("utf-8", "replace")


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isdigit() else None
