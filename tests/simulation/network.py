"""Which site reaches which, in which direction, how late and how surely."""

from __future__ import annotations

from dataclasses import dataclass, field

from .engine import Engine

SITES = ("dj", "gg", "sj")


@dataclass
class Network:
    """Directed links between sites. Inside a site only a host's own state matters."""

    engine: Engine
    site_of: dict[str, str]
    down: set[str] = field(default_factory=set)  # hosts without power
    cuts: dict[tuple[str, str], int] = field(default_factory=dict)  # (from, to): how many incidents cut it
    host_cuts: dict[str, int] = field(default_factory=dict)  # hosts whose own network is gone
    outer_cuts: dict[str, int] = field(default_factory=dict)  # hosts that no other site reaches
    link_cuts: dict[frozenset[str], int] = field(default_factory=dict)  # between two hosts
    replication_cuts: dict[tuple[str, str], int] = field(default_factory=dict)
    loss: float = 0.0
    slow_ms: int = 0
    version: int = 0  # rises with each change of who reaches whom
    _known: dict[tuple[str, str], bool] = field(default_factory=dict)

    def power(self, host: str, on: bool) -> None:
        if on:
            self.down.discard(host)
        else:
            self.down.add(host)
        self.changed()

    def changed(self) -> None:
        self.version += 1
        self._known.clear()

    def one_way(self, source: str, target: str) -> bool:
        """Whether packets from host to host arrive at all."""
        known = self._known.get((source, target))
        if known is None:
            known = self._known[source, target] = self._one_way(source, target)
        return known

    def _one_way(self, source: str, target: str) -> bool:
        if source in self.down or target in self.down:
            return False
        if source != target and (self.host_cuts.get(source) or self.host_cuts.get(target)):
            return False
        if self.link_cuts and self.link_cuts.get(frozenset((source, target))):
            return False
        sites = (self.site_of[source], self.site_of[target])
        if sites[0] != sites[1] and (self.outer_cuts.get(source) or self.outer_cuts.get(target)):
            return False
        return not self.cuts.get(sites)

    def both_ways(self, one: str, other: str) -> bool:
        return self.one_way(one, other) and self.one_way(other, one)

    def replicates(self, source: str, target: str) -> bool:
        pair = (self.site_of[source], self.site_of[target])
        return self.one_way(source, target) and not self.replication_cuts.get(pair)

    def lost(self) -> bool:
        return self.loss > 0 and self.engine.rng.random() < self.loss

    def delay_ms(self, source: str, target: str) -> int:
        """One way. Random, so that messages overtake each other."""
        far = self.site_of[source] != self.site_of[target]
        base = 2 if far else 0
        return base + self.engine.rng.randrange(1, 4 + (self.slow_ms if far else 0))
