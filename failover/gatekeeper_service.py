"""The gatekeeper of one application host: `python -m failover.gatekeeper_service CONFIG`.

`--open` opens everything and ends: for the unit's ExecStopPost, so that nothing stays closed behind it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg2
import yaml

from failover import patroni_keys, service_manager
from failover.bounded_http import NoAnswer, get
from failover.dead_apps import LOOK_MS, LOOK_SOON_MS, dead
from failover.etcd_dcs import EtcdDcs, LeaseGone, Member, NotAnswered
from failover.etcd_json import EtcdAnswerWrong, Prefixes
from failover.etcd_watch import Bell
from failover.gatekeeper import OPEN_ALL, Hold, Sight, Steering, holding, steering
from failover.handover import HANDOVER, POOLER, Pooler, PoolerState, decode_handover, encode
from failover.haproxy_socket import Haproxy, HaproxySilent
from failover.observer import monotonic_ms
from failover.pooler_console import Console
from failover.transaction import LEADER, Put, Transaction
from failover.view import NotSeen

READ_S = 1.0  # etcd is read at least so often
HURRY_S = 0.05  # between two looks while a hold or a new primary is waited for: each costs the new one
PAUSE_S = 0.01  # between two looks at an unanswered PAUSE: the old primary's stop waits for the word
HOLDING_MS = 150  # a PAUSE that is answered sooner is told of once, and not as one that waits before
ANSWER_S = 0.3
LEASE_TTL_S = 4
REPEAT_MS = 2000  # the steering is laid onto HAProxy again: it may have been started anew

logger = logging.getLogger("gatekeeper")


@dataclass(frozen=True, slots=True)
class Config:
    """Who I am, where etcd and the database hosts are. `addresses`: database host -> address."""

    cluster: str
    me: str
    pooler_port: int
    patroni_port: int
    addresses: dict[str, str]
    etcd: tuple[tuple[str, int], ...]

    def dcs(self) -> EtcdDcs:
        return EtcdDcs([Member(address, port) for address, port in self.etcd], Prefixes(self.cluster))


def load(path: Path) -> Config:
    """Raises OSError, yaml.YAMLError, KeyError or ValueError for a file that the renderer did not write."""
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Config(
        cluster=data["cluster"],
        me=data["me"],
        pooler_port=int(data["pooler_port"]),
        patroni_port=int(data["patroni_port"]),
        addresses={row["name"]: row["address"] for row in data["hosts"]},
        etcd=tuple((row["address"], int(row["port"])) for row in data["etcd"]),
    )


def accepts_writes(address: str, port: int) -> bool:
    """Whether Patroni there found PostgreSQL to be a primary just now. Bounded; False without an answer.

    `/primary` says yes as soon as Patroni has the lock; `/patroni` asks PostgreSQL whether it is in recovery.
    """
    try:
        status, body = get(address, port, "/patroni", ANSWER_S)
        role: str = json.loads(body)["role"]
    except (NoAnswer, OSError, ValueError, KeyError, TypeError):
        return False
    return status == 200 and role == "primary"


@dataclass
class Gatekeeper:
    """Read, steer, hold, say; one turn at a time."""

    config: Config
    dcs: EtcdDcs
    haproxy: Haproxy
    console: Console
    sight: Sight | None = None
    laid: Steering = OPEN_ALL
    hold: Hold | None = None
    believed: str | None = None
    _spent: frozenset[str] = frozenset()
    _laid_ms: int = -(10**9)
    _looked_ms: int = -(10**9)
    _losing: bool = False  # an application host does not answer its check
    _lease: int = 0
    _kept_ms: int = 0
    _said: Pooler | None = None
    _troubles: dict[str, str] = field(default_factory=dict[str, str])

    def begin(self) -> None:
        """Whatever an earlier gatekeeper left: nothing is closed, nothing is held."""
        self._trouble("haproxy", self._lay(OPEN_ALL))
        self._trouble("pooler", self._release())

    @property
    def pausing(self) -> bool:
        """Whether all that it waits for is its own pooler's PAUSE: a look at that costs nobody anything."""
        return self.hold is not None and not self.console.held and self.believed == self.laid.open

    def turn(self, *, read: bool) -> bool:
        """Whether something is waited for, so that the next turn should follow at once."""
        if read:
            self._read()
        now = monotonic_ms()
        hosts = frozenset(self.config.addresses)
        wanted = steering(self.sight, hosts, self.laid, now, self.believed)
        if self.hold is None:  # before sessions are cut: whoever comes back then waits
            self._hold(holding(self.sight, None, self._spent, now, wanted))
        self._steer(wanted, now)
        self._hold(holding(self.sight, self.hold, self._spent, now, self.laid))
        if self.hold is None and self.console.owed:
            self._trouble("pooler", self._release())
        self._say(now)
        self._cut_dead(now)
        unsaid = self._said is None or self._said.state is not PoolerState.HELD
        return (
            self._losing
            or (self.hold is not None and unsaid)
            or (self.laid.open is not None and self.believed != self.laid.open)
        )

    def _cut_dead(self, now: int) -> None:
        """Requests at application hosts that are gone; no oftener than needed, each look costs HAProxy."""
        if now - self._looked_ms < (LOOK_SOON_MS if self._losing else LOOK_MS):
            return
        self._looked_ms = now
        try:
            found = dead(self.haproxy.figures())
            for backend, host in found.hosts:
                logger.warning("%s is gone: its requests at this edge are cut", host)
                self.haproxy.cut(backend, host)
            for backend in found.stuck:
                self.haproxy.cut_waiting(backend)
            self._losing = found.soon
            self._trouble("figures", "")
        except (HaproxySilent, KeyError, ValueError) as error:
            self._losing = False
            self._trouble("figures", str(error))

    def _read(self) -> None:
        began = monotonic_ms()
        try:
            found = self.dcs.snapshot()
            state = patroni_keys.dcs_state(found)
            if isinstance(state, NotSeen):
                raise EtcdAnswerWrong(state.reason)
            wanted = found.get(HANDOVER)
            self.sight = Sight(
                found[LEADER].value if LEADER in found else None,
                decode_handover(wanted.value) if wanted else None,
                began,
            )
            self._trouble("etcd", "")
        except (NotAnswered, EtcdAnswerWrong, ValueError, KeyError, TypeError) as error:
            self._trouble("etcd", str(error))

    def _steer(self, wanted: Steering, now: int) -> None:
        """Close first; then wait until the holder accepts writes, open it and believe it."""
        if wanted.open != self.laid.open:
            self.believed = None
        if wanted != self.laid or now - self._laid_ms >= REPEAT_MS:
            if wanted != self.laid:
                logger.info("primary: %s, closed: %s", wanted.open or "any", ", ".join(sorted(wanted.closed)))
            self._trouble("haproxy", self._lay(wanted))
            self.laid, self._laid_ms = wanted, now
        holder = wanted.open
        if holder is None or self.believed == holder:
            return
        if accepts_writes(self.config.addresses[holder], self.config.patroni_port):
            try:
                self.haproxy.open(holder)
                self.haproxy.believe(holder)
            except HaproxySilent as error:
                self._trouble("haproxy", str(error))
                return
            self.believed = holder
            self.laid = replace(wanted, closed=wanted.closed - {holder})
            logger.info("%s accepts writes", holder)

    def _lay(self, wanted: Steering) -> str:
        """Answers the trouble, "" when there was none."""
        try:
            for host in sorted(wanted.closed):
                self.haproxy.close(host)
            for host in sorted(self.config.addresses.keys() - wanted.closed):
                self.haproxy.open(host)
        except HaproxySilent as error:
            return str(error)
        return ""

    def _hold(self, wanted: Hold | None) -> None:
        if wanted == self.hold:
            return
        if wanted is not None:
            logger.info("holding new transactions for %s", wanted.id)
            self.hold = wanted
            self.console.hold()
            return
        assert self.hold is not None
        trouble = self._release()
        self._trouble("pooler", trouble)
        if not trouble:  # else the next turn tries again
            logger.info("released after %s ms", monotonic_ms() - self.hold.since_ms)
            self._spent |= {self.hold.id}
            self.hold = None

    def _release(self) -> str:
        try:
            self.console.release()
        except psycopg2.Error as error:
            return " ".join(str(error).split())[:200]
        return ""

    def _say(self, now: int) -> None:
        """Publish when something changed, and keep the lease."""
        soon = False
        if self.hold is None:
            state = PoolerState.OPEN
        else:
            state = PoolerState.HELD if self.console.held else PoolerState.HOLDING
            soon = state is PoolerState.HOLDING and now - self.hold.since_ms < HOLDING_MS
        word = Pooler(self.config.me, state, self.hold.id if self.hold else "", self.laid.open or "")
        try:
            if not self._lease:
                self._lease, self._kept_ms, self._said = self.dcs.grant(LEASE_TTL_S), now, None
            elif now - self._kept_ms >= 1000:
                self.dcs.keep_alive(self._lease)
                self._kept_ms = now
            if word != self._said and not soon:
                self.dcs.write(Transaction((), (Put(POOLER + word.host, encode(word), self._lease),)))
                self._said = word
        except LeaseGone:
            self._lease = 0
        except (NotAnswered, EtcdAnswerWrong) as error:
            self._said = None
            self._trouble("saying", str(error))
        else:
            self._trouble("saying", "")

    def _trouble(self, what: str, text: str) -> None:
        """Logged when it comes and when it goes."""
        if text != self._troubles.get(what, ""):
            logger.warning("%s: %s", what, text or "works again")
        self._troubles[what] = text


def run(keeper: Gatekeeper, bell: Bell) -> None:
    """Turns until the process is ended."""
    hurry, read_at = True, 0.0
    while True:
        rang = bell.wait(PAUSE_S if keeper.pausing else HURRY_S if hurry else READ_S)
        now = time.monotonic()
        read = rang or now - read_at >= READ_S
        read_at = now if read else read_at
        hurry = keeper.turn(read=read)
        service_manager.alive()


def main(argv: list[str]) -> int:
    """Runs until it is stopped; with `--open` it only opens."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(name)s: %(message)s")
    config = load(Path(argv[1]))
    prefixes = Prefixes(config.cluster)
    keeper = Gatekeeper(config, config.dcs(), Haproxy(), Console(config.pooler_port))
    keeper.begin()
    if "--open" in argv[2:]:
        return 0
    leader, ours = prefixes.patroni + "leader", prefixes.ours
    bell = Bell(config.etcd, [(leader, leader + "\0"), (ours + "h", ours + "i")])
    bell.start()
    service_manager.ready()
    run(keeper, bell)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
