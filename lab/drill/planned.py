"""A switchover that is under way while the drill goes on: its command, and what etcd says of it."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from hanbat.errors import Exit, HanbatError
from lab.drill.drill import Drill
from lab.drill.errors import FaultWithoutEffect
from lab.drill.handover import command_of, has_hanbat_switchover, speaker
from lab.drill.handover_watch import HandoverWatch, Word
from lab.drill.matrix import Once
from lab.drill.middle import Command, Middle, Said, middle_of, reached

WATCH_S = 5.0
PAUSE_S = 1.0
SAID = re.compile(r"\s*(\d+\.\d+) s  (\S+)\s*(.*)")
EVENTS = {Once.HELD: "handover_seen", Once.LOCKED: "lock_taken"}


def said(line: str, at: float) -> Said | None:
    """A line of the command's standard error: one step of `failover.switchover`. None for another line."""
    found = SAID.match(line)
    return Said(at, found[2], found[3].strip()) if found else None


def ending(command: Command, at: float, exit_status: int, output: str) -> Command:
    """The command when its process has ended. `end` stays "" for one that died without its JSON."""
    done = replace(command, ended_at=at, exit_status=exit_status)
    try:
        document: dict[str, Any] = json.loads(output)
    except ValueError:
        return done
    if result := document.get("result"):
        return replace(done, end=result["end"], primary=result["primary"], reason=result["reason"])
    why = "; ".join(one["fact"] for one in document.get("preflight", {}).get("reasons", ()))
    return replace(done, end="not begun", reason=why)


class Planned:
    """One `hanbat switchover` in a thread of its own. `finish` in any case, also when the strike failed."""

    def __init__(self, drill: Drill, candidate: str, limit_s: float) -> None:
        """`limit_s`: of the command. Raises FaultWithoutEffect when this product has no such command."""
        self._drill = drill
        self._limit_s = limit_s
        host = speaker(drill, candidate)
        if not has_hanbat_switchover(drill, host):
            raise FaultWithoutEffect("without `hanbat switchover` nobody can see the middle of one")
        self._command = Command(host, candidate)
        self._said: list[Said] = []
        self._process: subprocess.Popen[str] | None = None
        member = urlsplit(next(iter(drill.plan.etcd.values())))  # the witness's, which no such drill hits
        self._watch = HandoverWatch(
            drill.lab.names.client,
            (member.hostname or "", member.port or 0),
            drill.lab.topology.cluster,
            drill.clock,
        )
        self._thread = threading.Thread(target=self._run, name="switchover", daemon=True)
        self.once = Once.HELD

    def begin(self) -> None:
        """Watches, then gives the command. Raises FaultWithoutEffect without a watch."""
        if not self._watch.begin(WATCH_S):
            raise FaultWithoutEffect(
                f"etcd does not tell of the handover: {self._watch.trouble or 'silence'}"
            )
        self._thread.start()

    def wait(self, once: Once, limit_s: float) -> None:
        """Until the moment was seen. Raises FaultWithoutEffect when it does not come."""
        self.once = once

        def over(words: tuple[Word, ...]) -> bool:
            return self._reached(words) or self._command.ended_at is not None

        self._watch.wait(over, limit_s)
        words, name = self._watch.words(), EVENTS[once]
        if not self._reached(words):
            why = self._watch.trouble or f"the command: {self._command.end} {self._command.reason}".rstrip()
            self._drill.note("not_in_the_middle", self._command.candidate, f"{name} did not come; {why}")
            raise FaultWithoutEffect(f"{name} did not come, so there was no middle to strike; {why}")
        seen = self.middle(None, None)
        assert seen.due_at is not None
        self._drill.moments[name] = seen.due_at
        self._drill.note(name, self._command.candidate, f"{self._drill.clock.now() - seen.due_at:.3f} s ago")

    def _reached(self, words: tuple[Word, ...]) -> bool:
        return reached(words, self.once, self._command.candidate)

    def middle(self, struck_at: float | None, bit_at: float | None) -> Middle:
        """What is known by now."""
        command = replace(self._command, said=tuple(self._said))
        return middle_of(self._watch.words(), self.once, command, struck_at, bit_at, self._watch.trouble)

    def finish(self, limit_s: float) -> None:
        """Waits for the command's end, and ends the watch."""
        if self._thread.ident is not None:
            self._thread.join(limit_s)
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._watch.close()

    def _run(self) -> None:
        drill, command = self._drill, self._command
        end = drill.clock.now() + self._limit_s
        try:
            ended = self._once(end - drill.clock.now())
            while ended.exit_status == Exit.NOT_READY and drill.clock.now() < end:
                drill.note("switchover_refused", command.candidate, ended.reason)
                time.sleep(PAUSE_S)  # nothing was begun: it is asked again
                ended = self._once(end - drill.clock.now())
            self._command = ended
        except (HanbatError, OSError) as error:
            self._command = replace(command, ended_at=drill.clock.now(), reason=str(error))
        self._watch.wake()
        told = " ".join(filter(None, (self._command.end, self._command.reason)))
        drill.note("switchover_ended", command.candidate, told or f"exit status {self._command.exit_status}")

    def _once(self, limit_s: float) -> Command:
        command, drill = self._command, self._drill
        argv = drill.lab.machine(command.host).enter(command_of(command.candidate), limit_s=max(1.0, limit_s))
        with subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            self._process = process
            output: list[str] = []
            assert process.stdout is not None
            reader = threading.Thread(target=_collect, args=(process.stdout, output.append), daemon=True)
            reader.start()
            assert process.stderr is not None
            for line in process.stderr:
                if one := said(line, drill.clock.now()):
                    self._said.append(one)
            status = process.wait()
            at = drill.clock.now()
            reader.join(1.0)
        return ending(command, at, status, "".join(output))


def _collect(stream: Any, keep: Callable[[str], None]) -> None:
    for line in stream:
        keep(line)
