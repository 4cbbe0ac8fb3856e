"""Virtual time: processes are generators that yield how long they sleep, in milliseconds.

One seed gives one run. A process can be paused, killed or woken between any two of its yields, which is
where a real one can be stopped by the kernel.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

Body = Generator[int, None, None]


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant


@dataclass(slots=True)
class Process:
    name: str
    body: Iterator[int]
    paused_until: int = 0
    alive: bool = True
    token: int = 0  # a wake-up makes older entries of the queue void
    sleeping: bool = False  # in a sleep that a watch may end
    hazard: float = 0.0  # chance to be paused at a yield


class Engine:
    """The queue of what happens when, and the trace of what has happened."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 0
        self.incidents = 0
        self.trace: deque[str] = deque(maxlen=400)
        self._queue: list[tuple[int, int, Process | None, int, Callable[[], None] | None]] = []
        self._sequence = 0
        self.longest_pause = 70_000

    def log(self, who: str, what: str) -> None:
        self.trace.append(f"{self.now / 1000:9.3f} {who:<14} {what}")

    def _push(self, when: int, process: Process | None, action: Callable[[], None] | None) -> None:
        self._sequence += 1
        token = process.token if process else 0
        heapq.heappush(self._queue, (when, self._sequence, process, token, action))

    def at(self, delay: int, action: Callable[[], None]) -> None:
        """Call `action` after `delay` ms, whatever is paused."""
        self._push(self.now + delay, None, action)

    def spawn(self, name: str, body: Iterator[int], hazard: float = 0.0) -> Process:
        process = Process(name, body, hazard=hazard)
        self._push(self.now + self.rng.randrange(50), process, None)
        return process

    def kill(self, process: Process) -> None:
        process.alive = False

    def pause(self, process: Process, duration: int) -> None:
        process.paused_until = max(process.paused_until, self.now + duration)
        self.log(process.name, f"PAUSED for {duration} ms")

    def wake(self, process: Process, delay: int) -> None:
        """End a sleep that `sleeping` marks as ended by a watch."""
        if process.alive and process.sleeping:
            process.token += 1
            process.sleeping = False
            self._push(self.now + delay, process, None)

    def run(self, until: int) -> None:
        queue, rng = self._queue, self.rng
        while queue and queue[0][0] <= until:
            when, _, process, token, action = heapq.heappop(queue)
            self.now = when
            if action is not None:
                action()
                continue
            if process is None or not process.alive or token != process.token:
                continue
            if process.paused_until > when:
                self._push(process.paused_until, process, None)
                continue
            process.sleeping = False
            try:
                delay = next(process.body)
            except StopIteration:
                process.alive = False
                continue
            if process.hazard and not process.sleeping and rng.random() < process.hazard:
                self._trap(process)
            self._push(when + delay, process, None)
        self.now = until

    def _trap(self, process: Process) -> None:
        """Pause a process just here, between two of its steps: mostly briefly, sometimes for very long."""
        self.incidents += 1
        longest = self.rng.choice((300, 3000, 12_000, self.longest_pause))
        self.pause(process, self.rng.randrange(50, longest))
