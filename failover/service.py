"""Observer and controller of one host: `python -m failover.service CONFIG`.

The observer's threads probe and publish; the main thread reads etcd, plans, and carries out.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from failover import config as configuration
from failover import figures, planner, probe_edge, probe_member, service_manager
from failover.advisor import Advisor
from failover.assembly import Assembly
from failover.candidates import last_primary
from failover.commands import Tell
from failover.config import Config
from failover.effects import Journal
from failover.etcd_dcs import EtcdDcs, NotAnswered
from failover.etcd_json import EtcdAnswerWrong
from failover.executor import Answer, Executor
from failover.observer import Ended, Publisher, Sight, monotonic_ms, start
from failover.planned_restart import WithRestart, state_of_primary
from failover.planner import Decision
from failover.probe_patroni import PatroniWatch, WithPatroni
from failover.probe_sql import SqlProbe
from failover.repeated import Repeated
from failover.table import Action
from failover.view import NotSeen, View

TURN_S = 0.5
ALARM_TURN_S = 0.04  # between two turns while the primary is missed, or an operation is under way
REPEAT_S = 10.0
# A person is told what is at stake.
ADVISED = frozenset({Action.ASK, Action.HELD, Action.REFUSE, Action.WAIT})

logger = logging.getLogger("controller")


@dataclass
class Controller:
    """Read, plan, carry out; one turn at a time."""

    assembly: Assembly
    dcs: EtcdDcs
    executor: Executor
    clock_ms: Callable[[], int] = monotonic_ms
    advisor: Advisor | None = None
    sight: Sight | None = None  # of the observer beside us: it publishes how old the operation is
    busy: bool = False  # an operation has not ended
    _row: int = -1
    _reason: str = ""
    _told_ms: int = field(default=-(10**9))

    def turn(self) -> bool:
        """Whether something was changed, so that the next turn should follow at once."""
        view = self.read()
        self.busy = under_way(view)
        if self.sight is not None:
            self._tell(self.sight, view)
        decision = planner.plan(view)
        if self.advisor is not None and decision.row.action in ADVISED:
            decision = planner.plan(self.advisor.advised(view))  # the same row, in better words
        self._log(decision)
        if not decision.commands:
            return False
        answer = self.executor.carry_out(decision, self.clock_ms())
        if answer is not Answer.OK:
            logger.info("row %s: %s", decision.row.pos, answer)
        told_only = all(isinstance(one, Tell) for one in decision.commands)
        return answer is Answer.OK and not told_only

    def _tell(self, sight: Sight, view: View) -> None:
        """What the observer beside us needs to know of etcd."""
        if isinstance(view.dcs, NotSeen):
            sight.take_primary(None)
            sight.take_planned(False)
            return
        sight.take_primary(last_primary(view.dcs))
        sight.take_planned(hands_over(view))
        sight.take_offer(view.dcs.failover_revision, view.offer_age_ms)
        if view.dcs.operation:
            sight.take_operation(view.dcs.operation_revision, view.operation_age_ms)

    def read(self) -> View:
        began = self.clock_ms()
        try:
            read = self.dcs.snapshot()
        except (NotAnswered, EtcdAnswerWrong) as error:
            return self.assembly.unseen(str(error), self.clock_ms())
        return self.assembly.view(read, began, self.clock_ms())

    def _log(self, decision: Decision) -> None:
        """Each change of the row; of the reason in the same row at most every ten seconds."""
        now = self.clock_ms()
        changed = decision.row.pos != self._row
        if not changed and (decision.reason == self._reason or now - self._told_ms < REPEAT_S * 1000):
            return
        self._row, self._reason, self._told_ms = decision.row.pos, decision.reason, now
        logger.info("%s", decision)


def under_way(view: View) -> bool:
    """Whether an operation has not ended."""
    if isinstance(view.dcs, NotSeen) or view.dcs.operation is None:
        return False
    return view.dcs.operation.phase not in planner.ENDED


def hands_over(view: View) -> bool:
    """Whether somebody else's offer stands, and not for so long that it is no reason to wait any more."""
    if isinstance(view.dcs, NotSeen) or under_way(view):
        return False
    return view.dcs.failover_revision != 0 and view.offer_age_ms < view.policy.offer_limit_ms


def run(controller: Controller, sight: Sight, stopped: Callable[[], bool]) -> None:
    """Turns until stopped. One that does not come back (a disk, a lock): systemd ends the process."""
    while not stopped():
        began = time.monotonic()
        acted = controller.turn()
        service_manager.alive()
        period = 0.005 if acted else ALARM_TURN_S if controller.busy or sight.missed() else TURN_S
        sight.wait_for_news(max(0.005, period - (time.monotonic() - began)))


def observe(config: Config, sight: Sight, ended: Ended) -> None:
    """Starts all threads of the observer."""
    patronis = {
        host: PatroniWatch(host, address, config.patroni_port, monotonic_ms)
        for host, address in config.addresses.items()
    }
    probers = {
        host: WithPatroni(
            WithRestart(
                SqlProbe(config.dsn(host), monotonic_ms),
                partial(state_of_primary, config.addresses[host], config.patroni_port),
            ),
            watch,
            monotonic_ms,
        )
        for host, watch in patronis.items()
    }
    edges = [
        Repeated(
            f"edge-{edge.site}",
            probe_edge.PERIOD_S,
            partial(probe_edge.ask, edge.address, edge.port, monotonic_ms),
            partial(sight.take_edge, edge.site),
        )
        for edge in config.edges
    ]
    members = [
        Repeated(
            f"dcs-{member.name}",
            probe_member.PERIOD_S,
            probe_member.Member(member.address, member.port, monotonic_ms).ask,
            partial(sight.take_member, member.name),
        )
        for member in config.members
    ]
    publisher = Publisher(config.me, config.site, sight, config.dcs())
    watches = [*patronis.values(), *edges, *members]
    start(publisher, sight, probers, watches, ended, config.policy.window_ms)


def main(argv: list[str]) -> int:
    """Runs until it is stopped, or a thread of the observer has ended: then 1, and systemd starts it anew."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(name)s: %(message)s")
    config = configuration.load(Path(argv[1]))
    sites = {host.name: host.site for host in config.hosts}
    sight = Sight(
        tuple(sites),
        edges=tuple(edge.site for edge in config.edges),
        sites=sites,
        members=tuple(member.name for member in config.members),
    )
    ended = Ended()
    observe(config, sight, ended)
    dcs = config.dcs()
    executor = Executor(dcs, Journal(monotonic_ms), monotonic_ms)
    assembly = Assembly(config.me, config.policy, config.hosts)
    people = config.dcs()  # a client of its own for the advisor's thread
    advisor = Advisor(lambda view: figures.informed(view, config, people), monotonic_ms)
    controller = Controller(assembly, dcs, executor, advisor=advisor, sight=sight)
    logger.info("%s at %s: window %s ms", config.me, config.site, config.policy.window_ms)
    run(controller, sight, ended)
    logger.error("ended by itself: thread %s", ", ".join(ended.names))
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
