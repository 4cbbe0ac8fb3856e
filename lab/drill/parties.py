"""The parties of a run: one institution and the bidders' companies, registered through the edge."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field

from lab.drill.client import Call, Client

REGISTER_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Company:
    """A registered company: its id in the application and its key."""

    id: int
    key: str


@dataclass(slots=True)
class Parties:
    """Who acts in a run. `operator` and `institution` are keys."""

    operator: str
    institution: str
    edges: list[str]
    companies: list[Company] = field(default_factory=list)


def party_key(run: str, secret: str, name: str) -> str:
    """A key that only this run's owner of the secret can make."""
    return hashlib.sha256(f"{secret}/{run}/{name}".encode()).hexdigest()


def business_number(run: str, number: int) -> str:
    """Ten digits, different for every run and company: 7 of the run's hash, 3 of the number."""
    digest = int.from_bytes(hashlib.sha256(run.encode()).digest()[:8], "big")
    return f"{digest % 10**7:07d}{number:03d}"


async def register(
    client: Client, run: str, operator_key: str, edges: list[str], companies: int, stopping: asyncio.Event
) -> Parties:
    """Registers the institution and the companies, a few at once. Raises GaveUp."""
    institution_key = party_key(run, operator_key, "institution")
    body = {"name": "한밭 훈련 기관 (rehearsal)", "key": institution_key}
    first = Call(
        f"{run}:setup", "institution", f"{run}:setup:institution", "/institutions", body, operator_key
    )
    await client.insist(first, edges, stopping)
    parties = Parties(operator_key, institution_key, edges)
    limit = asyncio.Semaphore(REGISTER_AT_ONCE)

    async def one(number: int) -> Company:
        key = party_key(run, operator_key, f"company-{number}")
        body = {"name": f"훈련업체 {number:02d}", "business_number": business_number(run, number), "key": key}
        call = Call(
            f"{run}:setup", "company", f"{run}:setup:company-{number}", "/companies", body, operator_key
        )
        async with limit:
            answer = await client.insist(call, edges, stopping)
        return Company(answer["id"], key)

    parties.companies.extend(await asyncio.gather(*(one(number) for number in range(1, companies + 1))))
    return parties
