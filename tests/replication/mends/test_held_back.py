"""Where a person must approve a move, Patroni's own race does not make it; in Patroni's own loop."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # first: Patroni's modules import each other in a circle
import pytest
from patroni import global_config
from patroni.dcs import Cluster, ClusterConfig, Failover, Leader, Member, Status, SyncState
from patroni.ha import Ha, _MemberStatus

from replication.mends import held_back
from replication.mends.held_back import COMPARED, HEALTHIEST, Book, Moves, MovesUnreadable, install, parse
from replication.mends.wrapping import ReplacedFunctionChanged

SITES = {"dj-db1": "daejeon", "dj-db2": "daejeon", "gg-db1": "gyeonggi"}


def policy(in_site: str = "automatic", cross_site: str = "approve") -> str:
    return json.dumps({"in_site": in_site, "cross_site": cross_site, "sites": SITES})


def member(name: str) -> Member:
    return Member.from_node(1, name, "7", json.dumps({"api_url": f"http://{name}:8008/patroni"}))


def cluster(
    sync: tuple[str, str] | None,
    failover: Failover | None = None,
    *,
    pause: bool = False,
    holder: str = "",
    quorum: int = 0,
) -> Cluster:
    """Nobody holds the lock, but for `holder`."""
    state = SyncState("20", *sync, quorum) if sync else SyncState.empty("20")
    config = {"synchronous_mode": "on", "pause": pause}
    leader = Leader(1, "7", member(holder)) if holder else None
    members = [member(name) for name in SITES]
    return Cluster(
        "1", ClusterConfig(1, config, 1), leader, Status.empty(), members, failover, state, None, None
    )


class Racer(Ha):
    """Patroni's own loop; what it would do outside of itself is noted."""

    def __init__(
        self, name: str, seen: Cluster, *, primary: bool = False, ahead: tuple[str, ...] = ()
    ) -> None:
        self.cluster = self.old_cluster = seen
        global_config.update(seen)
        self.state_handler = SimpleNamespace(
            name=name,
            is_primary=lambda: primary,
            is_starting=lambda: False,
            last_operation=lambda: 500,
            replica_cached_timeline=lambda timeline: 1,
            get_primary_timeline=lambda: 1,
        )
        self.patroni = SimpleNamespace(nofailover=False, failover_priority=1)
        self.watchdog = SimpleNamespace(is_healthy=True)
        self.dcs = SimpleNamespace(ttl=20, failsafe=None, manual_failover=lambda *given: None)
        self._rewind = SimpleNamespace(trigger_check_diverged_lsn=lambda: None)
        self._released_leader_key_timestamp = 0
        self._last_timeline = None
        self._ahead = ahead
        self.done: list[str] = []

    def fetch_nodes_statuses(self, members: Any) -> list[_MemberStatus]:
        """All of them answer, as standbys."""
        return [
            _MemberStatus(one, True, True, 600 if one.name in self._ahead else 500, {"timeline": 1})
            for one in members
        ]

    def fetch_node_status(self, member: Member) -> _MemberStatus:
        return self.fetch_nodes_statuses([member])[0]

    def acquire_lock(self) -> bool:
        self.done.append("takes the lock")
        return True

    def load_cluster_from_dcs(self) -> None:
        pass

    def enforce_primary_role(self, message: str, promote_message: str) -> str:
        return promote_message

    def follow(self, demote_reason: str, follow_reason: str, refresh: bool = True) -> str:
        self.done.append("follows")
        return follow_reason

    def races(self) -> bool:
        self.process_unhealthy_cluster()
        return self.done == ["takes the lock"]


@pytest.fixture
def moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The functions are wrapped; the policy says that a change of site waits for a person."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    for name in ("is_healthiest_node", "_is_healthiest_node"):
        monkeypatch.setattr(Ha, name, getattr(Ha, name))  # put back afterwards
    path = tmp_path / "moves.json"
    path.write_text(policy())
    install(path)
    return path


LOST = ("dj-db1", "dj-db2,gg-db1")


def test_patroni_alone_would_change_the_site() -> None:
    assert Racer("gg-db1", cluster(LOST)).races()


def test_the_other_site_leaves_the_free_lock_alone(moves: Path) -> None:
    assert not Racer("gg-db1", cluster(LOST)).races()
    assert Racer("dj-db2", cluster(LOST)).races()
    assert Racer("dj-db1", cluster(LOST), primary=True).races()
    assert Racer("dj-db1", cluster(LOST)).races()  # started anew, as a standby


def test_after_the_move_it_is_the_old_site_that_waits(moves: Path) -> None:
    now = ("gg-db1", "dj-db1,dj-db2")
    assert not Racer("dj-db1", cluster(now)).races()
    assert Racer("gg-db1", cluster(now)).races()


def test_whom_failover_names_takes_it_at_once(moves: Path) -> None:
    offered = Failover(9, "dj-db1", "gg-db1", None)
    assert Racer("gg-db1", cluster(LOST, offered)).races()
    assert not Racer("dj-db2", cluster(LOST, offered)).races()
    to_another = Failover(9, "dj-db1", "dj-db2", None)
    assert not Racer("gg-db1", cluster(LOST, to_another)).races()


def test_who_is_not_in_sync_never_takes_it(moves: Path) -> None:
    """A primary that was forced out, with Patroni alone, takes a free lock and has to give it back."""
    forced = ("gg-db1", "")
    assert not Racer("dj-db1", cluster(forced), primary=True).races()
    assert not Racer("dj-db2", cluster(forced, Failover(9, None, "dj-db2", None))).races()
    assert Racer("gg-db1", cluster(forced)).races()


def test_a_leftover_quorum_proves_nothing(moves: Path) -> None:
    """The mode is `on` again, /sync not yet written anew: Patroni counts no votes any more."""
    left = cluster(LOST, quorum=1)
    assert not Racer("dj-db2", left).races()
    assert Racer("dj-db1", left).races()  # the last primary has all
    by_votes = Racer("dj-db2", left)
    by_votes.is_quorum_commit_mode = lambda: True
    assert held_back.why_held(by_votes, parse(policy())) == ""


def test_who_may_not_race_keeps_nobody_from_racing(moves: Path) -> None:
    """dj-db2 has all acknowledged commits; that gg-db1 has received more must not leave both standing."""
    assert Racer("dj-db2", cluster(LOST), ahead=("gg-db1",)).races()
    moves.write_text(policy(cross_site="automatic"))
    assert not Racer("dj-db2", cluster(LOST), ahead=("gg-db1",)).races()


def test_a_change_of_policy_needs_no_restart(moves: Path) -> None:
    moves.write_text(policy(cross_site="automatic"))
    assert Racer("gg-db1", cluster(LOST)).races()
    moves.write_text(policy(in_site="approve", cross_site="observe"))
    assert Racer("gg-db1", cluster(LOST)).races()  # the controllers only look: Patroni decides alone
    assert not Racer("dj-db2", cluster(LOST)).races()
    moves.write_text("{")  # half written: what it said before stands
    assert not Racer("dj-db2", cluster(LOST)).races()


def test_bootstrap_and_a_pause_are_left_to_patroni_and_to_people(moves: Path) -> None:
    assert Racer("gg-db1", cluster(None)).races()
    paused = Racer("gg-db1", cluster(LOST, pause=True))
    assert held_back.why_held(paused, parse(policy())) == ""


def test_without_a_sync_set_the_last_lock_holder_counts(moves: Path) -> None:
    seen = Racer("gg-db1", cluster(None))
    seen.old_cluster = cluster(None, holder="dj-db1")
    assert not seen.races()


def test_an_unknown_host_is_of_another_site() -> None:
    rule = Moves("automatic", "approve", SITES)
    assert rule.may("dj-db1", "dj-db1")
    assert not rule.may("dj-db1", "stranger")
    assert not rule.may("stranger", "other")


def test_a_file_that_was_never_readable_is_an_error(tmp_path: Path) -> None:
    for text in (None, "{", "[]", '{"in_site": "approve"}'):
        path = tmp_path / "moves.json"
        if text is not None:
            path.write_text(text)
        with pytest.raises(MovesUnreadable, match=r"moves\.json"):
            Book(path).moves()


def test_every_way_to_a_free_lock_goes_through_the_wrapped_function() -> None:
    import inspect

    source = inspect.getsource(patroni.ha)
    inside = inspect.getsource(Ha.process_unhealthy_cluster)
    assert source.count("self.acquire_lock()") == inside.count("self.acquire_lock()") == 1
    assert inside.index("self.is_healthiest_node()") < inside.index("self.acquire_lock()")
    assert tuple(inspect.signature(Ha.is_healthiest_node).parameters) == HEALTHIEST
    assert tuple(inspect.signature(Ha._is_healthiest_node).parameters) == COMPARED


def test_another_patroni_is_refused(moves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ha, "is_healthiest_node", lambda self, more: True)
    with pytest.raises(ReplacedFunctionChanged):
        install(moves)
