"""The WAN is slow and loses packets."""

from __future__ import annotations

import time
from datetime import timedelta

from hanbat.topology import Wan
from lab import record, sockets, wan
from lab.errors import BadTarget
from lab.faults import values
from lab.faults.base import Fault
from lab.plan import WanLink

ALL = "all"
GIVEN = {"delay": 50.0, "jitter": 0.0, "loss": 5.0}
KNOWN = {"delay": values.milliseconds, "jitter": values.milliseconds, "loss": values.percent}
TRIES = 6


def parse(text: str, links: tuple[WanLink, ...]) -> tuple[tuple[int, ...], dict[str, float]]:
    """Numbers of the links that a target names, and its values. Raises BadTarget."""
    where, found = values.split(text, KNOWN, GIVEN)
    if found["delay"] > 2000 or found["jitter"] > found["delay"]:
        raise BadTarget(f"{text}: delay is at most 2s, and jitter at most the delay")
    numbers = [
        number
        for number, link in enumerate(links)
        if where == ALL or where in ("-".join(link.sites), "-".join(reversed(link.sites)))
    ]
    if not numbers:
        raise BadTarget(f"wan takes SITE-SITE or all, not {where}")
    return tuple(numbers), found


def changed(base: Wan, found: dict[str, float]) -> Wan:
    """The WAN of sites.yml with a fault's values."""
    delay, jitter = (timedelta(milliseconds=found[key]) for key in ("delay", "jitter"))
    return base.model_copy(update={"delay": delay, "jitter": jitter, "loss_percent": found["loss"]})


class SlowWan(Fault):
    """Delay and loss of some or all WAN links: 50 ms one way and 5 % unless the target says otherwise."""

    name = "wan"

    def check(self) -> None:
        self.links, self.values = parse(self.target, self.lab.plan.wan)

    def _apply(self) -> None:
        """Bring every link to what the journal says: the newest fault on a link counts."""
        lab = self.lab
        wanted = dict.fromkeys(range(len(lab.plan.wan)), lab.topology.wan)
        for row in lab.faults.read():
            if row.name == self.name:
                numbers, found = parse(row.target, lab.plan.wan)
                wanted.update(dict.fromkeys(numbers, changed(lab.topology.wan, found)))
        known = record.read(lab.names)
        for number, setting in wanted.items():
            wan.change(lab.plan.wan[number], number, setting, known.wan if known else "", lab.names.run)

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            self._enter_journal()
            self._apply()

    def _round_trip_s(self, link: WanLink) -> float:
        """The shortest of some round trips between two routers; a refused connection takes just one."""
        far = str(self.lab.topology.site(link.sites[1]).router)
        best = float("inf")
        for _ in range(TRIES):
            started = time.monotonic()
            try:
                sockets.connect(link.routers[0], far, 9, timeout_s=5.0).close()
            except ConnectionRefusedError:
                best = min(best, time.monotonic() - started)
            except OSError:
                continue
        return best

    def active(self) -> bool:
        """The emulation says so, and the shortest round trip is at least four fifths of two delays."""
        known, lab = record.read(self.lab.names), self.lab
        setting = changed(lab.topology.wan, self.values)
        least_s = 2 * (self.values["delay"] - self.values["jitter"]) / 1000 * 0.8
        for number in self.links:
            link = lab.plan.wan[number]
            if not wan.is_set(link, number, setting, known.wan if known else "", lab.names.run):
                return False
            if not least_s <= self._round_trip_s(link) < 60:
                return False
        return True

    def heal(self) -> None:
        with self.lab.faults.change():
            self.lab.faults.drop(self.key)
            if self.lab.is_up():
                self._apply()

    def describe(self) -> str:
        where = [" and ".join(self.lab.plan.wan[number].sites) for number in self.links]
        varied = f" +- {self.values['jitter']:g}" if self.values["jitter"] else ""
        text = f"{self.values['delay']:g}{varied} ms one way and {self.values['loss']:g} % loss"
        return f"the WAN has {text} between {'; '.join(where)}"
