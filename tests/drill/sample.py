"""A made-up run with a site loss, whole and consistent: what the auditor and the report are tested with.

`SampleRun` writes to a model of the database as the application would; tests plant bugs in its result.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from lab.drill.audit_receipts import receipt_hash
from lab.drill.case import FACT_TABLES, TABLES, CanaryPlan, Case, Expectations, HostSnapshot
from lab.drill.official import RATE_PERCENT, bidders, load_official
from lab.drill.operations import Attempt, Outcome, operations
from lab.drill.recompute import draw_counts, drawn_numbers, floor_price, scheduled_price

HOSTS = ("dj-db1", "dj-db2", "gg-db1")
RUN = "rsample01"
ZERO = 1_795_000_000.0  # the fault
OUTAGE_S = 23.4
LOAD_AT, FAULT_AT, BACK_AT, STOP_AT = ZERO - 8.0, ZERO, ZERO + OUTAGE_S, ZERO + 62.0


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


@dataclass
class SampleRun:
    """Attempts of clients and the rows that they left, with ids as the application gives them."""

    seed: int = 1
    attempts: list[Attempt] = field(default_factory=list)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in TABLES})
    ids: int = 0

    def next_id(self) -> int:
        self.ids += 1
        return self.ids

    def write(
        self, stream: str, kind: str, step: str, at: float, answer: dict[str, Any], row: dict[str, Any] | None
    ) -> Attempt:
        """An acknowledged operation and its rows."""
        key = f"{RUN}:{stream}:{step}"
        table = FACT_TABLES.get(kind)
        if row is not None and table is not None:
            self.tables[table].append({**row, "request_key": key})
        self.tables["idempotency"].append(
            {
                "party_id": 1,
                "request_key": key,
                "status": 201,
                "response": answer,
                "created_at": iso(at + 0.01),
            }
        )
        return self.attempt(stream, kind, key, at, Outcome.ACKNOWLEDGED, 201, answer)

    def attempt(
        self,
        stream: str,
        kind: str,
        key: str,
        at: float,
        outcome: Outcome,
        status: int | None = None,
        response: Any = None,
        took_s: float = 0.02,
        edge: str = "daejeon",
    ) -> Attempt:
        made = Attempt(
            stream=f"{RUN}:{stream}",
            kind=kind,
            key=key,
            edge=edge,
            path="/api/v1/x",
            body={},
            sent_at=at,
            ended_at=at + took_s,
            outcome=outcome,
            status=status,
            response=response,
        )
        self.attempts.append(made)
        return made

    def canaries(self) -> None:
        random = Random(self.seed)
        for edge in ("daejeon", "gyeonggi"):
            stream = f"canary-{edge}"
            for sequence in range(int((STOP_AT - LOAD_AT) * 20)):
                at = LOAD_AT + sequence / 20
                name = f"{RUN}:{stream}"
                if FAULT_AT <= at < BACK_AT:
                    self._failed_canary(stream, sequence, at, random, edge)
                    continue
                answer = {"stream": name, "sequence": sequence, "written_at": iso(at + 0.01)}
                self.write(stream, "canary", str(sequence), at, answer, dict(answer))

    def _failed_canary(self, stream: str, sequence: int, at: float, random: Random, edge: str) -> None:
        key = f"{RUN}:{stream}:{sequence}"
        if at < FAULT_AT + 2.0:
            took = 2.0
            self.attempt(stream, "canary", key, at, Outcome.UNKNOWN, None, None, took, edge)
            if random.random() < 0.02:  # written, and the answer was lost
                row = {"stream": f"{RUN}:{stream}", "sequence": sequence, "written_at": iso(at + 0.001)}
                self.tables["canary"].append({**row, "request_key": key})
                kept = {"party_id": 1, "request_key": key, "status": 201, "response": row}
                self.tables["idempotency"].append({**kept, "created_at": row["written_at"]})
        else:
            body = {"error": {"code": "not_written"}}
            self.attempt(stream, "canary", key, at, Outcome.REFUSED, 503, body, 0.01, edge)

    def tender(self, stream: str, deadline: float) -> int:
        """A notice with the published preliminary prices."""
        tender = self.next_id()
        row = {"id": tender, "deadline": iso(deadline), "chain_start": f"start-{tender}"}
        row |= {"rate_percent": float(RATE_PERCENT), "a_value": 0}  # a number, as psql prints it
        self.write(
            stream, "tender", f"tender-{tender}", LOAD_AT, {"id": tender, "deadline": iso(deadline)}, row
        )
        key = f"{RUN}:{stream}:tender-{tender}"
        self.tables["preliminary_price"] += [
            {"tender_id": tender, "number": number, "price": price, "request_key": key}
            for number, price in enumerate(load_official().prices, start=1)
        ]
        return tender

    def bid(
        self, stream: str, step: str, tender: int, at: float, amount: int, picks: tuple[int, int]
    ) -> None:
        before = [row for row in self.tables["bid"] if row["tender_id"] == tender]
        start = next(row["chain_start"] for row in self.tables["tender"] if row["id"] == tender)
        row: dict[str, Any] = {
            "id": self.next_id(),
            "tender_id": tender,
            "company_id": len(before) + 100,
            "sequence": len(before) + 1,
            "amount": amount,
            "pick_a": picks[0],
            "pick_b": picks[1],
            "receipt_number": f"{tender}-{len(before)}",
            "received_at": iso(at + 0.01),
            "nonce": f"n{len(before)}",
            "previous_hash": before[-1]["receipt_hash"] if before else start,
        }
        row["receipt_hash"] = receipt_hash(row)
        names = ("receipt_number", "received_at", "receipt_hash", "previous_hash")
        self.write(stream, "bid", step, at, {"bid_id": row["id"], **{name: row[name] for name in names}}, row)

    def official(self) -> int:
        published = load_official()
        tender = self.tender("official", ZERO + 34)
        everyone = bidders(published, Random(f"{self.seed}/official"))
        for place, bidder in enumerate(everyone):
            at = LOAD_AT + 1 + place / 40 if place < 40 else BACK_AT + 1 + (place - 40) / 20
            self.bid("official", f"bid-{place}", tender, at, bidder.amount, bidder.picks)
        counts = draw_counts(bidder.picks for bidder in everyone)
        price = scheduled_price(published.prices, counts)
        result = {
            "draw_counts": list(counts),
            "drawn_numbers": list(drawn_numbers(counts)),
            "scheduled_price": price,
            "floor_price": floor_price(price, RATE_PERCENT),
            "bids_count": 60,
            "outcome": "first_ranked",
        }
        mine = [row for row in self.tables["bid"] if row["tender_id"] == tender]
        winner = min(
            (row for row in mine if row["amount"] >= result["floor_price"]), key=lambda row: row["amount"]
        )
        award = {"bid_id": winner["id"], "amount": winner["amount"]}
        ranking = [{"rank": 1, "company_name": "훈련업체 17", "amount": winner["amount"]}]
        self.write(
            "official",
            "opening",
            "opening",
            ZERO + 35,
            {**result, "ranking": ranking, "opened_at": iso(ZERO + 35)},
            {**result, "tender_id": tender, "opened_at": iso(ZERO + 35)},
        )
        self.write(
            "official",
            "award",
            "award",
            ZERO + 35.1,
            award,
            {"tender_id": tender, "company_id": winner["company_id"], **award},
        )
        self.payments("official", ZERO + 35.2)
        return tender

    def payments(self, stream: str, at: float) -> None:
        claim, payment = self.next_id(), self.next_id()
        self.write(stream, "claim", "claim", at, {"id": claim}, {"id": claim})
        answer = {"payment_id": payment, "paid_at": iso(at + 0.11), "late_days": 0}
        self.write(
            stream, "payment", "payment", at + 0.1, answer, {"id": payment, "claim_id": claim, "late_days": 0}
        )
        part = {"id": self.next_id(), "payment_id": payment, "subcontract_id": claim, "late_days": 0}
        self.write(stream, "subcontract_payment", "part", at + 0.2, {**part, "paid_at": iso(at + 0.21)}, part)

    def bidder_stream(self) -> None:
        tender = self.tender("bidders", ZERO + 3600)
        random = Random(f"{self.seed}/stream")
        for number in range(160):
            at = LOAD_AT + number / 4
            if FAULT_AT <= at < BACK_AT + 0.6:
                continue
            picks = random.sample(range(1, 16), 2)
            self.bid("bidders", str(number), tender, at, 90_000_000 + number, (picks[0], picks[1]))


def sample_run() -> tuple[SampleRun, int]:
    """A whole run, and the official tender's id."""
    run = SampleRun()
    run.canaries()
    tender = run.official()
    run.bidder_stream()
    for life in range(4):
        run.payments(f"life-{life}", ZERO - 5 if life < 2 else BACK_AT + 3 + life)
    return run, tender


def sample_case(run: SampleRun, tender: int) -> Case:
    """The case of a run; every host holds the same."""
    expect = Expectations(
        run=RUN,
        hosts=HOSTS,
        primary="dj-db1",
        official=load_official(),
        official_tender=str(tender),
        rate_percent=RATE_PERCENT,
        canaries=tuple(
            CanaryPlan(f"{RUN}:canary-{e}", 20.0, LOAD_AT, STOP_AT) for e in ("daejeon", "gyeonggi")
        ),
    )
    shown = tuple(
        HostSnapshot(host, {name: tuple(copy.deepcopy(rows)) for name, rows in run.tables.items()})
        for host in HOSTS
    )
    return Case(operations(run.attempts), shown, expect)


def sample_probes() -> list[dict[str, Any]]:
    """What probes saw: roles at 5 a second, the leader key, the LSN ring once a second."""
    made: list[dict[str, Any]] = []
    at = LOAD_AT - 3
    while at < STOP_AT:
        past = at - ZERO
        for host in HOSTS:
            role = "standby"
            if (host == "dj-db1" and (past < 0 or past > 54)) or (host == "gg-db1" and 22.6 < past < 54):
                role = "primary"
            elif host.startswith("dj") and 0 <= past < 41:
                role = "unreachable"
            elif host.startswith("dj") and 41 <= past < 46:
                role = "other"
            made.append({"probe": "patroni", "host": host, "seen_at": at, "role": role, "timeline": 1})
        holder = "dj-db1" if past < 21.1 or past > 54 else "gg-db1" if past > 21.5 else ""
        made.append({"probe": "leader", "host": "sj-wt1", "seen_at": at, "holder": holder})
        made.append({"probe": "leader", "host": "gg-db1", "seen_at": at, "holder": holder})
        if round(at * 5) % 5 == 0:
            made += [_ring(host, at, past) for host in HOSTS]
        at += 0.2
    return made


def _ring(host: str, at: float, past: float) -> dict[str, Any]:
    role = "primary" if (host == "dj-db1") == (past < 0 or past > 54) and host != "dj-db2" else "standby"
    down = host.startswith("dj") and 0 <= past < 43
    blind = host == "gg-db1" and 0 <= past < 22.6
    lag = None if down or blind else 0 if role == "primary" else int(900 + 700 * abs((past * 7.3) % 5 - 2))
    if host.startswith("dj") and 43 <= past < 47:
        lag = int((47 - past) * 90_000)
    return {
        "probe": "ring",
        "host": host,
        "seen_at": at,
        "lag_bytes": lag,
        "rpo_seconds": None if lag is None else 0.0,
        "role": role,
        "known": "unknown" if lag is None else "yes",
    }


def write_journals(run: SampleRun, folder: Path) -> None:
    """The journals as the load would have left them."""
    lines = []
    for number, a in enumerate(run.attempts):
        lines.append(
            {
                "record": "sent",
                "n": number,
                "at": a.sent_at,
                "stream": a.stream,
                "kind": a.kind,
                "key": a.key,
                "edge": a.edge,
                "path": a.path,
                "body": a.body,
            }
        )
        lines.append(
            {
                "record": "done",
                "n": number,
                "at": a.ended_at,
                "outcome": a.outcome,
                "status": a.status,
                "response": a.response,
                "error": a.error,
            }
        )
    (folder / "operations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "probes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in sample_probes()))
