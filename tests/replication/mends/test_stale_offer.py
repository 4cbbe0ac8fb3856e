"""A candidate that `/sync` does not name is not waited for; through Patroni's own class."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs import Cluster, Failover, Member, Status, SyncState
from patroni.ha import Ha

from replication.mends import stale_offer
from replication.mends.wrapping import ReplacedFunctionChanged

HOSTS = ("dj-db1", "dj-db2", "gg-db1")


class Node(Ha):
    """Patroni's decision, with all that it would ask of others: everybody answers and is healthy."""

    def __init__(
        self, me: str, offer: dict[str, str], leader: str, members: str, healthy: bool = True
    ) -> None:
        sync = SyncState.from_node(3, {"leader": leader, "sync_standby": members, "quorum": 0})
        named = [Member(1, name, "7", {"api_url": f"http://{name}:8008"}) for name in HOSTS]
        failover = Failover.from_node(9, offer)
        self.cluster = Cluster("1", None, None, Status.empty(), named, failover, sync, None, None)
        self.state_handler: Any = SimpleNamespace(name=me)
        self.asked: list[Any] = []
        self.emptied: list[Any] = []
        self.demoted: list[Any] = []
        self.dcs: Any = SimpleNamespace(
            manual_failover=lambda *given, version=None: self.emptied.append((given, version))
        )
        self._async_executor: Any = SimpleNamespace(
            try_run_async=lambda action, func, args=(): self.demoted.append(args)
        )

    paused = False

    def is_paused(self) -> bool:
        return self.paused

    def is_synchronous_mode(self) -> bool:
        return True

    def is_quorum_commit_mode(self) -> bool:
        return False

    def _get_failover_action_name(self) -> str:
        return "switchover"

    def fetch_node_status(self, member: Any) -> Any:
        return SimpleNamespace(member=member, failover_limitation=lambda: None)

    def is_failover_possible(self, *, cluster_lsn: int = 0, exclude_failover_candidate: bool = False) -> bool:
        return bool(self.get_failover_candidates(exclude_failover_candidate))

    def _is_healthiest_node(
        self, members: Any, check_replication_lag: bool = True, leader: Any = None
    ) -> bool:
        self.asked = [member.name for member in members]
        return True


@pytest.fixture(autouse=True)
def wrapped(monkeypatch: pytest.MonkeyPatch) -> Any:
    names = ("manual_failover_process_no_leader", "process_manual_failover_from_leader")
    originals = SimpleNamespace(**{name: getattr(Ha, name) for name in names})
    for name in names:
        monkeypatch.setattr(Ha, name, getattr(Ha, name))  # put back afterwards
    stale_offer.install()
    return originals


OFFER = {"leader": "dj-db1", "member": "gg-db1"}
FAILOVER = {"member": "gg-db1"}  # `patronictl failover --candidate gg-db1`


def test_the_last_primary_takes_a_lock_that_nobody_else_may_take() -> None:
    node = Node("dj-db1", OFFER, "dj-db1", "")
    whole = node.cluster
    assert node.manual_failover_process_no_leader() is True
    assert node.cluster is whole


def test_without_the_mend_it_waits_for_ever(wrapped: Any) -> None:
    assert wrapped.manual_failover_process_no_leader(Node("dj-db1", OFFER, "dj-db1", "")) is False


def test_a_standby_that_sync_names_goes_before_the_last_primary() -> None:
    assert Node("dj-db1", OFFER, "dj-db1", "dj-db2").manual_failover_process_no_leader() is False
    standby = Node("dj-db2", OFFER, "dj-db1", "dj-db2")
    assert standby.manual_failover_process_no_leader() is True
    assert standby.asked == ["dj-db2"]


@pytest.mark.parametrize("members", ["gg-db1", "dj-db2,gg-db1"])
def test_a_candidate_that_sync_names_is_waited_for_as_before(members: str) -> None:
    assert Node("dj-db1", OFFER, "dj-db1", members).manual_failover_process_no_leader() is False
    assert Node("gg-db1", OFFER, "dj-db1", members).manual_failover_process_no_leader() is True


def test_the_candidate_itself_decides_as_before() -> None:
    """That `/sync` does not name it is looked at before this (`is_healthiest_node`)."""
    assert Node("gg-db1", OFFER, "dj-db1", "").manual_failover_process_no_leader() is True


@pytest.mark.parametrize("me", ["dj-db1", "dj-db2"])
def test_a_failover_that_names_no_leader_keeps_nobody_from_the_lock(me: str, wrapped: Any) -> None:
    """Planted: the old primary and the sync standby find the candidate healthy, and wait for it for ever."""
    assert wrapped.manual_failover_process_no_leader(Node(me, FAILOVER, "dj-db1", "dj-db2")) is False
    assert Node(me, FAILOVER, "dj-db1", "dj-db2").manual_failover_process_no_leader() is True


def test_a_pause_is_left_to_people() -> None:
    node = Node("dj-db2", FAILOVER, "dj-db1", "dj-db2")
    node.paused = True
    assert node.manual_failover_process_no_leader() is False
    node = Node("dj-db1", FAILOVER, "dj-db1", "dj-db2")
    node.paused, node.state_handler.is_primary = True, lambda: True
    assert node.process_manual_failover_from_leader() == "switchover: demoting myself"
    assert len(node.demoted) == 1


def test_the_primary_refuses_a_failover_outside_the_sync_set(
    wrapped: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Planted: it hands over in good order to a host that may not take the lock."""
    node = Node("dj-db1", FAILOVER, "dj-db1", "dj-db2")
    wrapped.process_manual_failover_from_leader(node)
    assert (node.demoted, node.emptied) == ([("graceful",)], [])
    node = Node("dj-db1", FAILOVER, "dj-db1", "dj-db2")
    assert node.process_manual_failover_from_leader() is None
    assert (node.demoted, node.emptied) == ([], [(("", ""), 9)])
    assert "no failover to gg-db1" in caplog.text
    assert "hanbat failover" in caplog.text


@pytest.mark.parametrize(
    ("offer", "members", "demotes"),
    [
        (FAILOVER, "dj-db2,gg-db1", True),
        (OFFER, "dj-db2,gg-db1", True),
        (OFFER, "dj-db2", False),  # Patroni's own refusal of a switchover
        ({"leader": "dj-db1"}, "dj-db2", True),  # to whomever
    ],
)
def test_other_offers_are_looked_at_as_before(offer: dict[str, str], members: str, demotes: bool) -> None:
    node = Node("dj-db1", offer, "dj-db1", members)
    node.process_manual_failover_from_leader()
    assert (bool(node.demoted), len(node.emptied)) == (demotes, 0 if demotes else 1)


def test_a_failed_question_leaves_the_view_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node("dj-db1", OFFER, "dj-db1", "")
    whole = node.cluster

    def fails(*_: Any, **__: Any) -> bool:
        raise OSError("asked in vain")

    monkeypatch.setattr(node, "is_failover_possible", fails)
    with pytest.raises(OSError, match="asked in vain"):
        node.manual_failover_process_no_leader()
    assert node.cluster is whole


def test_another_patroni_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ha, "manual_failover_process_no_leader", lambda self, more: None)
    with pytest.raises(ReplacedFunctionChanged):
        stale_offer.install()
