"""A link that goes and comes: each cut is shorter than the detection window."""

from __future__ import annotations

import time

from lab import commands, cuts
from lab.errors import BadTarget, CommandFailed
from lab.faults import background, values
from lab.faults.base import Fault
from lab.plan import wan_device

GIVEN = {"cut": 400.0, "every": 2000.0}  # milliseconds
KNOWN = {"cut": values.milliseconds, "every": values.milliseconds}


class Flap(Fault):
    """The link between two sites, or every link of one, is cut for a moment, again and again."""

    name = "flap"

    def check(self) -> None:
        where, self.times = values.split(self.target, KNOWN, GIVEN)
        target = cuts.parse(self.lab.topology, where)
        if target.site is None or target.one_way or target.clients:
            raise BadTarget(f"{self.name} takes SITE-SITE or SITE, not {self.target}")
        if not 0 < self.times["cut"] < self.times["every"] <= 60_000:
            raise BadTarget(f"{self.target}: the cut must be shorter than its period, at most 60s")
        self.site, self.other = target.site, target.other

    @property
    def _router(self) -> str:
        return self.lab.names.router(self.site)

    @property
    def _table(self) -> str:
        return f"hanbat_{background.slug(self.key)}"

    @property
    def _devices(self) -> list[str]:
        topology = self.lab.topology
        others = [self.other] if self.other else [s.name for s in topology.sites if s.name != self.site]
        return [wan_device(topology, other) for other in others]

    def _nft(self, *words: str, stdin: str | None = None) -> str:
        argv = ["ip", "netns", "exec", self._router, "nft", *words]
        return commands.run(argv, stdin=stdin).stdout

    def inject(self) -> None:
        self.lab.require_up()
        with self.lab.faults.change():
            if self.journaled() and background.alive(self.lab.names, self.key):
                return
            self._enter_journal()
            self._nft("-f", "-", stdin=table_text(self._table))
            seconds = [str(self.times[each] / 1000) for each in ("cut", "every")]
            words = [self._router, self._table, *seconds, str(background.LIMIT_S), *self._devices]
            self._enter_journal(pid=background.begin(self.lab.names, self.key, "flapper.py", words))

    def active(self) -> bool:
        """The flapper lives, and within its period and a second the link is seen cut, and seen open."""
        end = time.monotonic() + self.times["every"] / 1000 + 1
        seen: set[bool] = set()
        while time.monotonic() < end and len(seen) < 2:
            if not background.alive(self.lab.names, self.key):
                return False
            try:
                seen.add("expires" in self._nft("list", "set", "inet", self._table, "cut"))
            except CommandFailed:  # no such table
                return False
            time.sleep(0.02)
        return len(seen) == 2

    def heal(self) -> None:
        with self.lab.faults.change():
            background.end(self.lab.names, self.key)
            self._nft("-f", "-", stdin=without_table(self._table))
            self.lab.faults.drop(self.key)

    def describe(self) -> str:
        cut_s, every_s = self.times["cut"] / 1000, self.times["every"] / 1000
        where = (
            f"the link between {self.site} and {self.other}" if self.other else f"all links of {self.site}"
        )
        return f"{where}: cut for {cut_s:g} s in every {every_s:g} s"


def without_table(name: str) -> str:
    """Text for nft that removes a table, if it is there or not."""
    return f"table inet {name} {{}}\ndelete table inet {name}\n"


def table_text(name: str) -> str:
    """Text for nft: what is in the set `cut` at this moment is dropped, both ways."""
    return without_table(name) + (
        f"table inet {name} {{\n"
        "  set cut { type ifname; flags timeout; }\n"
        "  chain coming {\n    type filter hook prerouting priority -400; policy accept;\n"
        "    iifname @cut drop\n  }\n"
        "  chain going {\n    type filter hook postrouting priority 400; policy accept;\n"
        "    oifname @cut drop\n  }\n"
        "}\n"
    )
