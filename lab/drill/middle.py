"""Did the fault strike in the middle of the switchover, and what became of the hold? Pure; doubt is no pass.

A drill whose fault came before the hold, or after the end, is a drill of something else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lab.drill.case import CheckVerdict
from lab.drill.handover_watch import Key, Word
from lab.drill.matrix import Expect, Once
from lab.drill.matrix_checks import Held


@dataclass(frozen=True, slots=True)
class Said:
    """One line of the command, at the time when it was heard."""

    at: float
    event: str
    detail: str


@dataclass(frozen=True, slots=True)
class Command:
    """What is known of the `hanbat switchover` process. None: not (yet).

    `end`, `primary`: how it says that it ended and who is primary then; "" and None when it did not say.
    """

    host: str
    candidate: str
    said: tuple[Said, ...] = ()
    ended_at: float | None = None
    exit_status: int | None = None
    end: str = ""
    primary: str | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Middle:
    """A handover and the strike into it, in seconds since the epoch; None was not seen.

    `struck_at`, `bit_at`: before the fault was injected, and when it was in force. `open_at`: when the last
    pooler that had obeyed the hold had let go. `holder_at_end`: who had taken the lock last when the command
    ended, None when nobody had since the hold.
    """

    once: Once
    command: Command
    seen_at: float | None = None
    lock_at: float | None = None
    gone_at: float | None = None
    open_at: float | None = None
    poolers: frozenset[str] = frozenset()
    holder_at_end: str | None = None
    struck_at: float | None = None
    bit_at: float | None = None
    trouble: str = ""  # why etcd was not heard to the end

    @property
    def due_at(self) -> float | None:
        """When the moment came after which the strike was to fall."""
        return self.seen_at if self.once is Once.HELD else self.lock_at


def hold_of(words: Iterable[Word], candidate: str) -> Word | None:
    """The hold of our handover: the first that asks for this candidate."""
    holds = (each for each in words if each.key is Key.HOLD and not each.gone and each.host == candidate)
    return next(holds, None)


def lock_of(words: Iterable[Word], hold: Word, candidate: str) -> Word | None:
    """The candidate takes the lock, after the hold began."""
    taken = (each for each in words if each.key is Key.LOCK and not each.gone and each.host == candidate)
    return next((each for each in taken if each.at >= hold.at), None)


def reached(words: Iterable[Word], once: Once, candidate: str) -> bool:
    """Whether the moment that is waited for has come."""
    every = tuple(words)
    hold = hold_of(every, candidate)
    return hold is not None and (once is Once.HELD or lock_of(every, hold, candidate) is not None)


def middle_of(
    words: tuple[Word, ...],
    once: Once,
    command: Command,
    struck_at: float | None,
    bit_at: float | None,
    trouble: str = "",
) -> Middle:
    """What the words say of one handover."""
    hold = hold_of(words, command.candidate)
    if hold is None:
        return Middle(once, command, struck_at=struck_at, bit_at=bit_at, trouble=trouble)
    later = [each for each in words if each.at >= hold.at]
    lock = lock_of(later, hold, command.candidate)
    gone = next((each.at for each in later if each.key is Key.HOLD and each.gone), None)
    poolers, open_at = _poolers(later, hold.id)
    return Middle(
        once,
        command,
        hold.at,
        lock.at if lock else None,
        gone,
        open_at,
        poolers,
        _holder(later, command.ended_at),
        struck_at,
        bit_at,
        trouble,
    )


def _holder(words: Iterable[Word], ended_at: float | None) -> str | None:
    taken = [each for each in words if each.key is Key.LOCK and not each.gone]
    return next((each.host for each in reversed(taken) if ended_at is None or each.at <= ended_at), None)


def _poolers(words: Iterable[Word], hold: str) -> tuple[frozenset[str], float | None]:
    """Who obeyed the hold, and when the last of them had let go; None while one has not."""
    obeying: set[str] = set()
    let_go: dict[str, float] = {}
    for each in words:
        if each.key is not Key.POOLER:
            continue
        if each.id == hold:
            obeying.add(each.host)
        if each.id or each.gone:  # it holds for another reason, or its gatekeeper is silent: that is not open
            let_go.pop(each.host, None)
        elif each.host in obeying:
            let_go.setdefault(each.host, each.at)
    return frozenset(obeying), max(let_go.values()) if obeying and set(let_go) == obeying else None


def struck_in_the_middle(middle: Middle, expect: Expect) -> Held:
    """The fault came after its moment was seen, and before the handover was over."""
    names = {Once.HELD: "after the hold, before its end", Once.LOCKED: "after the lock, before the end"}
    why = _missed(middle)
    verdict = CheckVerdict.UNKNOWN if why else CheckVerdict.PASSED
    return Held("struck_in_the_middle", verdict, names[middle.once], why or _when(middle))


def _missed(middle: Middle) -> str:
    """Why the strike is not known to have come in the middle; "" when it did."""
    struck, bit, due, ended = middle.struck_at, middle.bit_at, middle.due_at, middle.command.ended_at
    if due is None:
        what = "the hold" if middle.once is Once.HELD else "the candidate's lock"
        return f"{what} was never seen{f' ({middle.trouble})' if middle.trouble else ''}{_said(middle)}"
    if struck is None or bit is None:
        return "nothing struck"
    if struck < due:
        return f"the fault came {due - struck:.2f} s too early"
    # One that came to say how it ended was not ended by the fault.
    if ended is not None and ended <= (bit if middle.command.end else struck):
        return f"the command ended {bit - ended:.2f} s before the fault was in force{_said(middle)}"
    if middle.once is Once.HELD and middle.gone_at is not None and middle.gone_at <= bit:
        return f"the hold ended {bit - middle.gone_at:.2f} s before the fault was in force"
    if middle.once is Once.HELD and middle.gone_at is None and middle.trouble:
        return f"when the hold ended was not heard: {middle.trouble}"
    return ""


def _said(middle: Middle) -> str:
    command = middle.command
    return f"; the command said: {command.end or '-'} {command.reason}".rstrip() if command.ended_at else ""


def _when(middle: Middle) -> str:
    assert middle.struck_at is not None
    assert middle.due_at is not None
    last = [each.event for each in middle.command.said if each.at <= middle.struck_at]
    what = "hold" if middle.once is Once.HELD else "lock"
    stood = f", the command at {last[-1]}" if last else ""
    return f"{middle.struck_at - middle.due_at:.2f} s after the {what}{stood}"


def command_told_the_truth(middle: Middle, expect: Expect) -> Held | None:
    """The primary that the command named at its end, against the lock. Not asked of one that named none."""
    named, holder = middle.command.primary, middle.holder_at_end
    if named is None:
        return None
    truth = None if middle.trouble else named == holder if holder else named != middle.command.candidate
    verdict = {True: CheckVerdict.PASSED, False: CheckVerdict.FAILED, None: CheckVerdict.UNKNOWN}[truth]
    seen = f"{holder or 'nobody else'} had taken the lock by then"
    return Held("command_told_the_truth", verdict, f"{named}, {middle.command.end}", middle.trouble or seen)


def poolers_let_go(middle: Middle, expect: Expect) -> Held | None:
    """Whatever became of the command: the hold is gone and every pooler that obeyed it lets clients in."""
    limit = expect.poolers_release_s
    if limit is None:
        return None
    text = f"{limit:g} s after the fault"
    if middle.struck_at is None or not middle.poolers or middle.trouble:
        return Held(
            "poolers_let_go", CheckVerdict.UNKNOWN, text, middle.trouble or "no pooler was seen to hold"
        )
    times = (middle.gone_at, middle.open_at)
    last = None if None in times else max(at for at in times if at is not None) - middle.struck_at
    verdict = CheckVerdict.PASSED if last is not None and last <= limit else CheckVerdict.FAILED
    return Held("poolers_let_go", verdict, text, "not until the end" if last is None else f"{last:.2f} s")


MIDDLE_EXPECTATIONS: tuple[Callable[[Middle, Expect], Held | None], ...] = (
    struck_in_the_middle,
    command_told_the_truth,
    poolers_let_go,
)


def judge(middle: Middle, expect: Expect) -> tuple[Held, ...]:
    """Every expectation of a fault in the middle of a switchover."""
    judged = (expectation(middle, expect) for expectation in MIDDLE_EXPECTATIONS)
    return tuple(each for each in judged if each is not None)


def as_plain(middle: Middle) -> dict[str, Any]:
    """For result.json: every time in seconds from the strike, negative before it."""
    struck, command = middle.struck_at, middle.command

    def since(at: float | None) -> float | None:
        return None if at is None or struck is None else round(at - struck, 3)

    return {
        "once": middle.once.value,
        "handover_seen_s": since(middle.seen_at),
        "lock_taken_s": since(middle.lock_at),
        "in_force_s": since(middle.bit_at),
        "handover_gone_s": since(middle.gone_at),
        "poolers": sorted(middle.poolers),
        "poolers_open_s": since(middle.open_at),
        "trouble": middle.trouble,
        "command": {
            "host": command.host,
            "candidate": command.candidate,
            "ended_s": since(command.ended_at),
            "exit_status": command.exit_status,
            "end": command.end,
            "primary": command.primary,
            "reason": command.reason,
            "moments": [
                {"at_s": since(each.at), "event": each.event, "detail": each.detail} for each in command.said
            ],
        },
    }
