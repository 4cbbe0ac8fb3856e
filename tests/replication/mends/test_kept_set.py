"""H5: PostgreSQL's set is emptied, and a promotion goes on, only after /sync was; in Patroni's own loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import patroni.postgresql  # noqa: F401  (first: Patroni's modules import each other in a circle)
import pytest
from patroni import global_config
from patroni.dcs import Cluster, ClusterConfig, Status, SyncState
from patroni.ha import Ha
from patroni.postgresql.config import ConfigHandler

from replication.mends import kept_set
from replication.mends.wrapping import ReplacedFunctionChanged


class Primary(Ha):
    """In whose snapshot the synchronous mode is off. `swaps`: whether its write of /sync succeeds."""

    def __init__(self, *, swaps: bool, named: bool = True, mode: str = "off") -> None:
        sync = SyncState.from_node("20", {"leader": "dj-db1", "sync_standby": "gg-db1"} if named else None)
        config = ClusterConfig(1, {"synchronous_mode": mode}, 1)
        self.cluster = Cluster("1", config, None, Status.empty(), [], None, sync, None, None)
        global_config.update(self.cluster)
        self.sets: list[Any] = []
        handler = SimpleNamespace(set_synchronous_standby_names=lambda *names: self.sets.append(names))
        configured = SimpleNamespace(
            synchronous_standby_names=None, set_synchronous_standby_names=self.sets.append
        )
        self.state_handler = SimpleNamespace(
            sync_handler=handler, config=configured, name="dj-db1", supports_multiple_sync=True
        )
        self.deleted: list[str] = []

        def delete(version: str) -> bool:
            self.deleted.append(version)
            return swaps

        self.dcs = SimpleNamespace(delete_sync_state=delete, write_sync_state=lambda *given, **named: swaps)


@pytest.fixture
def mended(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("disable_synchronous_replication", "process_sync_replication_prepromote"):
        monkeypatch.setattr(Ha, name, getattr(Ha, name))  # put back afterwards
    name = "get_server_parameters"
    monkeypatch.setattr(ConfigHandler, name, getattr(ConfigHandler, name))
    kept_set.install()


def test_patroni_alone_empties_its_set_although_the_swap_failed() -> None:
    primary = Primary(swaps=False)
    primary.process_sync_replication()
    assert primary.sets == [None]
    assert Primary(swaps=False).process_sync_replication_prepromote()


@pytest.mark.usefixtures("mended")
def test_it_keeps_its_set_when_the_swap_failed() -> None:
    primary = Primary(swaps=False)
    primary.process_sync_replication()
    assert (primary.deleted, primary.sets) == (["20"], [])


@pytest.mark.usefixtures("mended")
def test_it_empties_its_set_after_the_swap() -> None:
    primary = Primary(swaps=True)
    primary.process_sync_replication()
    assert primary.deleted == ["20"]
    assert len(primary.sets) == 2  # the set that was, then what the user configured


@pytest.mark.usefixtures("mended")
def test_without_a_sync_set_there_is_nothing_to_swap() -> None:
    primary = Primary(swaps=False, named=False)
    primary.process_sync_replication()
    assert (primary.deleted, primary.sets) == ([], [None])


@pytest.mark.usefixtures("mended")
def test_a_candidate_postpones_its_promotion_when_the_swap_failed() -> None:
    assert Primary(swaps=False).process_sync_replication_prepromote() is False
    assert Primary(swaps=True).process_sync_replication_prepromote() is True
    assert Primary(swaps=False, mode="on").process_sync_replication_prepromote() is False
    assert Primary(swaps=True, mode="on").process_sync_replication_prepromote() is True


def test_another_patroni_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ha, "disable_synchronous_replication", lambda self, more: None)
    with pytest.raises(ReplacedFunctionChanged):
        kept_set.install()


def parameters(told: str | None, mode: str, mended: bool) -> Any:
    """What Patroni's own function answers when it reads its settings anew."""
    global_config.update(Primary(swaps=False, mode=mode).cluster)
    server = SimpleNamespace(
        scope="hanbat",
        major_version=150000,
        role="primary",
        mpp_handler=SimpleNamespace(adjust_postgres_gucs=lambda found: None),
    )
    given = {"synchronous_standby_names": told} if told else {}
    handler: Any = SimpleNamespace(
        _postgresql=server,
        _server_parameters=given,
        _config_dir="/",
        CMDLINE_OPTIONS=ConfigHandler.CMDLINE_OPTIONS,
    )
    original = ConfigHandler.get_server_parameters
    function = kept_set.get_server_parameters(original) if mended else original
    return function(handler, {"parameters": {}, "listen": "0.0.0.0"}).get("synchronous_standby_names")


def test_settings_that_are_read_anew_keep_the_names() -> None:
    """Planted: the loop that kept them when the swap failed is followed by one line that empties them."""
    assert parameters('"gg-db1"', "on", mended=False) == '"gg-db1"'
    assert parameters('"gg-db1"', "off", mended=False) is None
    assert parameters('"gg-db1"', "off", mended=True) == '"gg-db1"'
    assert parameters(None, "off", mended=True) is None
