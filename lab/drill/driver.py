"""The parent's side of the load: starts it in the clients' namespace, commands it, watches it, ends it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from lab.drill.clock import Clock
from lab.drill.errors import LoadDied, WaitedTooLong

END_S = 5.0
CLONE = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Watched:
    """The newest that the load said."""

    status: dict[str, Any] = field(default_factory=dict)
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    ready: bool = False


class LoadProcess:
    """A running load. Use it as a context: leaving it ends the load, whatever happened."""

    def __init__(
        self, command: Callable[[Sequence[str]], list[str]], plan: Path, log: Path, clock: Clock
    ) -> None:
        """`command` turns an argv into one that runs in the clients' namespace."""
        self._clock = clock
        self._changed = threading.Condition()
        self.watched = Watched()
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            command([sys.executable, "-m", "lab.drill.load", str(plan)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=CLONE,
            start_new_session=True,
        )  # a session of its own: Ctrl-C reaches the parent, who ends the load in order
        self._reader = threading.Thread(target=self._read, name="load-events", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                self._log.write(line)
                continue
            with self._changed:
                self._take(event)
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def _take(self, event: dict[str, Any]) -> None:
        if event["event"] == "status":
            self.watched.status = event
        elif event["event"] == "done":
            self.watched.done[event["command"]] = event
        elif event["event"] == "failed":
            self.watched.failed[event["command"]] = event["error"]
        elif event["event"] == "ready":
            self.watched.ready = True

    def tell(self, command: str) -> None:
        """Sends one command. Raises LoadDied when the load is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise LoadDied(f"the load is gone and cannot be told to {command}") from error

    def wait(self, ok: Callable[[Watched], bool], *, what: str, limit_s: float) -> float:
        """Waits until `ok` holds for what the load said; answers the time then.

        Raises WaitedTooLong, or LoadDied when the load ended or failed at a command.
        """
        end = self._clock.now() + limit_s
        with self._changed:
            while not ok(self.watched):
                if self.watched.failed:
                    command, error = next(iter(self.watched.failed.items()))
                    raise LoadDied(f"the load failed at {command}: {error}")
                if self._process.poll() is not None:
                    raise LoadDied(f"the load ended by itself with status {self._process.returncode}")
                left = end - self._clock.now()
                if left <= 0:
                    raise WaitedTooLong(f"{what}: not within {limit_s:g} s")
                self._changed.wait(min(left, 0.5))
        return self._clock.now()

    def do(self, command: str, *, limit_s: float) -> dict[str, Any]:
        """Tells a command and waits until it is done; answers its facts."""
        self.tell(command)
        self.wait(lambda seen: command in seen.done, what=f"load: {command}", limit_s=limit_s)
        return self.watched.done[command]

    def end(self) -> None:
        """Ends the load: asks, closes its input, then kills exactly this process. Safe to call twice."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # it is gone already; wait() says so
            self._process.stdin.write(b"stop\n")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_S)
        self._reader.join(END_S)
        self._process.stdout.close()
        self._log.close()

    def __enter__(self) -> LoadProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
