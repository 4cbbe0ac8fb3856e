"""The parent's side of the clients inside a site: starts them in an app host's namespace, and ends them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

from hanbat.topology import HostRole
from lab.drill.drill import Drill
from lab.drill.driver import CLONE
from lab.drill.errors import NotSteady
from lab.drill.inside import DirectClient, InsidePlan
from lab.drill.journal import attempts
from lab.drill.matrix import Insiders
from lab.drill.operations import Outcome
from replication.access import DATABASE, SERVICE_ROLE

END_S = 15.0
FIRST_S, PAUSE_S = 10.0, 0.1
PORT = 5432


@contextlib.contextmanager
def clients_inside(drill: Drill, site: str, insiders: Insiders) -> Iterator[None]:
    """Clients at a site who write to the host that is the primary now, while the context lasts."""
    topology, primary = drill.lab.topology, drill.cast["primary"][0]
    app = topology.site(site).hosts_with(HostRole.APP)[0].name
    path = drill.evidence.folder / ".inside-plan.json"
    plan_of(drill, site, primary, insiders).write(path)
    argv = ["ip", "netns", "exec", drill.lab.names.machine(app), sys.executable, "-m", "lab.drill.inside"]
    with (drill.evidence.folder / "logs" / "inside.log").open("ab") as log:
        process = subprocess.Popen(
            [*argv, str(path)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=CLONE,
            start_new_session=True,
        )
        drill.note("inside", app, f"clients at {site} write to {primary}")
        try:
            await_first(drill)
            yield
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(END_S)
            path.unlink(missing_ok=True)


def await_first(drill: Drill) -> None:
    """Until a client was acknowledged by PostgreSQL itself: the fault is to hit connections that are in use.

    Raises NotSteady.
    """
    end = time.monotonic() + FIRST_S
    while time.monotonic() < end:
        known = attempts(drill.evidence.inside)
        if any(each.path == DirectClient.path and each.outcome is Outcome.ACKNOWLEDGED for each in known):
            return
        time.sleep(PAUSE_S)
    raise NotSteady(f"no client inside was acknowledged within {FIRST_S:g} s")


def plan_of(drill: Drill, site: str, primary: str, insiders: Insiders) -> InsidePlan:
    """The plan of the clients inside a site."""
    secrets, address = drill.lab.secrets, drill.lab.topology.host(primary).address
    password = secrets.app_service
    return InsidePlan(
        run=drill.run,
        wall=drill.clock.wall,
        monotonic=drill.clock.monotonic,
        site=site,
        host=primary,
        dsn=f"host={address} port={PORT} dbname={DATABASE} user={SERVICE_ROLE} password={password}",
        edge=drill.plan.edges[site],
        operator_key=secrets.app_operator_key,
        journal=str(drill.evidence.inside),
        clients=insiders.direct,
        edge_clients=insiders.at_edge,
        cancelling=insiders.cancelling,
        period_s=insiders.period_s,
    )
