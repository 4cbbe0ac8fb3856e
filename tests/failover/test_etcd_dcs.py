"""The client against a real etcd of the lab's image: transactions, leases, members that do not answer."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from failover.etcd_dcs import EtcdDcs, LeaseGone, Member, NotAnswered
from failover.etcd_json import Entry, Prefixes
from failover.executor import Answer
from failover.observer import Publisher, Sight
from failover.publication import PULSE
from failover.streaks import Probe
from failover.transaction import VERDICT, Delete, Put, Transaction, absent, unchanged
from failover.view import Reach

from ..primary.machine_root import cached_base

PREFIXES = Prefixes("any")
START_S = 10.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The client port of a member of its own; skipped where the lab's image is not built."""
    base = cached_base()
    program = base / "usr/bin/etcd" if base else Path("/nonexistent")
    if not program.exists():
        pytest.skip("the lab's image is not built: run `hanbat lab up` once")
    port, peer = free_port(), free_port()
    client, folder = f"http://127.0.0.1:{port}", tmp_path_factory.mktemp("etcd")
    argv = [program, "--data-dir", folder / "data", "--listen-client-urls", client]
    argv += ["--advertise-client-urls", client, "--listen-peer-urls", f"http://127.0.0.1:{peer}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            end = time.monotonic() + START_S
            while True:
                probe = EtcdDcs([Member("127.0.0.1", port)], PREFIXES)
                try:
                    probe.snapshot()
                    probe.close()
                    break
                except NotAnswered:
                    assert time.monotonic() < end, (folder / "log").read_text(encoding="utf-8")
                    time.sleep(0.1)
            yield port
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def dcs(etcd: int) -> Iterator[EtcdDcs]:
    members = [Member("127.0.0.1", etcd)]
    client = EtcdDcs(members, PREFIXES)
    keys = client.snapshot()
    client.commit(Transaction((), tuple(Delete(key) for key in keys)))
    yield client
    client.close()


def put(key: str, value: str, *compares: object, lease: int = 0) -> Transaction:
    return Transaction(tuple(compares), (Put(key, value, lease),))  # type: ignore[arg-type]


def test_a_transaction_happens_once_and_is_refused_after(dcs: EtcdDcs) -> None:
    first = put("hanbat/operation", "one", absent("hanbat/operation"))
    assert dcs.commit(first) is Answer.OK
    assert dcs.commit(first) is Answer.REFUSED
    entry = dcs.snapshot()["hanbat/operation"]
    assert entry.value == "one"
    later = put("hanbat/operation", "two", unchanged("hanbat/operation", entry.revision))
    assert dcs.commit(later) is Answer.OK
    assert dcs.commit(later) is Answer.REFUSED


def test_a_snapshot_has_both_prefixes_and_no_other(dcs: EtcdDcs) -> None:
    dcs.commit(put("patroni/leader", "dj-db1"))
    dcs.commit(put("hanbat/hold", ""))
    EtcdDcs(dcs.members, Prefixes("other")).commit(put("hanbat/hold", "of another cluster"))
    read = dcs.snapshot()
    assert {key: entry.value for key, entry in read.items()} == {
        "patroni/leader": "dj-db1",
        "hanbat/hold": "",
    }


def test_what_is_put_with_the_same_value_has_a_new_revision(dcs: EtcdDcs) -> None:
    dcs.commit(put("patroni/sync", "{}"))
    before = dcs.snapshot()["patroni/sync"]
    dcs.commit(put("patroni/sync", "{}"))
    after = dcs.snapshot()["patroni/sync"]
    assert after.value == before.value
    assert after.revision > before.revision


def test_a_lease_takes_its_keys_with_it(dcs: EtcdDcs) -> None:
    lease = dcs.grant(2)
    dcs.keep_alive(lease)
    dcs.commit(put("hanbat/pulse/x", "1", lease=lease))
    assert dcs.snapshot()["hanbat/pulse/x"].lease == lease
    assert dcs.revoke(lease) is Answer.OK
    assert dcs.revoke(lease) is Answer.OK
    assert dcs.snapshot() == {}
    with pytest.raises(LeaseGone):
        dcs.keep_alive(lease)
    with pytest.raises(LeaseGone):
        dcs.write(put("hanbat/pulse/x", "1", lease=lease))


def test_the_next_member_is_asked_when_the_first_refuses(dcs: EtcdDcs) -> None:
    dead = Member("127.0.0.1", free_port())
    client = EtcdDcs([dead, *dcs.members], PREFIXES)
    assert client.commit(put("hanbat/hold", "")) is Answer.OK
    assert "hanbat/hold" in client.snapshot()
    assert dead.avoided_until > time.monotonic()


def test_nobody_there() -> None:
    client = EtcdDcs([Member("127.0.0.1", free_port())], PREFIXES)
    with pytest.raises(NotAnswered):
        client.snapshot()
    assert client.commit(put("hanbat/hold", "")) is Answer.REFUSED  # nothing was sent


def test_a_member_that_takes_and_does_not_answer(dcs: EtcdDcs) -> None:
    """A read goes on to the next; a transaction may have happened, so it is not sent again."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(4)
        port = int(mute.getsockname()[1])
        began = time.monotonic()
        silent = EtcdDcs([Member("127.0.0.1", port), *dcs.members], PREFIXES)
        assert silent.commit(put("hanbat/hold", "")) is Answer.UNKNOWN
        assert dcs.snapshot() == {}
        reader = EtcdDcs([Member("127.0.0.1", port), *dcs.members], PREFIXES)
        assert reader.snapshot() == {}
        assert time.monotonic() - began < 2.5
        silent.close()
        reader.close()


def test_a_member_that_closes_after_its_answer_is_connected_to_anew() -> None:
    """Planted: `http.client` drops its socket then, and the next request ended the publisher's thread."""
    body = b'{"ID": "123"}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)

    def serve(listener: socket.socket) -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                while b"}" not in connection.recv(65_536):
                    pass
                connection.sendall(answer)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4)
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        client = EtcdDcs([Member("127.0.0.1", int(listener.getsockname()[1]))], PREFIXES)
        assert [client.grant(2), client.grant(2)] == [123, 123]
        client.close()
        thread.join(5)


def publisher(dcs: EtcdDcs) -> tuple[Publisher, Sight]:
    sight = Sight(("h",))
    return Publisher("wt", "sejong", sight, dcs), sight


def test_a_publisher_writes_its_verdict_when_it_changes(dcs: EtcdDcs) -> None:
    observer, sight = publisher(dcs)
    observer.step()
    verdict = dcs.snapshot()[VERDICT + "wt"]
    observer.step()
    read = dcs.snapshot()
    assert read[VERDICT + "wt"] == verdict
    assert read[PULSE + "wt"].revision > verdict.revision
    now = sight._clock_ms()
    sight.take("h", Probe(now, now, Reach.REACHABLE))
    observer.step()
    assert dcs.snapshot()[VERDICT + "wt"].revision > verdict.revision


def test_a_publisher_whose_lease_ran_out_begins_anew(dcs: EtcdDcs) -> None:
    observer, _ = publisher(dcs)
    observer.step()
    lease = dcs.snapshot()[PULSE + "wt"].lease
    dcs.revoke(lease)
    for _ in range(3):
        observer.step()
    entry: Entry = dcs.snapshot()[PULSE + "wt"]
    assert entry.lease not in (0, lease)


def test_a_publisher_does_not_write_over_a_word_that_it_does_not_know(dcs: EtcdDcs) -> None:
    """Another process of the same name (a restart): it looks first, and goes on from there."""
    observer, _ = publisher(dcs)
    observer.step()
    dcs.commit(put(PULSE + "wt", "from elsewhere"))
    observer.step()
    assert dcs.snapshot()[PULSE + "wt"].value == "from elsewhere"
    observer.step()
    assert dcs.snapshot()[PULSE + "wt"].value != "from elsewhere"
