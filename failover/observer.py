"""Probes every database host several times a second, and publishes what was seen under a short lease."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Thread
from typing import Protocol

from failover import probe_edge, probe_member
from failover.etcd_dcs import EtcdDcs, LeaseGone, NotAnswered
from failover.etcd_json import EtcdAnswerWrong
from failover.probe_edge import EdgeAsked, EdgeStreak
from failover.publication import PULSE, Pulse, Remembered, publish, verdict
from failover.streaks import Probe, Streak, extended, seen, told
from failover.view import HostSeen, Reach

PROBE_PERIOD_S = 0.25
# Between two probes of the primary and of the hosts beside it: silence is known from the first that fails,
# and a site is lost when the last of its hosts is.
PRIMARY_PERIOD_S = 0.125
STALE_MS = 1000  # no probe of a host has ended for longer: nothing is known of it
PULSE_PERIOD_S = 0.4
ALARM_PERIOD_S = 0.08  # between pulses while the primary is missed
SHORTEST_S = 0.005
ALARM_MS = 10_000  # a host that is away for longer, or was never there, is no reason to hurry
LEASE_TTL_S = 2
LEASE_PERIOD_S = 0.5

logger = logging.getLogger("observer")


class Prober(Protocol):
    def probe(self) -> Probe: ...


class Watch(Protocol):
    """Something else that is asked again and again, in a thread of its own."""

    @property
    def name(self) -> str: ...

    def run(self, stopped: Callable[[], bool]) -> None: ...


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


class Sight:
    """What this observer sees, shared between its threads."""

    def __init__(
        self,
        hosts: tuple[str, ...],
        clock_ms: Callable[[], int] = monotonic_ms,
        edges: tuple[str, ...] = (),
        sites: Mapping[str, str] | None = None,
        members: tuple[str, ...] = (),
    ) -> None:
        """`sites`: host -> its site. `members`: of the DCS, by name."""
        self._hosts = hosts
        self._sites = sites or {}
        self._clock_ms = clock_ms
        self._edges: dict[str, EdgeStreak | None] = dict.fromkeys(edges)
        self._members: dict[str, Streak | None] = dict.fromkeys(members)
        # A key's revision, and since when it has been known.
        self._operation: tuple[int, int] | None = None
        self._offer: tuple[int, int] | None = None
        self._streaks: dict[str, Streak] = {}
        self._met: set[str] = set()
        self._primary: str | None = None
        self._planned = False
        self._lock = Condition()

    def take(self, host: str, probe: Probe) -> Streak | None:
        """Note a probe; answers the streak before it."""
        with self._lock:
            before = self._streaks.get(host)
            self._streaks[host] = extended(before, probe)
            if probe.reach is Reach.REACHABLE:
                self._met.add(host)
            if before is not None and before.reach is not probe.reach:
                self._lock.notify_all()
            return before

    def take_edge(self, site: str, asked: EdgeAsked) -> None:
        with self._lock:
            self._edges[site] = probe_edge.extended(self._edges.get(site), asked)

    def take_member(self, name: str, probe: Probe) -> None:
        with self._lock:
            self._members[name] = extended(self._members.get(name), probe)

    def take_operation(self, revision: int, age_ms: int) -> None:
        """The controller beside us has known this revision of the operation key for so long."""
        with self._lock:
            self._operation = (revision, self._clock_ms() - age_ms)

    def take_offer(self, revision: int, age_ms: int) -> None:
        """The same of an offer in /failover; 0: nothing is offered."""
        with self._lock:
            self._offer = (revision, self._clock_ms() - age_ms) if revision else None

    def pulse(self, observer: str, site: str, sequence: int) -> Pulse:
        now = self._clock_ms()
        with self._lock:
            hosts = tuple(seen(host, self._streaks.get(host), now, STALE_MS) for host in self._hosts)
            details = {host: told(streak, now) for host, streak in self._streaks.items()}
            edges = tuple(probe_edge.seen(name, streak, now) for name, streak in self._edges.items())
            members = tuple(probe_member.seen(name, streak, now) for name, streak in self._members.items())
            operation, offer = _remembered(self._operation, now), _remembered(self._offer, now)
        return Pulse(observer, site, sequence, hosts, details, edges, operation, members, offer)

    def wait_for_news(self, limit_s: float) -> None:
        """Until a host is reached, or missed, that was not before; at most so long."""
        with self._lock:
            self._lock.wait(limit_s)

    def take_primary(self, host: str | None) -> None:
        """Who is the primary by etcd's word; None: nobody knows, and anybody's absence counts."""
        with self._lock:
            self._primary = host

    def take_planned(self, planned: bool) -> None:
        """Whether the primary is away because it hands over as it was asked to."""
        with self._lock:
            self._planned = planned

    def period_s(self, host: str) -> float:
        """Between two probes of a host."""
        with self._lock:
            primary = self._primary
        return PRIMARY_PERIOD_S if primary and self._beside(host, primary) else PROBE_PERIOD_S

    def missed(self) -> tuple[HostSeen, ...]:
        """The primary, if it was there and is lately unreachable: the next second may decide. With it, who
        is missed beside it: if the site is lost, the last of its hosts decides.

        Nobody else, and nobody who hands over: hurry costs the processor that a promotion, or the clients
        that come back, need now.
        """
        with self._lock:
            primary, planned = self._primary, self._planned
        lately = {
            one.host: one
            for one in self.pulse("", "", 0).hosts
            if one.reach is Reach.UNREACHABLE and one.for_ms < ALARM_MS and one.host in self._met
        }
        if planned or (primary is not None and primary not in lately):
            return ()
        return tuple(one for one in lately.values() if primary is None or self._beside(one.host, primary))

    def _beside(self, host: str, primary: str) -> bool:
        """Whether it is the primary, or a host of the primary's site."""
        home = self._sites.get(primary)
        return host == primary or (home is not None and self._sites.get(host) == home)


def _remembered(known: tuple[int, int] | None, now_ms: int) -> Remembered | None:
    return Remembered(known[0], now_ms - known[1]) if known else None


@dataclass
class Publisher:
    """Writes pulses; keeps its lease. What it cannot write is tried again with the next pulse."""

    observer: str
    site: str
    sight: Sight
    dcs: EtcdDcs
    clock_s: Callable[[], float] = time.monotonic
    _sequence: int = 0
    _lease: int = 0
    _kept_at: float = 0.0
    _revision: int | None = None  # of the pulse in etcd; None: not known
    _verdict: str | None = None
    _trouble: str = field(default="")

    def step(self) -> None:
        """One publication. Never raises; trouble is logged when it changes."""
        try:
            self._publish()
            trouble = ""
        except LeaseGone:
            self._lease, self._revision, self._verdict, trouble = 0, None, None, "the lease has run out"
        except (NotAnswered, EtcdAnswerWrong) as error:
            self._revision, self._verdict, trouble = None, None, str(error)
        if trouble != self._trouble:
            logger.warning("publishing: %s", trouble or "works again")
        self._trouble = trouble

    def _publish(self) -> None:
        now = self.clock_s()
        if not self._lease:
            self._lease, self._kept_at = self.dcs.grant(LEASE_TTL_S), now
        elif now - self._kept_at >= LEASE_PERIOD_S:
            self.dcs.keep_alive(self._lease)
            self._kept_at = now
        if self._revision is None:  # an answer was lost, or we have just begun: what stands there?
            known = self.dcs.snapshot().get(PULSE + self.observer)
            self._revision, self._verdict = known.revision if known else 0, None
        self._sequence += 1
        pulse = self.sight.pulse(self.observer, self.site, self._sequence)
        transaction = publish(pulse, self._lease, self._revision, self._verdict)
        self._revision = self.dcs.write(transaction)
        self._verdict = verdict(pulse) if self._revision is not None else None


def watch_host(host: str, prober: Prober, sight: Sight, stopped: Callable[[], bool]) -> None:
    """Probes one host until stopped; a probe that took long is followed by the next at once."""
    while not stopped():
        began = time.monotonic()
        probe = prober.probe()
        before = sight.take(host, probe)
        if before is None or before.reach is not probe.reach:
            logger.info("%s is %s (%s)", host, probe.reach, probe.detail.why or probe.role)
        time.sleep(max(0.0, sight.period_s(host) - (time.monotonic() - began)))


def publish_all(publisher: Publisher, sight: Sight, stopped: Callable[[], bool], window_ms: int) -> None:
    """Pulses until stopped; more often while the primary is missed."""
    while not stopped():
        began = time.monotonic()
        publisher.step()
        sight.wait_for_news(pause_after(sight.missed(), window_ms, time.monotonic() - began))


def pause_after(missed: Sequence[HostSeen], window_ms: int, took_s: float) -> float:
    """Until the next pulse, after one that took so long.

    While somebody is missed, not longer than until the window is over: then the proof is there.
    """
    if not missed:
        return max(SHORTEST_S, PULSE_PERIOD_S - took_s)
    left_ms = [window_ms - one.for_ms for one in missed if one.for_ms < window_ms]
    return max(SHORTEST_S, min([ALARM_PERIOD_S - took_s, *((left + 1) / 1000 for left in left_ms)]))


@dataclass
class Ended:
    """Which threads have ended by themselves. Half an observer is none, and nobody would notice."""

    names: list[str] = field(default_factory=list[str])

    def __call__(self) -> bool:
        """Whether one has: then the process ends, too, and systemd starts it again."""
        return bool(self.names)

    def noting(self, run: Callable[[], None], name: str) -> None:
        """Runs a thread's work, and notes its end. For a `Thread`: what it raises is logged here."""
        try:
            run()
        except Exception:
            logger.exception("thread %s", name)
        finally:
            self.names.append(name)


def start(
    publisher: Publisher,
    sight: Sight,
    probers: Mapping[str, Prober],
    watches: Sequence[Watch],
    ended: Ended,
    window_ms: int,
) -> None:
    """All threads of one observer. They end when one has; as daemons they keep no process alive."""
    works: dict[str, Callable[[], None]] = {watch.name: partial(watch.run, ended) for watch in watches}
    for host, prober in probers.items():
        works[f"probe-{host}"] = partial(watch_host, host, prober, sight, ended)
    works["publisher"] = partial(publish_all, publisher, sight, ended, window_ms)
    for name, work in works.items():
        Thread(target=ended.noting, args=(work, name), name=name, daemon=True).start()
