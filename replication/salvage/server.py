"""PostgreSQL's programs, bounded; and a server on an old data directory that nobody can reach or write to.

The isolated server is a *standby* without a primary: it replays what is there and can acknowledge
nothing, by construction. Its socket is in a folder of this user only, it listens on no address, archives
nothing, removes no WAL, and loads no extension's workers. It dies with the process that started it. It is
what Patroni itself starts after a demotion, so `pg_rewind` finds the data directory cleanly shut down.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from replication.salvage.wal import parse_lsn

PORT = 5432  # only part of the socket's name
POLL_S = 0.05
STOP_S = 20
LOG_LINES = 5
ISOLATED = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "hot_standby": "on",
    "primary_conninfo": "",
    "primary_slot_name": "",
    "restore_command": "",
    "archive_cleanup_command": "",
    "recovery_end_command": "",
    "recovery_target_timeline": "current",
    "archive_mode": "off",
    "wal_keep_size": "1000000",  # MB: a restartpoint removes no WAL that pg_rewind needs
    "max_slot_wal_keep_size": "-1",
    "synchronous_standby_names": "",
    "shared_preload_libraries": "",
    "ssl": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "restart_after_crash": "off",
}


class ProgramFailed(Exception):
    """A program of PostgreSQL failed, or did not end in time."""


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "LC_MESSAGES": "C",
        "TZ": "UTC",
        "PGCLIENTENCODING": "UTF8",
    }


def _kill(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@dataclass(frozen=True)
class Programs:
    """Where PostgreSQL's programs are; `prefix` runs them as another user (`runuser -u postgres --`)."""

    bin_dir: Path
    prefix: tuple[str, ...] = ()

    def start(
        self, *words: str | Path, stdin: int = subprocess.DEVNULL, output: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """A running program, in a process group of its own."""
        argv = [*self.prefix, *(str(word) for word in words)]
        return subprocess.Popen(
            argv, stdin=stdin, stdout=output, stderr=subprocess.PIPE if output == subprocess.PIPE else output,
            text=True, encoding="utf-8", errors="replace", start_new_session=True, cwd="/",
            env=_environment(),
        )  # fmt: skip

    def run(self, name: str, *words: str | Path, limit_s: float, text: str | None = None) -> str:
        """Output of a program. Raises ProgramFailed."""
        stdin = subprocess.DEVNULL if text is None else subprocess.PIPE
        try:
            process = self.start(self.bin_dir / name, *words, stdin=stdin)
        except OSError as error:
            raise ProgramFailed(f"{name}: {error}") from error
        with process:
            try:
                out, err = process.communicate(text, timeout=max(limit_s, 0.1))
            except subprocess.TimeoutExpired as error:
                _kill(process)
                raise ProgramFailed(f"{name} did not end within {limit_s:.1f} s") from error
        if process.returncode:
            raise ProgramFailed(f"{name} ended with {process.returncode}: {err.strip()[-500:]}")
        return out

    def psql(
        self, sql: str, *, host: Path, database: str = "postgres", port: int = PORT, limit_s: float
    ) -> list[str]:
        """Lines that a script returns, read only. Raises ProgramFailed."""
        words = (
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            host,
            "-p",
            str(port),
            "-U",
            "postgres",
            "-d",
            database,
        )
        limit = f"SET statement_timeout TO {max(int(limit_s * 1000), 100)};"
        script = f"SET default_transaction_read_only TO on;\n{limit}\n{sql}"
        out = self.run("psql", *words, "-f", "-", limit_s=limit_s + 1, text=script)
        return [line for line in out.split("\n") if line]

    def lines(self, name: str, *words: str | Path, limit_s: float, errors: list[str]) -> Iterator[str]:
        """Output line by line; standard error goes to `errors`. Raises ProgramFailed when the time is up."""
        process = self.start(self.bin_dir / name, *words)
        assert process.stdout is not None
        assert process.stderr is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(max(limit_s, 0.1), end)
        timer.daemon = True
        timer.start()
        try:
            with process:
                yield from process.stdout
                errors.append(process.stderr.read())
        finally:
            timer.cancel()
            _kill(process)
        if late.is_set():
            raise ProgramFailed(f"{name} did not end within {limit_s:.1f} s")

    def controldata(self, data_dir: Path, limit_s: float = 10) -> dict[str, str]:
        """Fields of `pg_controldata`. Raises ProgramFailed."""
        out = self.run("pg_controldata", data_dir, limit_s=limit_s)
        return {key: value.strip() for key, _, value in (line.partition(":") for line in out.splitlines())}


class Isolated:
    """`with Isolated(...) as server:` starts it, stops it, and leaves the data directory cleanly shut down.

    Raises ProgramFailed when it does not start. `deadline` is on the monotonic clock.
    """

    def __init__(self, programs: Programs, data_dir: Path, deadline: float) -> None:
        self._programs, self._data, self._deadline = programs, data_dir, deadline
        self._sockets = Path()
        self._process: subprocess.Popen[str] | None = None
        self._signal_is_mine = False
        self._opts: bytes | None = None

    def __enter__(self) -> Isolated:
        self._sockets = Path(tempfile.mkdtemp(prefix="hanbat-salvage-"))  # mode 0700
        (self._sockets / "pg_hba.conf").write_text("local all postgres peer\n", encoding="utf-8")
        opts = self._data / "postmaster.opts"  # Patroni reads the old ones from it after a crash
        self._opts = opts.read_bytes() if opts.exists() else None
        try:
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _start(self) -> None:
        standby = self._data / "standby.signal"
        if not standby.exists():
            standby.touch(0o600)
            self._signal_is_mine = True
        own = {"unix_socket_directories": str(self._sockets), "hba_file": str(self._sockets / "pg_hba.conf")}
        options = [f"-c{name}={value}" for name, value in {**ISOLATED, **own}.items()]
        with (self._sockets / "log").open("ab") as log:
            # It must not outlive us: Patroni, started again, would take it for its own server.
            words = ("setpriv", "--pdeathsig", "INT", self._programs.bin_dir / "postgres", "-D", self._data)
            try:
                self._process = self._programs.start(*words, *options, output=log.fileno())
            except OSError as error:
                raise ProgramFailed(f"postgres: {error}") from error

    def wait_for(self, lsn: int) -> None:
        """Until it answers and has replayed up to `lsn`. Raises ProgramFailed."""
        assert self._process is not None
        answer = "it does not answer"
        while time.monotonic() < self._deadline:
            if self._process.poll() is not None:
                raise ProgramFailed(f"the isolated server ended: {self._last_words()}")
            try:
                rows = self.psql("SELECT pg_is_in_recovery(), pg_last_wal_replay_lsn()")
            except ProgramFailed:
                time.sleep(POLL_S)
                continue
            recovering, _, at = rows[0].partition("|")
            if recovering != "t":
                raise ProgramFailed("the isolated server is no standby")  # never: there is standby.signal
            if at and parse_lsn(at) >= lsn:
                return
            answer = f"it has replayed up to {at or 'nothing'}"
            time.sleep(POLL_S)
        raise ProgramFailed(f"the isolated server was not ready in time: {answer}; {self._last_words()}")

    def psql(self, sql: str, database: str = "postgres") -> list[str]:
        """Raises ProgramFailed, also when the time is up."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise ProgramFailed("the time was up")
        return self._programs.psql(sql, host=self._sockets, database=database, limit_s=left)

    def _last_words(self) -> str:
        lines = (self._sockets / "log").read_text(encoding="utf-8", errors="replace").splitlines()
        return " / ".join(lines[-LOG_LINES:])

    def _end(self) -> None:
        try:
            if self._process is not None:
                self._stop(self._process)
        finally:
            if self._signal_is_mine:
                (self._data / "standby.signal").unlink(missing_ok=True)
            if self._opts is not None:
                (self._data / "postmaster.opts").write_bytes(self._opts)
            shutil.rmtree(self._sockets, ignore_errors=True)

    def _stop(self, process: subprocess.Popen[str]) -> None:
        for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):  # fast, immediate, at last
            if process.poll() is None:
                process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
                return
