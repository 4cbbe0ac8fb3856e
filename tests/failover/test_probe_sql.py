"""A primary that answers and cannot commit, against a real server; a standby that is gone is not that."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from failover.canary import Limits
from failover.config import Config, load
from failover.observer import monotonic_ms
from failover.policy import Policy
from failover.probe_lines import Patience
from failover.probe_sql import SqlProbe
from failover.streaks import seen
from failover.view import Reach, Role

from ..replication.topologies import SHAPES
from .probed_server import Watched, dsn, own_folder, primary, sql
from .test_render import CONFIG, files

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Its sync standbys are set by the tests."""
    with own_folder() as folder, primary(folder) as number:
        yield number


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("config") / "failover.yml"
    path.write_text(files(SHAPES["reference"], "gg-db1")[CONFIG].text, encoding="utf-8")
    return load(path)


@pytest.fixture
def standby_gone(port: int) -> Iterator[None]:
    """Every commit that asks for replication waits for ever."""
    sql(port, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
    time.sleep(0.3)
    yield
    sql(port, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")


def test_a_standby_that_is_gone_does_not_make_the_primary_look_dead(
    port: int, config: Config, standby_gone: None
) -> None:
    limits = Limits(commit_every_ms=100, commit_ms=300)
    watched = Watched(SqlProbe(dsn(config, port), monotonic_ms, limits))
    found = watched.until(monotonic_ms() + 1500)
    assert {one.reach for one in watched.probes} == {Reach.REACHABLE}
    assert (found.role, found.sync_lsn) == (Role.PRIMARY, None)
    assert found.detail.commit_ms is not None


def test_a_commit_that_hangs_counts_from_its_beginning(port: int, config: Config, standby_gone: None) -> None:
    """A canary that waits for replication stands for one on a disk that hangs; also: this is the bug
    that `synchronous_commit=local` keeps away."""
    waiting = dsn(config, port).replace("synchronous_commit=local", "synchronous_commit=on")
    watched = Watched(SqlProbe(waiting, monotonic_ms))
    began = monotonic_ms()
    found = watched.until(began + 6000, stop=Reach.UNREACHABLE)
    took_ms = monotonic_ms() - began
    assert found.reach is Reach.UNREACHABLE
    assert found.detail.why == "it answers and cannot commit"
    assert found.role is Role.PRIMARY
    limits = Limits()
    assert limits.commit_ms <= took_ms <= limits.commit_every_ms + limits.commit_ms + 1000
    word = seen("dj-db1", watched.streak, monotonic_ms(), 1000)
    assert word.for_ms >= limits.commit_ms > Policy().window_ms  # so the vote is cast at once
    assert word.for_ms <= took_ms
    sql(port, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
    found = watched.until(monotonic_ms() + 3000, stop=Reach.REACHABLE)
    assert found.reach is Reach.REACHABLE


def test_a_commit_that_is_only_slow_is_no_failure(port: int, config: Config, standby_gone: None) -> None:
    """A checkpoint, or a disk that takes a second and a half."""
    waiting = dsn(config, port).replace("synchronous_commit=local", "synchronous_commit=on")
    watched = Watched(SqlProbe(waiting, monotonic_ms, Limits(commit_every_ms=500)))
    watched.until(monotonic_ms() + 1900)  # half a second to the first commit
    sql(port, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")
    found = watched.until(monotonic_ms() + 1500)
    assert {one.reach for one in watched.probes} == {Reach.REACHABLE}
    assert found.detail.commit_ms is not None
    slowest = max(one.detail.commit_ms or 0 for one in watched.probes)
    assert slowest > 1000


def test_an_observer_that_slept_blames_nobody(port: int, config: Config, standby_gone: None) -> None:
    """It was frozen while a commit was under way: what it did not watch does not count."""
    slept_ms = 0

    def clock_ms() -> int:
        return monotonic_ms() + slept_ms

    waiting = dsn(config, port).replace("synchronous_commit=local", "synchronous_commit=on")
    watched = Watched(SqlProbe(waiting, clock_ms))
    watched.until(monotonic_ms() + 1000)
    slept_ms = 40_000
    assert watched.probe.probe().reach is Reach.REACHABLE
    assert watched.until(monotonic_ms() + 1000).reach is Reach.REACHABLE
    assert watched.until(monotonic_ms() + 3000, stop=Reach.UNREACHABLE).reach is Reach.UNREACHABLE


@contextlib.contextmanager
def losing_first_packets(port: int, for_s: float) -> Iterator[int]:
    """A port whose queue is full for so long that the kernel drops first packets; then it leads to `port`."""
    over = threading.Event()
    with contextlib.ExitStack() as kept:
        listener = kept.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        own: int = listener.getsockname()[1]
        filler = kept.enter_context(socket.create_connection(("127.0.0.1", own)))

        def serve() -> None:
            over.wait(for_s)
            listener.settimeout(0.05)
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    near, _ = listener.accept()
                    far = socket.create_connection(("127.0.0.1", port))
                    for source, target in ((near, far), (far, near)):
                        threading.Thread(target=relay, args=(source, target), daemon=True).start()

        serving = threading.Thread(target=serve)
        serving.start()
        yield own
        over.set()
        serving.join()
        filler.close()


def relay(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    source.close()


def test_a_first_packet_that_is_lost_is_not_waited_for(port: int, config: Config) -> None:
    with losing_first_packets(port, 0.2) as own:
        probe = SqlProbe(dsn(config, port).replace(str(port), str(own)), monotonic_ms)
        found = probe.probe()
    assert found.reach is Reach.REACHABLE
    assert found.ended_ms - found.began_ms < Patience().connect_ms


def test_without_new_attempts_it_would_be_waited_for(port: int, config: Config) -> None:
    with losing_first_packets(port, 0.2) as own:
        address = dsn(config, port).replace(str(port), str(own))
        found = SqlProbe(address, monotonic_ms, patience=Patience(attempts_ms=())).probe()
    assert found.reach is Reach.UNREACHABLE


def test_a_host_that_is_gone_is_given_up_in_time(port: int, config: Config) -> None:
    with losing_first_packets(port, 5.0) as own:
        probe = SqlProbe(dsn(config, port).replace(str(port), str(own)), monotonic_ms)
        found = probe.probe()
    assert (found.reach, found.detail.why) == (Reach.UNREACHABLE, "silent")
    assert 600 <= found.ended_ms - found.began_ms <= Patience().connect_ms + Limits().starved_ms


def test_the_primary_tells_how_many_transactions_have_ended(port: int, config: Config) -> None:
    probe = SqlProbe(dsn(config, port), monotonic_ms, Limits(commit_every_ms=60_000))
    before = probe.probe().detail.xid
    sql(port, *["SELECT pg_current_xact_id()"] * 3)
    after = probe.probe().detail.xid
    assert before is not None
    assert after is not None
    assert after >= before + 3
