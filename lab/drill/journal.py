"""The journal of the load: JSON lines, the intent before the request, the result after it.

Each line is one `write` to a file opened for appending, so a killed drill still leaves all that was
sent. An intent without a result is an attempt whose outcome is unknown.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.drill.operations import Attempt, Outcome


class Journal:
    """Appends records to one file."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, **record: Any) -> None:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"), default=str)
        os.write(self._descriptor, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def records(path: Path) -> Iterator[dict[str, Any]]:
    """All whole records of a journal. A torn last line (the writer was killed) is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            if not line.endswith("\n"):
                return
            yield json.loads(line)


def attempts(path: Path) -> tuple[Attempt, ...]:
    """All attempts in a journal of operations. Raises KeyError for a result without its intent."""
    sent: dict[int, dict[str, Any]] = {}
    ended: dict[int, dict[str, Any]] = {}
    for record in records(path):
        (sent if record["record"] == "sent" else ended)[record["n"]] = record
    for number in ended:
        sent[number]
    return tuple(_attempt(intent, ended.get(number)) for number, intent in sent.items())


def _attempt(intent: dict[str, Any], result: dict[str, Any] | None) -> Attempt:
    result = result or {
        "at": None,
        "outcome": Outcome.UNKNOWN,
        "status": None,
        "response": None,
        "error": "no result",
    }
    return Attempt(
        stream=intent["stream"],
        kind=intent["kind"],
        key=intent["key"],
        edge=intent["edge"],
        path=intent["path"],
        body=intent["body"],
        sent_at=intent["at"],
        ended_at=result["at"],
        outcome=Outcome(result["outcome"]),
        status=result["status"],
        response=result["response"],
        error=result["error"],
    )
