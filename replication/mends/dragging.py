"""A standby that drags every commit is taken out of the sync set after a set time, and brought back.

With a slow disk or a slow link at one sync standby every commit waits for it, for as long as it lasts.
Patroni 4.1 has no bound in time for that (`maximum_lag_on_syncnode` counts bytes, and must stay off: ADR 3).

One function is wrapped, the constructor of `_ReplicaList`: a dragging standby is left out of the list of
candidates, as one that has disconnected would be. Patroni then takes it out in its own order (the swap of
/sync first, then `synchronous_standby_names`), so that what ADR 5 rests on (I1) stays as it is; if the swap
fails, nothing changes.

*The rule.* Lag is the age of the oldest WAL that the primary has flushed and the standby has not: what a
commit at that moment would have waited for already (by samples: up to 0.1 s more). `flush_lag` of
pg_stat_replication is not taken: it is the lag of the *newest* WAL in the last answer. While a disk stands
still it goes on showing the good value from before, and when idle it shows an old bad one. A standby drags
when its lag was above the bound again and again for the set time, with no pause of more than BREAK_S in
between: a disk that stalls once a second lets some commits through quickly. It is back when its lag was
known for as long, and below half of the bound in all but SPARED of the samples. A link that is cut for a
moment every few seconds does not drag every commit, and a standby that had to show a time without any such
moment would be out for as long as the link is poor (the soak: ten minutes). A standby that is not seen is not
known to drag; one that is out and not seen is not known to be good. If the primary cannot be asked for the
set time, nobody is left out.

*How many may be left out.* In `max_availability` all of them, the last one too: that mode says that the
service goes on alone rather than wait, and a dragging standby makes everybody wait as a lost one does. Never
because of one sample: the set time is at least 3 s, twice BREAK_S. The price is said aloud: what is
acknowledged meanwhile is not on that standby, a takeover by it has no proof, and the interval is recorded
(`replication.unprotected`). In `max_protection` nobody is left out, nothing is installed: the operator chose
to wait. In `max_performance` no commit waits at all.

Known limits: with less than one commit in BREAK_S nothing is found; a standby without load looks good and
comes back after the set time, to be taken out again under load; after a restart of Patroni all starts anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableSequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast

from replication.lsn.ring import LsnRing, Sample
from replication.mends.wrapping import wrap

if TYPE_CHECKING:
    from replication.mends.flush_watch import FlushWatch

SIGNATURE = ("self", "postgresql", "cluster")
BREAK_S = 1.5
SPARED = 0.25  # share of the samples that may be bad while a standby shows itself good
RING_S = 60.0  # lag above this is known as "at least this"


@dataclass
class _Standby:
    above_since_s: float | None = None
    above_last_s: float | None = None
    shown: deque[tuple[float, bool]] = field(default_factory=deque[tuple[float, bool]])  # time, below half
    out: bool = False

    def broken(self) -> None:
        """What came next is not known: neither run goes on."""
        self.above_since_s = self.above_last_s = None
        self.shown.clear()

    def is_good(self, at_s: float, time_s: float) -> bool:
        """Whether it has shown itself good over the whole time."""
        while len(self.shown) > 1 and self.shown[1][0] <= at_s - time_s:
            self.shown.popleft()
        bad = sum(not below for _, below in self.shown)
        return at_s - self.shown[0][0] >= time_s and bad <= SPARED * len(self.shown)


@dataclass
class Drags:
    """Samples in, the set of draggers out. Reads no clock; `at_s` never falls."""

    limit_s: float
    time_s: float
    _standbys: dict[str, _Standby] = field(default_factory=dict[str, _Standby])
    _ring: LsnRing = field(default_factory=lambda: LsnRing(RING_S))
    _last_s: float | None = None

    def take(self, at_s: float, primary: int, flushed: Mapping[str, int]) -> None:
        """Takes a sample in: what the primary and each streaming standby (lower case) have flushed."""
        if self._last_s is None or at_s - self._last_s > BREAK_S:
            self._all_broken()
        self._last_s = at_s
        self._ring.add(Sample(at_s, primary))
        for name in self._standbys.keys() - flushed.keys():
            self._standbys[name].broken()
        for name, lsn in flushed.items():
            self._note(self._standbys.setdefault(name, _Standby()), self._lag_s(lsn, at_s), at_s)

    def draggers(self, now_s: float) -> frozenset[str]:
        """Who is to be left out now. Nobody, and all anew, when the last sample is too old."""
        if self._last_s is not None and now_s - self._last_s > max(self.time_s, BREAK_S):
            self.forget()
        return frozenset(name for name, one in self._standbys.items() if one.out)

    def forget(self) -> None:
        """As at the start: for a primary that was not seen, or is none any more."""
        self._standbys, self._ring, self._last_s = {}, LsnRing(RING_S), None

    def _all_broken(self) -> None:
        # The ring too: a position passed somewhere in the pause would be given the age of the whole pause.
        self._ring = LsnRing(RING_S)
        for one in self._standbys.values():
            one.broken()

    def _lag_s(self, lsn: int, at_s: float) -> float:
        exposure = self._ring.exposure(lsn, at_s)
        assert exposure is not None  # the primary's sample of now is in the ring
        return exposure.seconds if exposure.seconds is not None else exposure.at_least_s or 0.0

    def _note(self, one: _Standby, lag_s: float, at_s: float) -> None:
        if lag_s > self.limit_s:
            if one.above_last_s is None or one.above_since_s is None or at_s - one.above_last_s > BREAK_S:
                one.above_since_s = at_s
            one.above_last_s = at_s
            if not one.out and at_s - one.above_since_s >= self.time_s:
                one.out = True
                one.shown.clear()
        if one.out:
            one.shown.append((at_s, lag_s < self.limit_s / 2))
            if one.is_good(at_s, self.time_s):
                one.out = False
                one.broken()


class Sync(Protocol):
    def matches(self, name: str, check_leader: bool = ...) -> bool: ...


class Cluster(Protocol):
    @property
    def sync(self) -> Sync: ...


class Postgresql(Protocol):
    @property
    def name(self) -> str: ...


class Replica(Protocol):
    @property
    def application_name(self) -> str: ...


class Watch(Protocol):
    """What is used of `replication.mends.flush_watch.FlushWatch`. Never waits, never raises."""

    def left_out(self, primary: str, asked: Iterable[str], named: Callable[[str], bool]) -> frozenset[str]:
        """Which of those that would be asked are left out, in lower case. `named`: /sync names it."""
        ...


def replacement(original: Callable[..., None], watch: Watch) -> Callable[..., None]:
    """The constructor that takes the place of Patroni's, which it calls."""

    def __init__(self: MutableSequence[Replica], postgresql: Postgresql, cluster: Cluster) -> None:
        original(self, postgresql, cluster)
        asked = [one.application_name for one in self]
        left_out = watch.left_out(postgresql.name, asked, cluster.sync.matches)
        self[:] = [one for one in self if one.application_name.lower() not in left_out]

    return __init__


def woken(original: Callable[[Any], None], watch: FlushWatch) -> Callable[[Any], None]:
    """In the place of `Ha.process_sync_replication`: the watch comes to know whom to wake."""

    def process_sync_replication(self: Any) -> None:
        watch.wakeup = self.wakeup
        original(self)

    return process_sync_replication


def install(limit_s: float, time_s: float) -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged."""
    # Patroni's modules import each other in a circle: `ha` alone cannot be the first.
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Ha  # pyright: ignore[reportMissingTypeStubs]
    from patroni.postgresql import sync  # pyright: ignore[reportMissingTypeStubs]

    from replication.mends.flush_watch import FlushWatch

    watch = FlushWatch(Drags(limit_s, time_s))
    wrap(cast(Any, sync)._ReplicaList, "__init__", SIGNATURE, lambda original: replacement(original, watch))
    wrap(Ha, "process_sync_replication", ("self",), lambda original: woken(original, watch))
