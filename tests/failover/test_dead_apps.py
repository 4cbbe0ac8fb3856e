"""Which requests stand at application hosts that are gone, from HAProxy's own words (2.6)."""

from __future__ import annotations

import csv
import io
import socket
import threading
from pathlib import Path

from failover.dead_apps import Dead, dead, waiting_in
from failover.haproxy_socket import Haproxy

STAT = """# pxname,svname,qcur,qmax,scur,smax,slim,stot,status,weight
edge,FRONTEND,,,12,30,400,900,OPEN,
ready_at_daejeon,dj-app1,0,0,3,9,40,400,{ready},1
ready_at_daejeon,dj-app2,0,0,2,9,40,400,{ready},1
ready_at_daejeon,BACKEND,{queued},5,5,18,40,800,UP,2
alive_at_daejeon,dj-app1,0,0,0,9,40,4,{one},1
alive_at_daejeon,dj-app2,0,0,0,9,40,4,{two},1
alive_at_daejeon,BACKEND,0,5,0,18,40,8,UP,2
primary,dj-db1,0,0,7,9,40,4,DOWN,1
"""
WAITS = "0x55b0: proto=tcpv4 src=10.71.9.2:561 fe=edge be=ready_at_daejeon srv=<none> ts=00 epoch=0x3e"
SERVED = WAITS.replace("0x55b0", "0x55b1").replace("<none>", "dj-app1")
ELSEWHERE = WAITS.replace("0x55b0", "0x55b2").replace("ready_at_daejeon", "ready_at_gyeonggi")


def seen(one: str, two: str, ready: str = "UP", queued: int = 0) -> Dead:
    text = STAT.format(one=one, two=two, ready=ready, queued=queued)
    return dead(csv.DictReader(io.StringIO(text.lstrip("# "))))


def test_a_host_that_is_not_ready_keeps_its_requests() -> None:
    """While the database is away no host is ready, and their requests wait for it: they must not be cut."""
    assert seen("UP", "UP", ready="DOWN", queued=4) == Dead((), (), False)


def test_a_dead_host_s_requests_are_cut_where_they_are() -> None:
    assert seen("DOWN", "UP") == Dead((("ready_at_daejeon", "dj-app1"),), (), False)
    assert seen("DOWN", "UP", queued=4).stuck == (), "another host may still take them"


def test_with_every_host_dead_nobody_waits_in_the_queue() -> None:
    both = (("ready_at_daejeon", "dj-app1"), ("ready_at_daejeon", "dj-app2"))
    assert seen("DOWN 1/2", "DOWN", ready="DOWN", queued=4) == Dead(both, ("ready_at_daejeon",), False)


def test_one_on_its_way_down_is_told() -> None:
    assert seen("UP 2/3", "UP") == Dead((), (), True)
    assert not seen("UP", "UP", ready="UP 2/3").soon


def test_who_waits_is_found_by_backend_and_without_a_server() -> None:
    assert waiting_in("ready_at_daejeon", [WAITS, SERVED, ELSEWHERE, ""]) == ("0x55b0",)


def test_the_socket_is_asked_and_told(tmp_path: Path) -> None:
    """One command a connection, as HAProxy has it without a prompt."""
    path, heard = tmp_path / "admin.sock", []
    answers = {"show stat -1 6 -1": STAT.format(one="UP", two="UP", ready="UP", queued=0), "show sess": WAITS}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()

        def serve() -> None:
            for _ in range(4):
                connection, _ = server.accept()
                with connection:
                    command = connection.recv(1000).decode().strip()
                    heard.append(command)
                    connection.sendall(answers.get(command, "").encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        haproxy = Haproxy(path)
        assert dead(haproxy.figures()) == Dead((), (), False)
        haproxy.cut("ready_at_daejeon", "dj-app1")
        haproxy.cut_waiting("ready_at_daejeon")
        thread.join(5)
    assert heard[1:] == [
        "shutdown sessions server ready_at_daejeon/dj-app1",
        "show sess",
        "shutdown session 0x55b0",
    ]
