"""The load, run as its own process against a tiny service: what it journals is what the service did."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lab.drill.client import Call, GaveUp
from lab.drill.clock import Clock
from lab.drill.driver import LoadProcess
from lab.drill.errors import LoadDied, WaitedTooLong
from lab.drill.journal import attempts, records
from lab.drill.lives import Life, from_opening
from lab.drill.operations import Outcome, operations
from lab.drill.parties import Company, Parties
from lab.drill.plan import LoadPlan

from .tiny_service import TinyService, running


@contextmanager
def load_of(tmp_path: Path, url: str, **changes: Any) -> Iterator[LoadProcess]:
    clock = Clock.anchored_now()
    plan = LoadPlan(
        run="rtest",
        seed=1,
        wall=clock.wall,
        monotonic=clock.monotonic,
        operator_key="k" * 40,
        edges={"east": url, "west": url},
        patroni={"db1": url},
        lsn_ring={"db1": url},
        etcd={},
        leader_key="/x",
        sync_key="/z",
        operation_key="/y",
        operations_path=str(tmp_path / "operations.jsonl"),
        probes_path=str(tmp_path / "probes.jsonl"),
        bidder_tenders=1,
        life_pause_s=0.05,
        lives=1,
        max_s=40.0,
        request_timeout_s=1.0,
        **changes,
    )
    path = tmp_path / "plan.json"
    plan.write(path)
    with LoadProcess(list, path, tmp_path / "load.log", clock) as load:
        load.wait(lambda seen: seen.ready, what="ready", limit_s=10)
        yield load


def acknowledged(tmp_path: Path) -> set[str]:
    done = operations(attempts(tmp_path / "operations.jsonl"))
    return {op.key for op in done if op.outcome is Outcome.ACKNOWLEDGED}


def test_a_whole_load_through_an_outage(tmp_path):
    service = TinyService()
    with running(service) as url, load_of(tmp_path, url) as load:
        load.do("prepare", limit_s=15)
        load.do("start", limit_s=15)
        time.sleep(0.5)
        for mode in ("refuse", "vague", "drop"):
            service.mode = mode
            time.sleep(0.4)
        service.mode = "ok"
        load.do("last_third", limit_s=15)
        assert load.do("open", limit_s=15)["opening"]["scheduled_price"] == 1
        load.do("quiet", limit_s=15)
    assert acknowledged(tmp_path) == {key for _, key, _ in service.applied}
    paths = [path for path, _, _ in service.applied]
    claims, payments, parts = (
        sum(path.endswith(end) for path in paths) for end in ("/claims", "/payment", "/subcontract-payments")
    )
    assert claims == payments == parts > 0
    tried = attempts(tmp_path / "operations.jsonl")
    assert {a.outcome for a in tried} == set(Outcome)
    bids = [body for path, key, body in service.applied if ":official:" in key and path.endswith("/bids")]
    assert len(bids) == 60
    again = [op for op in operations(tried) if len(op.attempts) > 1]
    assert again
    assert all(op.kind != "canary" for op in again)
    assert {record["probe"] for record in records(tmp_path / "probes.jsonl")} == {"patroni", "ring"}
    assert "k" * 40 not in (tmp_path / "operations.jsonl").read_text()


class Obliging:
    """A client whose every call is acknowledged; the load stops at one step of a life, is over at another."""

    def __init__(self, stops_at: str, over_at: str) -> None:
        self.stopping, self.over = asyncio.Event(), asyncio.Event()
        self._at = {stops_at: self.stopping, over_at: self.over}
        self.kinds: list[str] = []

    async def insist(self, call: Call, edges: list[str], until: asyncio.Event) -> dict[str, Any]:
        self.kinds.append(call.kind)
        if call.kind in self._at:
            self._at[call.kind].set()
        return {"id": 1, "company": {"id": 1}, "amount": 100, "payment_id": 1}


@pytest.mark.parametrize(
    ("stops_at", "over_at", "last"),
    [
        ("inspection", "", "inspection"),
        ("claim", "", "subcontract_payment"),
        ("payment", "", "subcontract_payment"),
        ("claim", "payment", "payment"),
        ("", "", "subcontract_payment"),
    ],
)
def test_who_has_claimed_is_paid_though_the_load_stops(stops_at, over_at, last):
    client: Any = Obliging(stops_at, over_at)
    companies = [Company(n, f"c{n}") for n in (1, 2)]
    parties = Parties("o", "i", ["east"], companies)
    life = Life(client, parties, "r:life-0-0", ["east"], 0.0, client.stopping, client.over)

    async def live() -> None:
        with contextlib.suppress(GaveUp):
            await from_opening(life, 1)

    asyncio.run(live())
    assert client.kinds[-1] == last


def test_a_canary_goes_on_while_its_requests_hang(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(200)
        service = TinyService()
        with running(service) as url, load_of(tmp_path, url) as load:
            load.do("prepare", limit_s=15)
            load.do("start", limit_s=15)
            time.sleep(1.5)
    sent = sorted(
        a.sent_at for a in attempts(tmp_path / "operations.jsonl") if a.stream.endswith("canary-east")
    )
    gaps = [after - before for before, after in itertools.pairwise(sent)]
    assert max(gaps) < 0.5
    assert len(sent) > 20


def test_the_load_ends_when_its_parent_is_gone(tmp_path):
    with running(TinyService()) as url, load_of(tmp_path, url) as load:
        load.tell("prepare")
        assert load._process.stdin is not None
        load._process.stdin.close()
        assert load._process.wait(10) == 0


def test_a_killed_load_leaves_its_journal_and_is_noticed(tmp_path):
    with running(TinyService()) as url, load_of(tmp_path, url) as load:
        load.do("prepare", limit_s=15)
        os.kill(load._process.pid, signal.SIGKILL)
        with pytest.raises(LoadDied):
            load.wait(lambda seen: False, what="never", limit_s=5)
    assert acknowledged(tmp_path)


def test_a_command_that_the_service_refuses_for_good_is_a_failure(tmp_path):
    with (
        running(TinyService()) as url,
        load_of(tmp_path, url) as load,
        pytest.raises(LoadDied, match="no such command"),
    ):
        load.do("dance", limit_s=5)


def test_a_wait_is_bounded_and_says_what_it_waited_for(tmp_path):
    with (
        running(TinyService()) as url,
        load_of(tmp_path, url) as load,
        pytest.raises(WaitedTooLong, match="the moon"),
    ):
        load.wait(lambda seen: False, what="the moon", limit_s=0.3)
