"""A drill's snapshot of the real tables, and the auditor's own openings beside the application's."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

import pytest

from lab.drill.audit_recomputation import recomputed
from lab.drill.audit_time import epoch
from lab.drill.case import FACT_TABLES, HostSnapshot
from lab.drill.snapshot import accepts_writes, read_hosts

from .conftest import Server
from .test_official_tender import rehearsal

pytestmark = pytest.mark.postgres
RUN = "rsnap"
BASE = 100_000_000
PRICES = [BASE * (970 + 4 * number) // 1000 for number in range(15)]
BIDS = {
    "three": (90_100_000, 90_200_000, 91_000_000),
    "tied": (90_500_000, 90_500_000, 91_000_000),
    "alone": (90_100_000,),
    "too high": (99_000_000_000, 98_000_000_000),
    "nobody": (),
}


class LocalLab:
    """Runs psql on the throw-away server, whatever the host."""

    def __init__(self, server: Server) -> None:
        self._where = ["-h", str(server.folder), "-p", str(server.port), "-U", "postgres"]

    def run(
        self,
        host: str | None,
        argv: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | None = None,
        user: str = "root",
    ) -> subprocess.CompletedProcess[str]:
        words = [argv[0], *self._where, *argv[1:]]
        return subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=timeout_s)


@pytest.fixture(scope="module")
def snapshot(server, new_institution, new_company) -> HostSnapshot:
    institution = new_institution()
    companies = [new_company() for _ in range(3)]
    notices = []
    for name, amounts in BIDS.items():
        body = rehearsal(base_amount=BASE, preliminary_prices=PRICES, bidding_seconds=3)
        tender = institution.made("/tenders", body, key=f"{RUN}:{name}:tender")
        notices.append((name, tender))
        for place, (company, amount) in enumerate(zip(companies, amounts, strict=False)):
            bid = {"amount": amount, "picks": [1 + place, 8 + place]}
            company.made(f"/tenders/{tender['id']}/bids", bid, key=f"{RUN}:{name}:bid-{place}")
    for name, tender in notices:
        institution.wait_past(tender)
        opening = institution.made(f"/tenders/{tender['id']}/opening", key=f"{RUN}:{name}:opening")
        if opening["outcome"] == "first_ranked":
            institution.made(f"/tenders/{tender['id']}/award", key=f"{RUN}:{name}:award")
    reading = read_hosts(LocalLab(server), "db", ("db",), RUN)
    assert reading.unread == {}
    return reading.snapshots[0]


def test_every_row_of_the_run_is_read(snapshot):
    counts = {table: len(snapshot.rows(table)) for table in snapshot.tables}
    bids = sum(len(amounts) for amounts in BIDS.values())
    assert counts["tender"] == counts["opening"] == len(BIDS)
    assert (counts["bid"], counts["award"], counts["preliminary_price"]) == (bids, 2, 15 * len(BIDS))
    assert counts["idempotency"] == 2 * len(BIDS) + bids + 2
    assert set(FACT_TABLES.values()) <= set(counts)
    assert all(epoch(row["created_at"]) > 0 for row in snapshot.rows("idempotency"))


def test_the_auditor_and_the_application_come_to_the_same(snapshot):
    assert recomputed(snapshot) == []
    assert {row["decided_by"] for row in snapshot.rows("award")} == {"lowest_bid", "lot"}
    assert {row["outcome"] for row in snapshot.rows("opening")} == {"first_ranked", "failed"}


def test_a_primary_says_that_it_accepts_writes(server):
    assert accepts_writes(LocalLab(server), ("db",)) == {"db": True}
