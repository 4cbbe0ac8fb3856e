"""Two streams of clients: canaries that never retry, and bidders that never give up."""

from __future__ import annotations

import asyncio
from random import Random

from lab.drill.client import Call, Client, GaveUp
from lab.drill.parties import Parties


def canary_stream(run: str, edge: str) -> str:
    """Name of the canary stream of one edge, in the journal and in the database."""
    return f"{run}:canary-{edge}"


async def canary(
    client: Client, parties: Parties, run: str, edge: str, rate_per_s: float, stopping: asyncio.Event
) -> None:
    """Sends a write every 1/rate seconds, whatever became of those before: no hang hides the recovery."""
    stream = canary_stream(run, edge)
    loop = asyncio.get_running_loop()
    start = loop.time()
    in_flight: set[asyncio.Task[object]] = set()
    sequence = 0
    while not stopping.is_set():
        call = Call(
            stream,
            "canary",
            f"{stream}:{sequence}",
            "/canary",
            {"stream": stream, "sequence": sequence},
            parties.operator,
        )
        task = asyncio.create_task(client.attempt(call, edge))
        in_flight.add(task)
        task.add_done_callback(in_flight.discard)
        sequence += 1
        await asyncio.sleep(max(0.0, start + sequence / rate_per_s - loop.time()))
    await asyncio.gather(*in_flight)


async def bidder_stream(
    client: Client,
    parties: Parties,
    run: str,
    tenders: list[int],
    rate_per_s: float,
    at_once: int,
    random: Random,
    stopping: asyncio.Event,
) -> None:
    """Bids of all companies in rehearsal tenders at a steady rate; each retries with its own key."""
    bids = [(tender, company) for tender in tenders for company in parties.companies]
    random.shuffle(bids)
    edges = parties.edges
    free = asyncio.Semaphore(at_once)
    in_flight: set[asyncio.Task[None]] = set()
    loop = asyncio.get_running_loop()
    start = loop.time()
    for number, (tender, company) in enumerate(bids):
        await free.acquire()
        if stopping.is_set():
            free.release()
            break
        body = {"amount": random.randrange(88_000_000, 93_000_000), "picks": random.sample(range(1, 16), 2)}
        call = Call(
            f"{run}:bidders", "bid", f"{run}:bidders:{number}", f"/tenders/{tender}/bids", body, company.key
        )
        order = random.sample(edges, len(edges))
        task = asyncio.create_task(_one_bid(client, call, order, free, stopping))
        in_flight.add(task)
        task.add_done_callback(in_flight.discard)
        await asyncio.sleep(max(0.0, min(start + (number + 1) / rate_per_s - loop.time(), 1 / rate_per_s)))
    await asyncio.gather(*in_flight)


async def _one_bid(
    client: Client, call: Call, edges: list[str], free: asyncio.Semaphore, stopping: asyncio.Event
) -> None:
    try:
        await client.insist(call, edges, stopping)
    except GaveUp:
        return  # the journal holds every attempt and its answer; the audit judges it
    finally:
        free.release()
