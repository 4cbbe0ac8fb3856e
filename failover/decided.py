"""A decision of a person is carried out, a yes or a signature; and what is known when nobody waits on."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from failover import manual
from failover.config import Config
from failover.etcd_dcs import EtcdDcs, LeaseGone, NotAnswered
from failover.etcd_json import EtcdAnswerWrong
from failover.executor import Answer
from failover.looker import Looker
from failover.manual import Plan, Progress, Signature
from failover.observer import PULSE_PERIOD_S
from failover.transaction import Transaction
from failover.view import DcsState, NotSeen, View
from hanbat.errors import Exit, HanbatError

APPROVAL_TTL_S = 10
KEEP_S = 2.0
LOOK_AGAIN = "see whether it has begun: hanbat status"


class DcsNotSeen(HanbatError):
    """etcd was not read: nothing is known, and nothing was done, or what was done is not known."""

    code = 181
    hint = "without a majority of etcd: docs/failover.md, When etcd has lost its majority"
    exit_status = Exit.UNKNOWN


class NotTaken(HanbatError):
    """The move was refused or did not begin; nothing has changed."""

    code = 182
    hint = "see what stands there now (hanbat status), and decide again"


class Unfinished(HanbatError):
    """The move has begun and has not come to its end. Act now."""

    code = 183
    hint = "watch it: hanbat status --watch"
    exit_status = Exit.INCOMPLETE


class GaveUp(Exception):
    """Nobody waits any longer: the limit is over, or Ctrl-C was pressed. What became of it is to be seen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: the keys, and the plan that was made from them."""

    view: View
    dcs: DcsState
    plan: Plan


@dataclass
class Yes:
    """An approval under a lease of its own. `revision`: as it was written; None: it may or may not be."""

    dcs: EtcdDcs
    lease: int
    revision: int | None = None

    def take_back(self) -> bool:
        """Whether it is known to be gone; else it is APPROVAL_TTL_S later. Safe twice, never raises.

        The lease goes in any case: a write that is still under way is refused without it.
        """
        withdrawn = self.revision is not None and self.dcs.commit(manual.withdraw(self.revision)) is Answer.OK
        return self.dcs.revoke(self.lease) is Answer.OK or withdrawn


@dataclass
class Act:
    """Carries one decision out, and waits for what becomes of it."""

    config: Config
    looker: Looker
    dcs: EtcdDcs

    def approve(self, seen: Seen, by: str) -> None:
        """Write the yes under a lease that is kept while we wait. Raises NotTaken, Unfinished, DcsNotSeen.

        However this ends, the yes ends with it; where etcd does not answer, APPROVAL_TTL_S later.
        """
        plan, policy = seen.plan, self.config.policy
        assert plan.old is not None
        assert plan.candidate is not None
        given = manual.approval(seen.dcs, plan.old, plan.candidate, by)
        try:
            yes = Yes(self.dcs, self.dcs.grant(APPROVAL_TTL_S))
        except (NotAnswered, EtcdAnswerWrong) as error:
            raise DcsNotSeen(f"nothing was approved: {error}") from error
        limit_ms = policy.block_ms + policy.lock_limit_ms + policy.promote_limit_ms
        try:
            yes.revision = self._written(manual.approve(seen.dcs, given, yes.lease))
            if yes.revision is None:
                raise GaveUp("the approval was sent and not answered")
            self._wait(seen, plan.candidate, limit_ms, yes.lease)
        except GaveUp as why:
            raise self._given_up(seen, yes, str(why)) from why
        finally:
            yes.take_back()

    def _given_up(self, seen: Seen, yes: Yes, why: str) -> HanbatError:
        """What is known once the yes is gone: while it stands, "nothing has changed" may be true no more."""
        gone = yes.take_back()
        found = _over(self.looker.view(), seen.dcs, why)
        if gone or not isinstance(found, NotTaken):
            return found
        left = f"the approval was not seen to be taken back, and may be used for {APPROVAL_TTL_S} s"
        return DcsNotSeen(f"{why}; {left}", hint=LOOK_AGAIN)

    def force(self, seen: Seen, by: str) -> None:
        """One transaction, signed. Raises NotTaken, Unfinished or DcsNotSeen."""
        plan, policy = seen.plan, self.config.policy
        assert plan.candidate is not None
        prospect = next((one for one in seen.view.prospects if one.candidate == plan.candidate), None)
        signature = Signature(
            by, datetime.now(UTC).isoformat(timespec="seconds"), plan.support["candidate"], prospect
        )  # fmt: skip
        revision = self._written(manual.force(seen.dcs, self.looker.found, plan, signature))
        try:
            self._wait(seen, plan.candidate, policy.lock_limit_ms + policy.promote_limit_ms, 0)
        except NotTaken as error:
            raise _signed_end(error, known=revision is not None) from error
        except GaveUp as why:
            found = _over(self.looker.view(), seen.dcs, str(why))
            raise _signed_end(found, known=revision is not None) from why

    def _written(self, transaction: Transaction) -> int | None:
        """The revision that it made; None: it was sent and not answered, and may have been carried out.

        Raises NotTaken when a comparison did not hold, and DcsNotSeen.
        """
        try:
            revision = self.dcs.write(transaction)
        except NotAnswered as error:
            if error.sent:
                return None
            raise DcsNotSeen(f"etcd was not reached, so nothing was asked of it: {error}") from error
        except EtcdAnswerWrong:
            return None
        except LeaseGone as error:
            raise NotTaken(f"etcd took longer than the approval may: {error}") from error
        except KeyboardInterrupt as error:
            fact = "interrupted before etcd had answered: it may have been carried out"
            raise DcsNotSeen(fact, hint=LOOK_AGAIN) from error
        if revision is None:
            raise NotTaken("the state has changed since it was shown")
        return revision

    def _wait(self, seen: Seen, candidate: str, limit_ms: int, lease: int) -> None:
        """Until it is done. Raises NotTaken, Unfinished, or GaveUp."""
        progress, end, kept = Progress(seen.dcs, candidate), time.monotonic() + limit_ms / 1000, 0.0
        try:
            while time.monotonic() < end:
                if lease and time.monotonic() - kept > KEEP_S:
                    kept = time.monotonic()
                    self._keep(lease)
                view = self.looker.view()
                state = progress.judge(view)
                if state == "done":
                    return
                if state == "refused":
                    raise NotTaken(_why(view))
                if state == "incomplete":
                    raise Unfinished(_why(view))
                time.sleep(PULSE_PERIOD_S / 2)
        except KeyboardInterrupt as error:
            raise GaveUp("interrupted, and not waited for any longer") from error
        raise GaveUp(f"not done within {limit_ms / 1000:.0f} s")

    def _keep(self, lease: int) -> None:
        """A lease that is gone took the approval with it: it was used, or is seen to be gone."""
        try:
            self.dcs.keep_alive(lease)
        except (NotAnswered, EtcdAnswerWrong, LeaseGone):
            return


def _why(view: View) -> str:
    if isinstance(view.dcs, NotSeen) or view.dcs.operation is None:
        return "no takeover is known"
    one = view.dcs.operation
    return f"takeover {one.epoch}, {one.old} to {one.candidate}: {one.phase} {one.note}".strip()


def _over(view: View, before: DcsState, why: str) -> HanbatError:
    """Nobody waits any longer, and `why`: what is known then."""
    text = f"{why}; {_why(view)}"
    if isinstance(view.dcs, NotSeen):
        return DcsNotSeen(f"{text}; {view.dcs.reason}", hint=view.dcs.hint or None)
    if view.dcs.operation_revision != before.operation_revision:
        return Unfinished(text)
    return NotTaken(text, hint="are the controllers running? systemctl status hanbat-failover")


def _signed_end(found: HanbatError, *, known: bool) -> HanbatError:
    """How a signed move ends that was not seen to be done. `known`: etcd has said that it was carried out.

    Then whatever is found later, it has begun.
    """
    if known:
        return Unfinished(f"signed, and carried out in etcd; {found}")
    if isinstance(found, NotTaken):
        return DcsNotSeen("the transaction was sent and not answered; no change was seen", hint=LOOK_AGAIN)
    return found
