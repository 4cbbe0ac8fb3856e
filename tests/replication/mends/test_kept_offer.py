"""Whom an offer wants to be kept; read by Patroni's own function."""

from __future__ import annotations

from typing import Any

import patroni.postgresql  # noqa: F401  # first: Patroni's modules import each other in a circle
import pytest
from patroni.dcs import Failover

from replication.mends import kept_offer
from replication.mends.kept_offer import Offers

from .handover_parts import OFFER


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> Offers:
    monkeypatch.setattr(Failover, "from_node", Failover.from_node)  # put back afterwards
    made = Offers()
    kept_offer.install(made)
    return made


def test_the_offer_tells_whom_to_keep_and_patroni_reads_the_rest(offers: Offers) -> None:
    offer = Failover.from_node("7", OFFER)
    assert (offer.leader, offer.candidate) == ("dj-db1", "gg-db1")
    assert offers.kept_by(offer) == {"dj-db2"}
    assert offers.kept_by(Failover("8", "dj-db1", "gg-db1", None)) == frozenset()
    assert offers.kept_by(None) == frozenset()


@pytest.mark.parametrize("value", ["{}", "null", "dj-db1:gg-db1", '{"kept": "dj-db2"}', {}])
def test_an_offer_that_names_nobody_keeps_nobody(offers: Offers, value: Any) -> None:
    Failover.from_node("7", OFFER)
    assert offers.kept_by(Failover.from_node("8", value)) == frozenset()
