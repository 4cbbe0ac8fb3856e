"""Real programs under our units' names on a machine without our services: what faults on processes hit."""

from __future__ import annotations

import http.client
import time
from email.utils import parsedate_to_datetime

from lab import sockets
from lab.faults import processes
from lab.laboratory import Lab

PATRONI = """
import http.server, os, subprocess, threading, time
PROGRAMS, DATA = "/usr/lib/postgresql/15/bin/", "/var/lib/postgresql/data"
if not os.path.exists(DATA + "/PG_VERSION"):
    subprocess.run([PROGRAMS + "initdb", "--no-sync", "-A", "trust", DATA], check=True)
def keep():
    while True:
        if subprocess.run([PROGRAMS + "pg_ctl", "-D", DATA, "status"]).returncode != 0:
            subprocess.run([PROGRAMS + "pg_ctl", "-D", DATA, "-W", "-o", "-k /tmp", "start"])
        time.sleep(0.5)
threading.Thread(target=keep).start()
http.server.ThreadingHTTPServer(("", 8008), http.server.BaseHTTPRequestHandler).serve_forever()
"""
UNIT = """[Unit]
StartLimitIntervalSec=0
[Service]
Type=exec
User={user}
ExecStart={command}
KillMode=process
Restart=always
RestartSec=0.2
"""
UNITS = {
    "hanbat-patroni": UNIT.format(user="postgres", command="/usr/bin/python3 /run/stand-in.py"),
    "hanbat-failover": UNIT.format(user="root", command='/usr/bin/python3 -c "import time; time.sleep(1e6)"'),
    "hanbat-etcd": UNIT.format(user="etcd", command="/usr/bin/etcd --data-dir /tmp/etcd"),
}


def start(lab: Lab, host: str) -> None:
    """Start them; they are ready a few seconds later."""
    for name, text in {
        "/run/stand-in.py": PATRONI,
        **{f"/run/systemd/system/{unit}.service": text for unit, text in UNITS.items()},
    }.items():
        lab.run(host, ["tee", name], timeout_s=5, stdin=text)
    done = lab.run(
        host, ["sh", "-c", f"systemctl daemon-reload && systemctl start {' '.join(UNITS)}"], timeout_s=9
    )
    assert done.returncode == 0, done.stderr


def running(lab: Lab, host: str) -> dict[str, int]:
    """The first process of each program."""
    rows = [found for pid in lab.machine(host).group.processes() if (found := processes.read(pid))]
    found = {program: processes.chosen(rows, program) for program in processes.UNITS}
    return {program: each[0].pid if each else 0 for program, each in found.items()}


def wait_ready(lab: Lab, host: str) -> None:
    """Until all of them run and PostgreSQL takes connections."""
    words = ["/usr/lib/postgresql/15/bin/pg_isready", "-q", "-h", "/tmp"]
    end = time.monotonic() + 20
    while not all(running(lab, host).values()) or lab.run(host, words, timeout_s=5).returncode != 0:
        assert time.monotonic() < end, running(lab, host)
        time.sleep(0.1)


def told_ahead_s(lab: Lab, host: str) -> tuple[float, float]:
    """By how much the stand-in of Patroni is ahead, by the date of its answers: at least, and at most.

    A date has whole seconds, cut off, and was made at some moment between the question and the answer.
    """
    address = str(lab.topology.host(host).address)
    connection = http.client.HTTPConnection(address, 8008, timeout=3)
    connection.sock = sockets.connect(lab.machine(host).namespace, address, 8008, timeout_s=3)
    asked = time.time()
    connection.request("GET", "/")
    date = connection.getresponse().getheader("Date")
    answered = time.time()
    connection.close()
    assert date
    told = parsedate_to_datetime(date).timestamp()
    return told - answered, told + 1 - asked
