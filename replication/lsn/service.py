"""The LSN ring as a service: `python -m replication.lsn.service CONFIG`.

Asks all db hosts once a second, and answers `GET /rpo` (JSON) and `GET /metrics` (Prometheus).
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import urlopen

import yaml

from replication.lsn.metrics import exposition
from replication.lsn.watch import LsnWatch, Round

PERIOD_S = 1.0
TIMEOUT_S = 1.0
logger = logging.getLogger("lsn-ring")


@dataclass(frozen=True, slots=True)
class Config:
    """What the rendered file says; `urls` and `sites` are by db host."""

    me: str
    listen: str
    port: int
    window_s: float
    urls: dict[str, str]
    sites: dict[str, str]


def load(path: Path) -> Config:
    """Raises OSError, yaml.YAMLError or KeyError for a file that the renderer did not write."""
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    rows: list[dict[str, str]] = data["hosts"]
    return Config(
        data["me"], data["listen"], data["port"], float(data["window_s"]),
        {row["name"]: row["url"] for row in rows}, {row["name"]: row["site"] for row in rows},
    )  # fmt: skip


def ask(url: str) -> dict[str, Any] | None:
    """JSON of a GET, None when the host gave no answer in time. Patroni answers 503 with JSON too."""
    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:
            document: Any = json.load(answer)
    except HTTPError as error:
        with error:
            return _parsed(error.read(100_000))
    except (OSError, ValueError):
        return None
    return cast(dict[str, Any], document) if isinstance(document, dict) else None


def _parsed(body: bytes) -> dict[str, Any] | None:
    try:
        document: Any = json.loads(body)
    except ValueError:
        return None
    return cast(dict[str, Any], document) if isinstance(document, dict) else None


class Service:
    """One watch, shared by the poller and the HTTP threads.

    Ages are of `clock_s`, which is monotonic: a person signs for them, and a time of day that is set back
    would make a loss of minutes one of 0 s. `wall_s` only says when a report was made.
    """

    def __init__(
        self,
        config: Config,
        clock_s: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
        asked: Callable[[str], dict[str, Any] | None] = ask,
    ) -> None:
        self._config, self._clock_s, self._wall_s, self._ask = config, clock_s, wall_s, asked
        self._watch = LsnWatch(config.me, config.sites, config.window_s)
        self._lock = Lock()
        self._pool = ThreadPoolExecutor(max_workers=len(config.urls) + 1)

    def poll(self) -> None:
        """One round: all hosts at once, each bounded by its timeout."""
        urls = self._config.urls
        cluster = self._pool.submit(self._ask, urls[self._config.me] + "/cluster")
        hosts: dict[str, Future[dict[str, Any] | None]] = {
            name: self._pool.submit(self._ask, url + "/patroni") for name, url in urls.items()
        }
        answers = Round(cluster.result(), {name: future.result() for name, future in hosts.items()})
        with self._lock:
            self._watch.take(answers, self._clock_s())

    def report(self) -> dict[str, Any]:
        with self._lock:
            return self._watch.report(self._clock_s(), self._wall_s())

    def run(self) -> None:
        """Polls for ever, once a second."""
        while True:
            started = time.monotonic()
            self.poll()
            time.sleep(max(0.0, PERIOD_S - (time.monotonic() - started)))


def handler(service: Service) -> type[BaseHTTPRequestHandler]:
    """The request handler of one service."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # of a client that says nothing

        def do_GET(self) -> None:
            if self.path == "/rpo":
                self._answer(200, "application/json", json.dumps(service.report()).encode())
            elif self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4; charset=utf-8", exposition(service.report()))
            else:
                self._answer(404, "application/json", b'{"error": "not found"}')

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Requests are not logged: one a second from each dashboard."""

    return Handler


def main(argv: list[str]) -> int:
    """Runs until it is stopped."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s")
    config = load(Path(argv[1]))
    service = Service(config)
    server = ThreadingHTTPServer((config.listen, config.port), handler(service))
    server.daemon_threads = True
    Thread(target=server.serve_forever, name="http", daemon=True).start()
    logger.info("answering on %s:%s", config.listen, config.port)
    service.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
