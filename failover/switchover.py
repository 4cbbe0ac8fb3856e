"""A planned handover, step by step: announce, checkpoint, hold and offer at once, release, verify.

Before anybody waits, the handover is announced to the candidate, which then makes sure that it acknowledges
nothing alone when it is promoted (`replication.mends.gate`). One that knows of no gate is handed over to all
the same, and that is said. One whose gate is shut but not yet in force is not: nobody could write there until
its checkpointer has read that it is open again.

Patroni does the handing over, as for its own switchover: the old primary stops cleanly once its standbys
have all its WAL, and the candidate takes the lock. Around it new transactions wait at the poolers, so that
requests wait instead of being refused. Hold and offer are written in one transaction: while Patroni prepares
the stop, the poolers come to hold, and Patroni waits a moment for the last transactions
(`replication.mends.quick_handover`). One that runs for long is looked for before.

Whatever happens, the poolers are released: by this process, else because its lease in etcd runs out, else
by the limit of each gatekeeper. And whatever happens, Patroni and etcd decide who is primary.

A person or a signal may end it at any moment (KeyboardInterrupt). The offer is taken back while the old
primary still holds the lock and accepts writes. Once it has begun to go, nothing can be taken back: the
poolers hold until the candidate accepts writes, and the end is told as it was seen.

The steps see the world through `Means`, and time through a clock that is given.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from failover.handover import Handover, Pooler, PoolerState

MARGIN_MS = 1000  # a gatekeeper's own limit is later than ours
LOOK_S = 0.1  # at least so often; a change in etcd wakes the real clock at once
STAYS_S = 3.0  # a primary whose offer was taken back may have begun to stop: it shows within so long
CALM_S = 0.5  # between two looks once clients are let in: they need the processor more than we the news


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds in seconds.

    `gate_s`: from the announcement to the candidate's word that its gate is in force; nobody waits meanwhile.
    `shut_s`: the same to a gate that is shut; after that the candidate knows of none.
    `handover_s`: from the hold to a writable candidate; after that the poolers are released in any case.
    `settle_s`: until the service is whole again behind the new primary.
    `ending_s`: after an interruption, until it is told who is primary.
    """

    gate_s: float = 20.0
    shut_s: float = 10.0
    handover_s: float = 8.0
    commit_s: float = 15.0
    settle_s: float = 60.0
    ending_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Standing:
    """One read of etcd. `holder`: of the lock, None while it is free. `offered`: our offer still stands.

    `poolers`: the last word of every application host's gatekeeper, None when it is silent.
    """

    holder: str | None
    offered: bool
    poolers: Mapping[str, Pooler | None]


class End(StrEnum):
    DONE = "done"
    UNCHANGED = "unchanged"  # it was not handed over, and the old primary goes on
    INCOMPLETE = "incomplete"  # there is a primary; something is not as it should be
    UNKNOWN = "unknown"  # nobody was seen to be the primary


class Unanswered(Exception):
    """Hold and offer were asked for, and the answer was lost: they may stand, and Patroni may act on them."""


class Means(Protocol):
    """What the steps need of the world. Each call is bounded in time."""

    def announce(self, id: str, candidate: str) -> str: ...  # "" or why it could not be
    def gate_in_force(self, id: str, candidate: str) -> bool: ...
    def gate_open(self, candidate: str) -> bool: ...  # False also where it is not known
    def checkpoint(self, host: str) -> str: ...  # "" or why there was none
    def busy(self, host: str) -> str: ...  # a transaction that runs for long, "" when there is none
    def begin(self, handover: Handover) -> str: ...  # hold and offer: "" or why it was refused;
    # raises Unanswered
    def release(self) -> None: ...  # safe twice, never raises
    def withdraw(self, holder: str | None = None) -> None: ...  # our own offer, if it stands; never raises.
    # With a holder: only while that one has the lock.
    def standing(self) -> Standing | None: ...  # None: etcd was not read
    def writable(self, host: str) -> bool: ...
    def commits(self, host: str) -> bool: ...  # whether a synchronous commit was acknowledged
    def unsettled(self) -> str: ...  # what is not whole yet, "" when nothing


@dataclass(frozen=True, slots=True)
class Moment:
    """One step as it happened; `at_s` since the beginning."""

    at_s: float
    event: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """`held_s`: how long new transactions waited at the most; None when none was held."""

    end: End
    primary: str | None
    reason: str
    held_s: float | None
    moments: tuple[Moment, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            "end": self.end.value,
            "primary": self.primary,
            "reason": self.reason,
            "held_s": None if self.held_s is None else round(self.held_s, 3),
            "moments": [
                {"at_s": round(one.at_s, 3), "event": one.event, "detail": one.detail} for one in self.moments
            ],
        }


@dataclass
class Switchover:
    """One handover from `old` to `candidate`. `without`: application hosts that are known to be off.

    `say` hears of each step. Who listens may be gone: what it raises changes nothing.
    """

    means: Means
    id: str
    old: str
    candidate: str
    now: Callable[[], float]
    sleep: Callable[[float], None]  # may end early, when something has changed
    rest: Callable[[float], None]  # never ends early
    without: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    say: Callable[[Moment], None] = lambda moment: None
    _moments: list[Moment] = field(default_factory=list[Moment])
    _began_s: float = 0.0
    _hold_s: float | None = None
    _offered: bool = False  # or may be
    _held_s: float | None = None
    _released: bool = False

    def run(self) -> Result:
        """All steps. The poolers are released in any case, also when a step raises."""
        self._began_s = self.now()
        try:
            return self._steps_or_interrupted()
        except BaseException:
            self.means.withdraw(self.old)
            raise
        finally:
            self._release()

    def _steps_or_interrupted(self) -> Result:
        try:
            result = self._steps()
            self._release()
            return result
        except KeyboardInterrupt as word:
            return self._interrupted(str(word) or "interrupted")

    def _steps(self) -> Result:
        unready = self._announce()
        if unready:
            return self._failed(unready)
        trouble = self.means.checkpoint(self.old)
        self._note("checkpoint", trouble or f"{self.old} has little left to write")
        busy = self.means.busy(self.old)
        if busy:
            return self._failed(busy)
        failure = self._hand_over()
        if failure:
            return self._failed(failure)
        self._release()
        return self._verify()

    def _announce(self) -> str:
        """Answers why it must not be handed over, "" when it may be."""
        trouble = self.means.announce(self.id, self.candidate)
        if not trouble and not self._gate_answers():
            if not self.means.gate_open(self.candidate):
                limit = f"{self.limits.gate_s:g} s"
                return (
                    f"the gate of {self.candidate} was not shown to be in force within {limit} "
                    "(a long restartpoint?): nobody could write there; try again later"
                )
            trouble = f"{self.candidate} did not answer"
        alone = f"{self.candidate} will acknowledge alone at first ({trouble})"
        self._note("announced", alone if trouble else f"{self.candidate} will acknowledge nothing alone")
        return ""

    def _gate_answers(self) -> bool:
        """Whether the gate came to be in force. Who has none does not make the command wait for it."""
        began = self.now()
        while not self.means.gate_in_force(self.id, self.candidate):
            waited_s = self.now() - began
            if waited_s >= self.limits.gate_s:
                return False
            if waited_s >= self.limits.shut_s and self.means.gate_open(self.candidate):
                return False
            self.rest(CALM_S)
        return True

    def _note(self, event: str, detail: str = "") -> None:
        moment = Moment(self.now() - self._began_s, event, detail)
        self._moments.append(moment)
        with contextlib.suppress(Exception, SystemExit):  # rich ends the process when its pipe is gone
            self.say(moment)

    def _hand_over(self) -> str:
        """Answers why it was not handed over, "" when the candidate accepts writes."""
        self._hold_s, self._offered = self.now(), True
        limit_ms = round(self.limits.handover_s * 1000) + MARGIN_MS
        try:
            refused = self.means.begin(Handover(self.id, self.old, self.candidate, limit_ms))
        except Unanswered as error:
            self._note("unanswered", str(error))
            if not self._has_gone():
                return str(error)
            refused = ""  # the offer stands, and is acted on
        if refused:
            self._offered = False
            return refused
        self._note("hold", f"Patroni of {self.old} hands over to {self.candidate}")
        return self._follow(self.now() + self.limits.handover_s)

    def _follow(self, end_s: float) -> str:
        """Looks on until the candidate accepts writes, or until then; answers as `_hand_over`."""
        late = "all"
        while self.now() < end_s:
            seen = self.means.standing()
            if seen and late and not (late := self._not_held(seen)):
                self._note("held", "no transaction is under way")
            holder = seen.holder if seen else None
            if holder == self.candidate and self.means.writable(self.candidate):
                self._note("writable", f"{self.candidate}; not held: {late}" if late else self.candidate)
                return ""
            if seen and holder == self.old and not seen.offered:
                return f"Patroni of {self.old} took the offer back; its log says why"
            if holder not in (None, self.old, self.candidate):
                return f"{holder} took the lock instead"
            if holder == self.candidate:
                self.rest(LOOK_S)  # the gatekeepers let clients in by themselves
            else:
                self.sleep(LOOK_S)
        return f"{self.candidate} did not accept writes within {self.limits.handover_s:g} s"

    def _not_held(self, seen: Standing) -> str:
        late = [
            host
            for host, word in sorted(seen.poolers.items())
            if host not in self.without
            and (word is None or word.state is not PoolerState.HELD or word.handover != self.id)
        ]
        return ", ".join(late)

    def _release(self) -> None:
        if self._released:
            return
        self.means.release()
        self._released = True
        if self._hold_s is not None:
            self._held_s = self.now() - self._hold_s
            self._note("released", f"new transactions waited for at most {self._held_s:.2f} s")

    def _failed(self, failure: str) -> Result:
        """Something went wrong: the offer is taken back, and whoever is primary then is what is told.

        It is taken back before clients are let in: an offer that stands may be acted on at any moment.
        """
        self._note("failed", failure)
        self.means.withdraw(self.old)
        self._release()
        self.means.withdraw()
        return self._told(failure, self.limits.settle_s)

    def _interrupted(self, word: str) -> Result:
        """Taken back where that is still possible, else followed to its end; and told."""
        self._note("interrupted", word)
        if self._offered and not self._released and self._has_gone():
            self._note("goes on", f"{self.old} has begun to hand over, which cannot be taken back")
            self._follow((self._hold_s or 0.0) + self.limits.handover_s)
        else:
            self.means.withdraw(self.old)
        self._release()
        self._settle_offer()
        return self._told(word, self.limits.ending_s)

    def _has_gone(self) -> bool:
        """Whether the old primary gave up the lock, or stopped for the offer. False when etcd is not read."""
        seen = self.means.standing()
        if seen is None or (seen.holder == self.old and not seen.offered):
            return False
        return seen.holder != self.old or not self.means.writable(self.old)

    def _settle_offer(self) -> None:
        """An offer that nobody has taken by now is taken back. The lease of a write whose answer was lost is
        revoked by then, so it has either happened or never will."""
        seen = self.means.standing()
        if seen is None or seen.holder in (None, self.old):
            self.means.withdraw()

    def _told(self, failure: str, limit_s: float) -> Result:
        primary = self._primary(limit_s, STAYS_S if self._offered else 0.0)
        if primary is None:
            return self._result(End.UNKNOWN, None, f"{failure}; no primary was seen since")
        end = End.UNCHANGED if primary == self.old else End.INCOMPLETE
        return self._result(end, primary, failure)

    def _primary(self, limit_s: float, stays_s: float) -> str | None:
        """Who holds the lock and accepts writes; None when nobody was seen to within the limit.

        The old primary must have done so for `stays_s` without a break, and without our offer.
        """
        end, since = self.now() + limit_s, None
        while True:
            seen = self.means.standing()
            holder = seen.holder if seen else None
            if seen and seen.offered and holder == self.old:
                self.means.withdraw(self.old)  # it was not answered before
                since = None
            elif holder is None or not self.means.writable(holder):
                since = None
            elif holder != self.old:
                return holder
            else:
                since = self.now() if since is None else since
                if self.now() - since >= stays_s:
                    return holder
            if self.now() >= end:
                return None
            self.rest(CALM_S)

    def _verify(self) -> Result:
        """Done is a candidate that still has the lock when all is whole behind it, and nobody else."""
        failure = self._not_whole()
        if not failure:
            return self._result(End.DONE, self.candidate, "")
        primary = self._primary(self.limits.ending_s, 0.0)
        end = End.INCOMPLETE if primary else End.UNKNOWN
        return self._result(end, primary, failure)

    def _not_whole(self) -> str:
        """Waits for a commit and for every host; why that did not come, "" when it did."""
        committed = self._wait_while_mine(lambda: self.means.commits(self.candidate), self.limits.commit_s)
        if committed:
            self._note("acknowledged", "a synchronous commit on the new primary")
        if committed and self._wait_while_mine(lambda: not self.means.unsettled(), self.limits.settle_s):
            self._note("settled", "every host is back, site-safe")
            return ""
        if successor := self._successor():
            return f"{self.candidate} became the primary and lost the lock; {successor} has it"
        if committed:
            return self.means.unsettled() or "it was whole only after the limit"
        return (
            f"{self.candidate} was the primary and acknowledged no commit within {self.limits.commit_s:g} s"
        )

    def _wait_while_mine(self, holds: Callable[[], bool], limit_s: float) -> bool:
        """Whether it came to hold within the limit, while nobody else had the lock."""
        end = self.now() + limit_s
        while not self._successor():
            if holds():
                return True
            if self.now() >= end:
                return False
            self.rest(CALM_S)
        return False

    def _successor(self) -> str:
        """Who has taken the lock from the candidate since; "" as far as etcd tells."""
        seen = self.means.standing()
        holder = seen.holder if seen else None
        return holder if holder is not None and holder != self.candidate else ""

    def _result(self, end: End, primary: str | None, reason: str) -> Result:
        return Result(end, primary, reason, self._held_s, tuple(self._moments))
