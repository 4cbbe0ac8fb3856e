"""A tiny HTTP service that answers like the application, and can be told to go wrong."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class TinyService:
    """Answers by idempotency key. `mode`: ok, refuse (503 not_written), vague (500), drop (no answer)."""

    def __init__(self) -> None:
        self.mode = "ok"
        self.answers: dict[str, dict[str, Any]] = {}
        self.applied: list[tuple[str, str, dict[str, Any]]] = []
        self.lock = threading.Lock()
        self.counter = 0

    def answer(self, path: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
        with self.lock:
            if key not in self.answers:
                self.counter += 1
                self.applied.append((path, key, body))
                self.answers[key] = self._new(path, body)
            return self.answers[key]

    def _new(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        number, now = self.counter, datetime.now(UTC)
        answer: dict[str, Any] = {"id": number, "at": now.isoformat()}
        if path.endswith("/tenders"):
            answer["deadline"] = (now + timedelta(seconds=body["bidding_seconds"])).isoformat()
        elif path.endswith("/opening"):
            answer["scheduled_price"] = 1
        elif path.endswith("/award"):
            company = next(i for i, (p, _, _) in enumerate(self.applied, 1) if p.endswith("/companies"))
            answer |= {"company": {"id": company}, "amount": 100}
        elif path.endswith("/payment"):
            answer["payment_id"] = number
        elif path.endswith("/canary"):
            answer = {**body, "written_at": now.isoformat()}
        return answer


@contextmanager
def running(service: TinyService) -> Iterator[str]:
    """Runs the service on a free port of 127.0.0.1; gives its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(200, {"role": "primary", "state": "running", "replication": []})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or b"{}")
            if service.mode == "drop":
                self.close_connection = True
                return
            if service.mode == "refuse":
                self.reply(503, {"error": {"code": "not_written"}})
                return
            if service.mode == "vague":
                self.reply(500, {"error": {"code": "internal"}})
                return
            self.reply(201, service.answer(self.path, self.headers["Idempotency-Key"] or "", body))

        def reply(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
