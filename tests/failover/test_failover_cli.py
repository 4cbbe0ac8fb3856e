"""`hanbat failover` from the first look to the end: against a DCS in memory and views that are given."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from failover import failover_cli
from failover.decided import DcsNotSeen, NotTaken, Unfinished
from failover.etcd_dcs import NotAnswered
from failover.etcd_json import Entry
from failover.executor import Answer
from failover.failover_cli import NoSuchTarget, PrimaryAlive
from failover.policy import Mode, Policy
from failover.transaction import APPROVAL, SIGNED, Delete, Put, Transaction
from failover.view import (
    Config,
    DcsState,
    Host,
    HostSeen,
    NotSeen,
    Phase,
    Prospect,
    Reach,
    Role,
    SyncSet,
    View,
)
from hanbat.errors import Exit

from .views import DCS, HOSTS, SITE_LOST, in_phase, observation, primary, standby, view

QUICK = Policy(cross_site=Mode.APPROVE, block_ms=100, lock_limit_ms=100, promote_limit_ms=100)
LOST = view(SITE_LOST, policy=QUICK)
WRITES = (observation("gyeonggi", HostSeen("gg-db1", Reach.REACHABLE, 10, Role.PRIMARY)),)
DONE = in_phase(Phase.REVOKED, "gg-db1", observations=WRITES)
CALM = view(
    tuple(
        observation(site, primary("dj-db1"), standby("dj-db2"), standby("gg-db1"))
        for site in ("daejeon", "gyeonggi", "sejong")
    )
)


CTRL_C = "Ctrl-C"


@dataclass
class Memory:
    """Takes every transaction; remembers them, and says what it is told to say."""

    answer: Answer = Answer.OK
    reached: bool = True
    revoke_answer: Answer = Answer.OK
    sent: list[Transaction] = field(default_factory=list)
    revoked: list[int] = field(default_factory=list)

    def commit(self, transaction: Transaction) -> Answer:
        self.sent.append(transaction)
        return self.answer

    def write(self, transaction: Transaction) -> int | None:
        if not self.reached:
            raise NotAnswered("connection refused", sent=False)
        self.sent.append(transaction)
        if self.answer is Answer.UNKNOWN:
            raise NotAnswered("no answer", sent=True)
        return 90 if self.answer is Answer.OK else None

    def grant(self, ttl_s: int) -> int:
        return 8

    def keep_alive(self, lease: int) -> None:
        assert lease == 8

    def revoke(self, lease: int) -> Answer:
        self.revoked.append(lease)
        return self.revoke_answer

    def time_left_ms(self, lease: int) -> int | None:
        return 9000


@dataclass
class Told:
    """The controller's configuration, as far as the command uses it."""

    memory: Memory
    policy: Policy = QUICK
    cluster: str = "hanbat"
    hosts: tuple[Host, ...] = HOSTS

    def __post_init__(self) -> None:
        self.addresses = {host.name: "203.0.113.9" for host in self.hosts}

    def dcs(self) -> Memory:
        return self.memory


class Screen:
    """A looker: the views one after the other, the last one for ever. CTRL_C: the person presses it then."""

    def __init__(self, views: list[View | str]) -> None:
        self._views = iter(views)
        self._last = views[0]
        self.found: dict[str, Entry] = {}

    def view(self) -> View:
        self._last = next(self._views, self._last)
        if isinstance(self._last, str):
            raise KeyboardInterrupt
        return self._last


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the command with given views; its exit status, its output and what was sent."""

    def command(
        views: list[View | str],
        *words: str,
        answer: Answer = Answer.OK,
        text: str = "",
        memory: Memory | None = None,
    ) -> tuple[Any, str, Memory]:
        memory = memory or Memory(answer)
        monkeypatch.setattr(failover_cli, "read_config", lambda path: Told(memory))
        monkeypatch.setattr(failover_cli, "Looker", lambda config: Screen(views))
        monkeypatch.setattr(failover_cli, "informed", lambda seen, config, dcs: seen)
        monkeypatch.setattr(failover_cli, "LOOK_S", 0.05)
        result = CliRunner().invoke(
            failover_cli.failover, ["--config", str(Path("any")), *words], standalone_mode=False, input=text
        )
        if result.exception is not None:
            raise result.exception
        return result.return_value, result.output, memory

    return command


def test_the_plan_alone_changes_nothing(run: Any) -> None:
    status, output, memory = run([LOST], "--to", "gyeonggi", "--json")
    assert (status, memory.sent) == (Exit.WAITING, [])
    assert json.loads(output)["plan"]["proved"] is True


def test_a_yes_is_written_and_waited_for_and_taken_back(run: Any) -> None:
    status, output, memory = run([LOST, LOST, DONE], "--to", "gyeonggi", "--execute", "--by", "kim")
    assert (status, output.splitlines()[-1]) == (Exit.DONE, "done")
    put = memory.sent[0].changes[0]
    assert isinstance(put, Put)
    assert json.loads(put.value) == {"candidate": "gg-db1", "old": "dj-db1", "lock_revision": 10, "by": "kim"}
    assert memory.sent[-1].changes == (Delete(APPROVAL),)
    assert memory.revoked == [8]


def test_an_offer_that_stands_does_not_keep_the_yes_from_being_written(run: Any) -> None:
    offered = replace(LOST, dcs=replace(DCS, failover_revision=33), offer_age_ms=200)
    status, output, memory = run([offered, offered, DONE], "--to", "gyeonggi", "--execute")
    assert (status, memory.sent[0].changes[0].key) == (Exit.DONE, APPROVAL)
    assert "note: an offer stands" in output


def test_a_state_that_has_changed_is_not_approved(run: Any) -> None:
    with pytest.raises(NotTaken, match="changed"):
        run([LOST], "--to", "gyeonggi", "--execute", answer=Answer.REFUSED)


def test_a_move_that_never_begins_has_changed_nothing(run: Any) -> None:
    with pytest.raises(NotTaken, match="not done within"):
        run([LOST], "--to", "gyeonggi", "--execute")


def test_a_move_that_does_not_end_calls_for_people(run: Any) -> None:
    with pytest.raises(Unfinished):
        run([LOST, in_phase(Phase.TAKEN, "gg-db1")], "--to", "gyeonggi", "--execute")


def test_an_end_that_nobody_saw_is_unknown(run: Any) -> None:
    with pytest.raises(DcsNotSeen):
        run([LOST, view(dcs=NotSeen("no majority"))], "--to", "gyeonggi", "--execute")


def test_without_a_majority_nothing_is_known(run: Any) -> None:
    with pytest.raises(DcsNotSeen):
        run([view(dcs=NotSeen("no majority"))], "--to", "gyeonggi")


def test_a_stranger_has_a_hint_of_its_own(run: Any) -> None:
    with pytest.raises(DcsNotSeen) as caught:
        run([view(dcs=NotSeen("sites.yml does not name x", "name it"))], "--to", "gyeonggi")
    assert caught.value.hint == "name it"
    with pytest.raises(DcsNotSeen) as caught:
        run([view(dcs=NotSeen("no majority"))], "--to", "gyeonggi")
    assert caught.value.hint == DcsNotSeen.hint


def test_a_living_primary_is_left_alone(run: Any) -> None:
    with pytest.raises(PrimaryAlive):
        run([CALM], "--to", "gyeonggi", "--execute")


def test_there_already(run: Any) -> None:
    status, output, memory = run([CALM], "--to", "daejeon", "--execute")
    assert (status, output.splitlines()[-1], memory.sent) == (Exit.DONE, "there already", [])


def test_a_target_that_is_none(run: Any) -> None:
    with pytest.raises(NoSuchTarget, match="sejong"):
        run([CALM], "--to", "sejong")


def unproved(**changes: Any) -> View:
    dcs = replace(DCS, sync=SyncSet("dj-db1", frozenset({"dj-db2"}), 20, "{}"), **changes)
    return view(SITE_LOST, dcs, policy=QUICK)


@pytest.mark.parametrize("words", [("--confirm", "hanbat"), ()], ids=["given", "typed"])
def test_a_loss_is_signed_for(run: Any, words: tuple[str, ...]) -> None:
    given = ("--to", "gg-db1", "--execute", "--accept-loss", "--by", "kim", *words)
    status, _, memory = run([unproved(), unproved(), DONE], *given, text="hanbat\n")
    assert status == Exit.DONE
    (only,) = memory.sent
    signed = [one for one in only.changes if isinstance(one, Put) and one.key == SIGNED + "1"]
    assert json.loads(signed[0].value)["by"] == "kim"


def test_what_is_signed_for_is_what_was_shown(run: Any) -> None:
    """Planted: level at the last look, and the signed words were "loses nothing"."""
    lost = replace(unproved(), prospects=(Prospect("gg-db1", "dj-db1", False, 0, 0, 4100, 5200),))
    status, shown, _ = run([lost], "--to", "gg-db1", "--json")
    stated = json.loads(shown)["plan"]["support"]["candidate"]
    assert (status, stated.startswith("promoting gg-db1 now loses an unknown amount")) == (3, True)
    given = ("--to", "gg-db1", "--execute", "--accept-loss", "--by", "kim", "--confirm", "hanbat")
    _, shown, memory = run([lost, lost, DONE], *given)
    assert stated in shown
    (only,) = memory.sent
    (record,) = [one.value for one in only.changes if isinstance(one, Put) and one.key == SIGNED + "1"]
    signed = json.loads(record)
    assert (signed["stated"], signed["no_loss_proved"], signed["primary_seen_ms"]) == (stated, False, 4100)


def test_a_wrong_name_signs_nothing(run: Any) -> None:
    with pytest.raises(failover_cli.NotConfirmed):
        run([unproved()], "--to", "gg-db1", "--execute", "--accept-loss", text="hanbta\n")


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer.OK, Unfinished), (Answer.UNKNOWN, DcsNotSeen), (Answer.REFUSED, NotTaken)],
)
def test_a_forced_failover_that_is_not_seen_to_end(run: Any, answer: Answer, error: type) -> None:
    with pytest.raises(error):
        run(
            [unproved()], "--to", "gg-db1", "--execute", "--accept-loss", "--confirm", "hanbat",
            answer=answer,
        )  # fmt: skip


YES = ("--to", "gyeonggi", "--execute", "--by", "kim")
SIGNED_FOR = ("--to", "gg-db1", "--execute", "--accept-loss", "--by", "kim", "--confirm", "hanbat")
TAKEN = in_phase(Phase.TAKEN, "gg-db1")
UNSEEN = view(dcs=NotSeen("no majority"))


@pytest.mark.parametrize(
    ("revoked", "then", "error", "words"),
    [
        (Answer.OK, LOST, NotTaken, "sent and not answered"),
        (Answer.OK, TAKEN, Unfinished, "sent and not answered"),
        (Answer.UNKNOWN, LOST, DcsNotSeen, "may be used for 10 s"),
        (Answer.OK, UNSEEN, DcsNotSeen, "no majority"),
    ],
    ids=["unused", "used", "it may stand", "nothing is seen"],
)
def test_a_yes_without_an_answer_is_taken_back(
    run: Any, revoked: Answer, then: View, error: type, words: str
) -> None:
    """Planted: its lease was left, and the yes could act for 10 s after the command had ended."""
    memory = Memory(Answer.UNKNOWN, revoke_answer=revoked)
    with pytest.raises(error, match=words):
        run([LOST, then], *YES, memory=memory)
    assert set(memory.revoked) == {8}


@pytest.mark.parametrize(
    ("then", "error"), [(LOST, NotTaken), (TAKEN, Unfinished), (UNSEEN, DcsNotSeen)], ids=["no", "yes", "?"]
)
def test_a_yes_that_is_interrupted_is_taken_back_and_the_end_is_told(
    run: Any, then: View, error: type
) -> None:
    memory = Memory()
    with pytest.raises(error, match="interrupted"):
        run([LOST, CTRL_C, then], *YES, memory=memory)
    assert memory.revoked[0] == 8
    assert memory.sent[1].changes == (Delete(APPROVAL),)


@pytest.mark.parametrize("then", [unproved(), TAKEN, UNSEEN], ids=["nothing seen", "under way", "no etcd"])
def test_ctrl_c_after_a_signature_says_that_it_has_been_done(run: Any, then: View) -> None:
    """Planted: "interrupted", exit status 5."""
    with pytest.raises(Unfinished, match="signed, and carried out in etcd; interrupted") as caught:
        run([unproved(), unproved(), CTRL_C, then], *SIGNED_FOR)
    assert caught.value.exit_status is Exit.INCOMPLETE


def test_ctrl_c_after_a_signature_that_was_not_answered_is_unknown(run: Any) -> None:
    with pytest.raises(DcsNotSeen, match="not answered"):
        run([unproved(), unproved(), CTRL_C, unproved()], *SIGNED_FOR, answer=Answer.UNKNOWN)


@pytest.mark.parametrize(
    ("seen", "words"), [(LOST, YES), (unproved(), SIGNED_FOR)], ids=["a yes", "a signature"]
)
def test_an_etcd_that_is_not_reached_has_not_refused(run: Any, seen: View, words: tuple[str, ...]) -> None:
    """Planted: "the state has changed since it was shown"."""
    memory = Memory(reached=False)
    with pytest.raises(DcsNotSeen, match="etcd was not reached, so nothing was asked") as caught:
        run([seen], *words, memory=memory)
    assert caught.value.hint == DcsNotSeen.hint
    assert memory.sent == []


def test_every_ending_says_what_to_do(run: Any) -> None:
    with pytest.raises(NotTaken) as caught:
        run([LOST, in_phase(Phase.ABORTED, "dj-db1")], *YES)
    assert "hanbat status" in caught.value.hint
    title = DcsNotSeen.hint.partition("docs/failover.md, ")[2]
    page = Path(__file__).parents[2] / "docs" / "failover.md"
    assert f"## {title}\n" in page.read_text(encoding="utf-8")


def test_a_lock_holder_that_nobody_reaches_is_not_there_already(run: Any) -> None:
    with pytest.raises(failover_cli.Blocked, match="dj-db1 holds the lock and nobody reaches it"):
        run([LOST], "--to", "dj-db1", "--execute")
    status, output, memory = run([LOST], "--to", "dj-db1")
    assert (status, output.splitlines()[-1], memory.sent) == (Exit.NOT_READY, "blocked: see above", [])
    assert "promoting" not in output


def test_a_pause_cannot_be_signed_away(run: Any) -> None:
    config = cast(DcsState, unproved().dcs).config
    assert isinstance(config, Config)
    with pytest.raises(failover_cli.Blocked, match="not_paused"):
        run([unproved(config=replace(config, paused=True))], "--to", "gg-db1", "--execute", "--accept-loss")
