"""One simulated world: three sites, three database hosts, their Patronis, observers and controllers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from failover.policy import Mode, MoveKind, Policy
from failover.transaction import APPROVAL, CONFIG, LEADER, STATUS, SYNC
from failover.view import Host

from .claims import first_claim
from .controller import Controller, Observer
from .engine import Body, Engine, Process, Violation
from .etcd import Etcd, Event
from .invariants import Invariants
from .network import Network
from .patroni import Patroni
from .person import Operator
from .postgres import Servers, Session
from .promotion import GATE
from .rules import MENDED, PatroniRules, Sync

DATABASES = ("dj-db1", "dj-db2", "gg-db1")
SITE_OF = {
    "dj-db1": "dj",
    "dj-db2": "dj",
    "dj-app1": "dj",
    "dj-app2": "dj",
    "gg-db1": "gg",
    "gg-app1": "gg",
    "sj-wt1": "sj",
}
OBSERVERS = (("dj/1", "dj-app1"), ("dj/2", "dj-app2"), ("gg/1", "gg-app1"), ("sj/1", "sj-wt1"))
CONTROLLERS = {"dj": "dj-app1", "gg": "gg-app1", "sj": "sj-wt1"}
BOUND_MS = 60_000  # all healed: a primary that acknowledges again, at the latest
ASKED_MS = 150_000  # the same, where a person is asked, who may be asked again after a block period


@dataclass(frozen=True)
class Settings:
    """What a run is made of, besides its seed."""

    rules: PatroniRules = MENDED
    policy: Policy = field(default_factory=Policy)
    hazard: float = 0.002  # chance to be paused between two steps
    mode: str = "on"
    torn: float = 0.03
    deaf: float = 0.1  # chance that commits go on without a new set for a while, when it was empty
    controllers: bool = True
    person: bool = True  # who approves, where a move waits for it

    @property
    def asks(self) -> bool:
        """Some move waits for a person: then there is one."""
        return Mode.APPROVE in (self.policy.in_site, self.policy.cross_site)

    def may_race(self, old: str, new: str) -> bool:
        """Whether Patroni may make a move by itself (`replication.mends.held_back`)."""
        if old in ("", new):
            return True
        kind = MoveKind.IN_SITE if SITE_OF[old] == SITE_OF[new] else MoveKind.CROSS_SITE
        return self.policy.mode(kind) is not Mode.APPROVE


class World:
    """Built once for each seed. `run` moves time on; a broken invariant raises."""

    def __init__(self, seed: int, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.engine = Engine(seed)
        self.network = Network(self.engine, SITE_OF)
        self.etcd = Etcd(self.engine, self.network)
        self.servers = Servers(self.engine, self.network, DATABASES)
        self.healed_at = 0
        self.ambushes: dict[str, Callable[[str], None]] = {}
        self.etcd.torn = self.settings.torn
        self.servers.deaf = self.settings.deaf
        self.processes: dict[str, tuple[Process, Callable[[], Body], str, float]] = {}
        self._begin(claimed=seed % 2 == 0)
        self.patronis = {
            host: Patroni(host, self.engine, self.network, self.etcd, self.servers, self.settings.rules)
            for host in DATABASES
        }
        self.observers = self._observers()
        self.invariants = Invariants(
            self.engine, self.etcd, self.servers, self.observers, self.settings.policy, SITE_OF
        )
        self._connect()
        self._start()

    def _begin(self, claimed: bool) -> None:
        """A healthy cluster: dj-db1 is the primary, both others are sync standbys."""
        primary, members = "dj-db1", frozenset({"dj-db2", "gg-db1"})
        lease = self.etcd.grant(20_000)
        self.etcd.apply([(CONFIG, {"mode": self.settings.mode, "pause": False}, 0)])
        self.etcd.apply([(SYNC, Sync(primary, members), 0)])
        self.etcd.apply([(STATUS, '{"optime":0}', 0)])
        self.etcd.apply([(LEADER, primary, lease)])
        if claimed:  # else a cluster from before there were claims
            first_claim(self.etcd, primary)
        for host in DATABASES:
            server = self.servers.by_host[host]
            server.primary = host == primary
            server.upstream = None if server.primary else primary
            if not server.primary:
                self.servers.by_host[primary].sessions[host] = Session(0, 0, server.connection, 0)
        self.servers.by_host[primary].required = members
        if self.settings.mode == "quorum":
            self.servers.by_host[primary].quorum = 1

    def _observers(self) -> tuple[Observer, ...]:
        rng = self.engine.rng
        return tuple(
            Observer(
                name,
                SITE_OF[host],
                host,
                self.engine,
                self.network,
                self.etcd,
                self.servers,
                rng.uniform(0.99, 1.01),
            )
            for name, host in OBSERVERS
        )

    def _connect(self) -> None:
        self.etcd.before_commit = self.invariants.before_commit
        self.etcd.on_change += [self.invariants.changed, self._watch]
        self.servers.on_acknowledge = self.invariants.acknowledged
        for observer in self.observers:
            observer.says = self._says
        for patroni in self.patronis.values():
            patroni.promotions, patroni.rewinds = self.promoted, self.invariants.rewound
            patroni.peers, patroni.may_race = self.patronis, self.settings.may_race
            patroni.before_write = lambda host: self._ambush("write", host)

    def promoted(self, host: str) -> None:
        """One that slept after its swap of /sync, and whom another has swapped out since, is promoted all the
        same; behind its gate it acknowledges nothing (ADR 9), so the other stays the primary. Should it
        acknowledge after all, it is not the primary that does.
        """
        server = self.servers.by_host[host]
        if server.required == GATE and self.etcd.data[SYNC].value.leader != host:
            self.engine.log(host, "is promoted too late, behind its gate")
            self.invariants._numbered(server)
            return
        self.invariants.promoted(host)

    def _says(self, observer: str, host: str) -> str:
        patroni = self.patronis[host]
        awake = patroni.process is not None and patroni.process.alive
        awake = awake and patroni.process.paused_until <= self.engine.now
        there = awake and self.network.both_ways(observer, host)
        return patroni.says() if there and self.servers.by_host[host].primary else ""

    def _watch(self, events: tuple[Event, ...]) -> None:
        """A change of /leader, /config or /status wakes Patroni's loops; one of /failover does not."""
        if any(event.key in (LEADER, CONFIG, STATUS) for event in events):
            for patroni in self.patronis.values():
                if patroni.process is not None and self.etcd.serves(patroni.host):
                    self.engine.wake(patroni.process, self.engine.rng.randrange(5, 60))

    def _start(self) -> None:
        self.engine.spawn("servers", self.servers.process())
        self.engine.spawn("world", self._tick())
        hazard = self.settings.hazard
        for host, patroni in self.patronis.items():
            self.start(f"patroni {host}", patroni.body, host, hazard)
            patroni.process = self.processes[f"patroni {host}"][0]
        for observer in self.observers:
            self.start(f"observer {observer.name}", observer.body, observer.host, hazard / 4)
        for site, host in CONTROLLERS.items() if self.settings.controllers else ():
            controller = self._controller(site, host)
            self.start(f"controller {site}", controller.body, host, hazard * 2)
        if self.settings.asks and self.settings.person:
            person = Operator("gg-app1", self.engine, self.etcd, self.servers)
            self.start("operator", person.body, "gg-app1", 0.0)

    def _controller(self, site: str, host: str) -> Controller:
        return Controller(
            site,
            host,
            self.engine,
            self.etcd,
            tuple(Host(name, SITE_OF[name]) for name in DATABASES),
            self.settings.policy,
            self.engine.rng.uniform(0.99, 1.01),
            before_command=lambda site, what: self._ambush(what, site),
            before_revoke=self.invariants.before_revoke,
        )

    def _ambush(self, where: str, who: str) -> None:
        """What an incident has laid for the next takeover transaction, or write of /sync."""
        if laid := self.ambushes.pop(where, None):
            laid(who)

    def _tick(self) -> Body:
        while True:
            self.etcd.tick()
            self.invariants.standing()
            for host, patroni in self.patronis.items():
                if patroni.watchdog_at is not None and self.engine.now > patroni.watchdog_at:
                    self.engine.log(host, "RESET by its watchdog")
                    self.power_off(host)
                    self.engine.at(5000, lambda host=host: self.power_on(host))
            yield 100

    # --- what incidents do -----------------------------------------------------------------------

    def start(self, name: str, body: Callable[[], Body], host: str, hazard: float) -> None:
        self.processes[name] = (self.engine.spawn(name, body(), hazard), body, host, hazard)

    def kill(self, name: str) -> None:
        self.engine.kill(self.processes[name][0])

    def restart(self, name: str) -> None:
        process, body, host, hazard = self.processes[name]
        if process.alive or host in self.network.down:
            return
        self.start(name, body, host, hazard)
        if name.startswith("patroni "):
            self.patronis[host].process = self.processes[name][0]

    def on_host(self, host: str) -> list[str]:
        return [name for name, (_, _, where, _) in self.processes.items() if where == host]

    def power_off(self, host: str) -> None:
        self.network.power(host, False)
        for name in self.on_host(host):
            self.kill(name)
        if host in self.patronis:
            self.patronis[host].watchdog_at = None
            self.patronis[host].promoting = False
            self.servers.by_host[host].stop()
            self.servers.by_host[host].primary = False

    def power_on(self, host: str) -> None:
        if host in self.network.down:
            self.network.power(host, True)
            if host in self.patronis:
                self.patronis[host].booted = True
            for name in self.on_host(host):
                self.restart(name)

    def approve(self, candidate: str, lasting: int = 60_000) -> None:
        """A person's yes, to the primary and the lock as they are now."""
        lock, sync = self.etcd.get(LEADER), self.etcd.data[SYNC].value
        wanted = (candidate, lock.value if lock else sync.leader, lock.revision if lock else 0, "kim")
        self.etcd.apply([(APPROVAL, wanted, self.etcd.grant(lasting))])

    def freeze(self, host: str, duration: int) -> None:
        """The whole host stands still, PostgreSQL too."""
        for name in self.on_host(host):
            self.engine.pause(self.processes[name][0], duration)
        if host in self.patronis:
            self.servers.by_host[host].frozen_until = self.engine.now + duration
            if (promotion := self.patronis[host].promotion) is not None:
                self.engine.pause(promotion, duration)

    def calm(self) -> None:
        """No more pauses: neither of what runs, nor of what is yet to be started again."""
        for name, (process, body, host, _) in self.processes.items():
            process.hazard = 0.0
            self.processes[name] = process, body, host, 0.0

    def quiet_at(self) -> int:
        """When the last pause, and the last incident that was injected, is over."""
        pauses = [process.paused_until for process, _, _, _ in self.processes.values() if process.alive]
        return max([*pauses, self.healed_at, self.engine.now])

    # --- running ---------------------------------------------------------------------------------

    def run(self, duration: int) -> None:
        self.engine.run(self.engine.now + duration)

    def until_acknowledged(self, bound_ms: int | None = None) -> int:
        """Run until a commit made from now on is acknowledged; how long that took."""
        bound_ms = bound_ms or (ASKED_MS if self.settings.asks else BOUND_MS)
        begin = self.engine.now
        while self.engine.now - begin < bound_ms:
            self.run(100)
            if self.servers.last_acknowledged_ms > begin:
                return self.engine.now - begin
        self.engine.log("INVARIANT", f"no acknowledged commit within {bound_ms} ms")
        raise Violation("a connected majority gets a primary", f"nothing acknowledged for {bound_ms} ms")
