"""Rendered configurations are judged by the programs that read them, the same versions as on a machine."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from backup_site import capacity
from hanbat.topology import HostRole

from ..replication.topologies import SHAPES
from .machine_root import inside

APP = [(shape, made.hosts_with(HostRole.APP)[-1].name) for shape, made in SHAPES.items()]
DB = [(shape, made.hosts_with(HostRole.DB)[-1].name) for shape, made in SHAPES.items()]
# After a program was started in the background: succeeds once it listens on a port, fails after 15 s.
LISTENS = (
    "n=0; until ss -ltn | grep -q ':{port} '; do n=$((n+1)); test $n -lt 150; sleep 0.1; done; sleep 0.3"
)


@pytest.mark.parametrize(("shape", "host"), APP)
def test_haproxy_accepts_its_configuration(shape: str, host: str, tmp_path: Path) -> None:
    made = SHAPES[shape]
    done = inside(made, made.host(host), "haproxy -c -f /etc/hanbat/haproxy.cfg", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_haproxy_starts_and_answers_json_while_nothing_else_is_there(tmp_path: Path) -> None:
    made = SHAPES["reference"]
    command = (
        "haproxy -f /etc/hanbat/haproxy.cfg -D -q -p /run/haproxy.pid; sleep 3;"
        " curl -s -m 3 -i -X POST -d x http://127.0.0.1/api/v1/bids; echo;"
        " curl -s -m 3 -o /dev/null -w 'alive %{http_code}\n' http://127.0.0.1:8405/alive;"
        " curl -s -m 3 http://127.0.0.1:8405/metrics | grep -c haproxy_backend_status"
    )
    done = inside(made, made.host("gg-app1"), command, tmp_path)
    answer = done.stdout.lower()
    assert answer.startswith("http/1.1 503"), done.stdout + done.stderr
    assert "retry-after: 1" in answer
    assert "content-type: application/json" in answer
    assert "alive 200" in answer
    assert int(answer.strip().rsplit("\n", 1)[1]) > 0


# An application that holds every request for two seconds. Of the clients in the queue behind the first ones
# all but the last go away. Prints what the last one got, and which of those behind the application saw.
GONE_AWAY = r"""
import socket, subprocess, sys, threading, time
address, places = sys.argv[1], int(sys.argv[2])
seen = []

def answer(line):
    request = line.recv(65536)
    if not request:
        return  # a health check
    seen.append(request.split(b" ")[1].decode())
    time.sleep(2.0)
    line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    line.close()

def application():
    door = socket.create_server((address, 8000), backlog=100)
    while True:
        threading.Thread(target=answer, args=(door.accept()[0],), daemon=True).start()

def client(path):
    line = socket.create_connection(("127.0.0.1", 80))
    line.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi".encode())
    return line

threading.Thread(target=application, daemon=True).start()
subprocess.run(["haproxy", "-f", "/etc/hanbat/haproxy.cfg", "-D", "-q", "-p", "/run/haproxy.pid"], check=True)
time.sleep(2.0)
first = [client("/first") for _ in range(places)]
time.sleep(0.5)
gone = [client(f"/gone{number}") for number in range(3)]
time.sleep(0.3)
for line in gone:
    line.close()
stays = client("/stays")
print(stays.recv(100).split()[1].decode(), sorted(set(seen) - {"/first", "/healthz/ready"}))
"""


def test_who_has_gone_away_while_waiting_at_the_edge_is_not_served(tmp_path: Path) -> None:
    made = SHAPES["reference"]
    places = capacity.sizes(made, made.host("gg-app1")).server_maxconn
    command = f"python3 - {made.host('gg-app1').address} {places} <<'END'\n{GONE_AWAY}\nEND"
    done = inside(made, made.host("gg-app1"), command, tmp_path)
    assert done.stdout.strip() == "200 ['/stays']", done.stdout + done.stderr


@pytest.mark.parametrize(("shape", "host"), APP)
def test_pgbouncer_starts(shape: str, host: str, tmp_path: Path) -> None:
    made = SHAPES[shape]
    run = "setpriv --reuid postgres --regid postgres --clear-groups pgbouncer /etc/hanbat/pgbouncer.ini"
    done = inside(made, made.host(host), f"set -e; {run} & {LISTENS.format(port=6432)}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"listening on {made.host(host).address}:6432" in done.stderr
    assert "process up" in done.stderr
    assert not re.search(r"WARNING|ERROR|FATAL", done.stderr), done.stderr


def test_keepalived_starts_and_takes_the_edge_address(tmp_path: Path) -> None:
    made = SHAPES["reference"]
    command = (
        "haproxy -f /etc/hanbat/haproxy.cfg -D -q -p /run/haproxy.pid;"
        " echo '$INTERFACE=eth0' > /run/hanbat-keepalived/interface.conf;"
        " keepalived --dont-fork --log-console --vrrp --use-file=/etc/hanbat/keepalived.conf"
        " --pid=/run/k.pid --vrrp_pid=/run/v.pid & sleep 4; ip -4 -o address show eth0"
    )
    done = inside(made, made.host("gg-app1"), command, tmp_path)
    assert "10.71.2.100/24" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("shape", SHAPES)
def test_etcd_starts_with_pre_vote(shape: str, tmp_path: Path) -> None:
    made = SHAPES[shape]
    host = made.hosts_with(HostRole.ETCD)[0]
    file = "/etc/hanbat/etcd.yml"
    start = f"sed -i 's/log-level:.*/log-level: info/' {file}; etcd --config-file {file}"
    done = inside(made, host, f"set -e; {start} & {LISTENS.format(port=2380)}", tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"pre-vote":true' in done.stderr
    assert "failed to start" not in done.stderr
    assert f"http://{host.address}:2379" in done.stderr


@pytest.mark.parametrize(("shape", "host"), DB)
def test_patroni_accepts_its_configuration(shape: str, host: str, tmp_path: Path) -> None:
    made = SHAPES[shape]
    command = "/opt/hanbat/bin/patroni --validate-config /etc/hanbat/patroni.yml"
    done = inside(made, made.host(host), command, tmp_path)
    # No member of the DCS can be reached in here; that is a fact of the test, not of the file.
    bad = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if line.strip() and "is not reachable" not in line
    ]
    assert not bad


@pytest.mark.parametrize(
    ("shape", "host"),
    [
        ("reference", "dj-db1"),
        ("reference", "dj-db2"),
        ("reference", "gg-app1"),
        ("smallest", "dj-all1"),
        ("reference", "sj-wt1"),
    ],
)
def test_systemd_accepts_the_units(shape: str, host: str, tmp_path: Path) -> None:
    made = SHAPES[shape]
    command = "systemd-analyze verify --man=no --recursive-errors=no /etc/systemd/system/hanbat-*.service"
    done = inside(made, made.host(host), command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hanbat" not in done.stderr, done.stderr


def test_a_damaged_unit_is_seen(tmp_path: Path) -> None:
    made = SHAPES["reference"]
    unit = "/etc/systemd/system/hanbat-patroni.service"
    command = f"sed -i s/Restart=always/Restart=sometimes/ {unit}; systemd-analyze verify --man=no {unit}"
    assert "hanbat-patroni.service" in inside(made, made.host("dj-db1"), command, tmp_path).stderr


def test_a_damaged_patroni_configuration_is_seen(tmp_path: Path) -> None:
    made = SHAPES["reference"]
    command = (
        """sed -i 's/"ttl": 20/"ttl": "x"/' /etc/hanbat/patroni.yml;"""
        " /opt/hanbat/bin/patroni --validate-config /etc/hanbat/patroni.yml"
    )
    assert "bootstrap.dcs.ttl" in inside(made, made.host("dj-db1"), command, tmp_path).stderr
