"""The load of a drill: `python -m lab.drill.load PLAN`, run in the clients' namespace.

Standard input takes one command a line; standard output gives one JSON event a line. It ends when it
is told to stop, when its time is over, or when its parent is gone (standard input closes).
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Coroutine
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from lab.drill.client import Call, Client, GaveUp
from lab.drill.clock import Clock
from lab.drill.journal import Journal
from lab.drill.lives import LIFE_BASE_AMOUNT, Life, from_opening, tender_body, whole_life
from lab.drill.official import bidders, load_official
from lab.drill.parties import Parties, register
from lab.drill.plan import LoadPlan
from lab.drill.probes import Probes
from lab.drill.streams import bidder_stream, canary

STREAM_TENDER_BIDDING_S = 3600
DRAIN_S = 8.0  # after the stop: so long payments of what was claimed are still tried


def emit(event: str, **facts: Any) -> None:
    """One event to the parent."""
    sys.stdout.write(json.dumps({"event": event, **facts}, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


class Load:
    """All streams of one run, driven by the parent's commands."""

    def __init__(self, plan: LoadPlan, operations: Journal, probes: Journal) -> None:
        self.plan = plan
        self.clock = Clock(plan.wall, plan.monotonic)
        self.client = Client(
            operations, self.clock, plan.edges, plan.connect_timeout_s, plan.request_timeout_s
        )
        self.probes = Probes(probes, self.clock)
        self.official = load_official()
        self.official_bidders = bidders(self.official, Random(f"{plan.seed}/official"))
        self.stopping = asyncio.Event()  # the streams
        self.over = asyncio.Event()  # the payments that they still owe
        self.ending = asyncio.Event()  # everything
        self.parties = Parties(plan.operator_key, "", list(plan.edges))
        self.official_tender = 0
        self.stream_tenders: list[int] = []
        self.streams: list[asyncio.Task[Any]] = []
        self.background: list[asyncio.Task[Any]] = []
        self.lives_done = 0

    def watch(self) -> None:
        """Starts the probes and the status line."""
        plan = self.plan
        jobs: list[Coroutine[Any, Any, None]] = [self._status()]
        jobs += [
            self.probes.patroni(host, url, plan.probe_interval_s, self.ending)
            for host, url in plan.patroni.items()
        ]
        jobs += [
            self.probes.ring(host, url, plan.ring_interval_s, self.ending)
            for host, url in plan.lsn_ring.items()
        ]
        jobs += [
            self.probes.leader(
                host,
                url,
                (plan.leader_key, plan.operation_key, plan.sync_key),
                plan.probe_interval_s,
                self.ending,
            )
            for host, url in plan.etcd.items()
        ]
        self.background += [_watched_task("probe", job) for job in jobs]

    async def _status(self) -> None:
        while not self.ending.is_set():
            streams = {
                name: {
                    "sent": p.sent,
                    "last_acknowledged_at": p.last_acknowledged_at,
                    "last_refusal": p.last_refusal,
                    **p.outcomes,
                }
                for name, p in self.client.progress.items()
            }
            emit(
                "status",
                at=self.clock.now(),
                streams=streams,
                seen=self.probes.latest,
                lives_done=self.lives_done,
            )
            await asyncio.sleep(self.plan.status_interval_s)

    async def prepare(self) -> dict[str, Any]:
        """Registers the parties and puts up the bidders' tenders."""
        plan = self.plan
        self.parties = await register(
            self.client, plan.run, plan.operator_key, list(plan.edges), plan.companies, self.stopping
        )
        for number in range(plan.bidder_tenders):
            body = tender_body(
                f"{plan.run}-{number}", f"훈련 공고 {number}", LIFE_BASE_AMOUNT, None, STREAM_TENDER_BIDDING_S
            )
            self.stream_tenders.append((await self._notice(f"setup:tender-{number}", body))["id"])
        return {"companies": len(self.parties.companies)}

    async def _notice(self, name: str, body: dict[str, Any]) -> dict[str, Any]:
        run = self.plan.run
        call = Call(f"{run}:setup", "tender", f"{run}:{name}", "/tenders", body, self.parties.institution)
        return await self.client.insist(call, list(self.plan.edges), self.stopping)

    async def start(self) -> dict[str, Any]:
        """Starts all streams; puts up the official tender, if asked for, and lets its first bidders bid."""
        plan, run = self.plan, self.plan.run
        for edge in plan.edges:
            self._stream(canary(self.client, self.parties, run, edge, plan.canary_rate_per_s, self.stopping))
        self._stream(
            bidder_stream(
                self.client,
                self.parties,
                run,
                self.stream_tenders,
                plan.bidder_rate_per_s,
                plan.bidders_at_once,
                Random(f"{plan.seed}/bidders"),
                self.stopping,
            )
        )
        for number in range(plan.lives):
            self._stream(self._life(number))
        return await self._official_tender() if plan.official else {}

    async def _official_tender(self) -> dict[str, Any]:
        plan, official = self.plan, self.official
        body = tender_body(
            official.number,
            "조달청 공식 표본 (rehearsal)",
            official.base_amount,
            list(official.prices),
            plan.official_bidding_s,
        )
        notice = await self._notice("official:tender", body)
        self.official_tender = notice["id"]
        await self._official_bids(0, plan.official_first)
        return {"tender": notice["id"], "deadline_at": datetime.fromisoformat(notice["deadline"]).timestamp()}

    def _stream(self, job: Coroutine[Any, Any, None]) -> None:
        self.streams.append(_watched_task("stream", job))

    async def _life(self, number: int) -> None:
        """Lives one after the other, each of these rows of lives a little behind the one before."""
        plan = self.plan
        await asyncio.sleep(number * plan.life_pause_s * 1.7)
        turn = 0
        while not self.stopping.is_set():
            edges = (
                list(plan.edges)[number % len(plan.edges) :] + list(plan.edges)[: number % len(plan.edges)]
            )
            name = f"{plan.run}:life-{number}-{turn}"
            self.lives_done += await whole_life(self._life_of(name, edges, plan.life_pause_s))
            turn += 1

    def _life_of(self, name: str, edges: list[str], pause_s: float) -> Life:
        return Life(self.client, self.parties, name, edges, pause_s, self.stopping, self.over)

    async def _official_bids(self, first: int, last: int) -> None:
        run = self.plan.run
        jobs = []
        for place in range(first, last):
            bidder, company = self.official_bidders[place], self.parties.companies[place]
            body = {"amount": bidder.amount, "picks": list(bidder.picks)}
            call = Call(
                f"{run}:official",
                "bid",
                f"{run}:official:{place}",
                f"/tenders/{self.official_tender}/bids",
                body,
                company.key,
            )
            jobs.append(self.client.insist(call, list(self.plan.edges), self.stopping))
        await asyncio.gather(*jobs)

    async def last_third(self) -> dict[str, Any]:
        """The rest of the official bidders bid."""
        await self._official_bids(self.plan.official_first, self.official.bidders)
        return {"bids": self.official.bidders - self.plan.official_first}

    async def open(self) -> dict[str, Any]:
        """Opens and awards the official tender, and carries it through to its subcontract payment."""
        life = self._life_of(f"{self.plan.run}:official", list(self.plan.edges), 0.0)
        return {"opening": await from_opening(life, self.official_tender)}

    async def quiet(self) -> dict[str, Any]:
        """No new requests, but for the payments of what was claimed; those under way end."""
        stopped_at = self.clock.now()
        self.stopping.set()
        if self.streams:
            await asyncio.wait(self.streams, timeout=DRAIN_S)
        self.over.set()
        await asyncio.gather(*self.streams)
        return {"stopped_at": stopped_at, "lives_done": self.lives_done}


def _watched_task(what: str, job: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task whose failure the parent hears of at once: a probe or stream that died measures nothing."""

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            emit("failed", command=what, error=f"{type(error).__name__}: {error}")

    task = asyncio.create_task(job)
    task.add_done_callback(ended)
    return task


COMMANDS = ("prepare", "start", "last_third", "open", "quiet")


async def serve(load: Load) -> None:
    """Carries out commands until `stop`, the end of standard input or the end of its time."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    load.watch()
    emit("ready", at=load.clock.now())
    while line := (await reader.readline()).decode().strip():
        if line == "stop":
            break
        load.background.append(asyncio.create_task(_carry_out(load, line)))


async def _carry_out(load: Load, command: str) -> None:
    if command not in COMMANDS:
        emit("failed", command=command, error="no such command")
        return
    began_at = load.clock.now()
    try:
        facts = await getattr(load, command)()
    except GaveUp as error:
        emit("failed", command=command, error=str(error))
    except Exception as error:  # the parent must hear of it, whatever it is, and judges it
        emit("failed", command=command, error=f"{type(error).__name__}: {error}")
    else:
        emit("done", command=command, began_at=began_at, at=load.clock.now(), **facts)


async def run(plan: LoadPlan) -> None:
    """Runs a whole load, bounded by the plan's `max_s`."""
    with Journal(Path(plan.operations_path)) as operations, Journal(Path(plan.probes_path)) as probes:
        load = Load(plan, operations, probes)
        try:
            async with asyncio.timeout(plan.max_s):
                await serve(load)
        except TimeoutError:
            emit("failed", command="load", error=f"its time of {plan.max_s} s is over")
        finally:
            load.stopping.set()
            load.over.set()
            load.ending.set()
            tasks = [*load.streams, *load.background]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    """Entry point: the only argument is the plan's file."""
    asyncio.run(run(LoadPlan.read(Path(sys.argv[1]))))


if __name__ == "__main__":
    main()
