"""Where a person must approve a move, Patroni's own race does not make it (ADR 0006).

When Patroni's lease runs out, every sync standby may take the free lock. Here a host takes it only if the
move from the last primary to it is one that Patroni may make by itself, or if somebody has named it in
/failover: our takeover transaction does so after an approval, a person does so with a switchover. It also
leaves a free lock alone if `/sync` does not name it: it would only have to give it back (`named_holder`).

Two functions are wrapped, `Ha.is_healthiest_node` (every way to a free lock goes through it) and
`Ha._is_healthiest_node` (whom a racing host compares itself with: one that may not race does not count,
as one with the tag `nofailover` does not).

Which moves: `/etc/hanbat/moves.json`, read at each decision, so that a change of policy needs no restart
of the database. It only ever keeps a host from a lock, so what it says can cost time and never data.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from hanbat.errors import HanbatError
from replication.mends.wrapping import wrap

logger = logging.getLogger(__name__)

PATH = Path("/etc/hanbat/moves.json")
APPROVE = "approve"
HEALTHIEST = ("self",)
COMPARED = ("self", "members", "check_replication_lag", "leader")


class Named(Protocol):
    @property
    def name(self) -> str: ...


class Offer(Protocol):
    @property
    def candidate(self) -> str | None: ...


class Sync(Protocol):
    @property
    def leader(self) -> str | None: ...
    @property
    def quorum(self) -> int: ...
    def matches(self, name: str, check_leader: bool = ...) -> bool: ...


class Cluster(Protocol):
    @property
    def sync(self) -> Sync: ...
    @property
    def failover(self) -> Offer | None: ...
    @property
    def leader(self) -> Named | None: ...


class Ha(Protocol):
    """What is used of `patroni.ha.Ha`. `old_cluster`: the last one that it saw with a lock holder."""

    cluster: Cluster
    old_cluster: Cluster
    state_handler: Named

    def is_paused(self) -> bool: ...
    def sync_mode_is_active(self) -> bool: ...
    def is_quorum_commit_mode(self) -> bool: ...


class MovesUnreadable(HanbatError):
    """The file that says which moves wait for a person cannot be read; Patroni is not started."""

    code = 175
    hint = "render the host anew: hanbat render HOST"


@dataclass(frozen=True, slots=True)
class Moves:
    """Which moves wait for a person, and where each host stands."""

    in_site: str
    cross_site: str
    sites: Mapping[str, str]

    def may(self, old: str, new: str) -> bool:
        """Whether Patroni may replace `old` by `new` by itself. A host comes back to its own lock."""
        if old == new:
            return True
        same = self.sites.get(old) == self.sites.get(new) and old in self.sites
        return (self.in_site if same else self.cross_site) != APPROVE


def parse(text: str) -> Moves:
    """Raises ValueError, KeyError or TypeError for what the renderer did not write."""
    read = json.loads(text)
    sites = cast(dict[str, str], read["sites"])
    return Moves(str(read["in_site"]), str(read["cross_site"]), {str(k): str(v) for k, v in sites.items()})


@dataclass
class Book:
    """The file, read anew at each question. What was read last stands for a file that cannot be read."""

    path: Path
    last: Moves | None = None

    def moves(self) -> Moves:
        """Raises MovesUnreadable if it has never been readable."""
        try:
            self.last = parse(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            if self.last is None:
                raise MovesUnreadable(f"{self.path}: {error!r}") from error
            logger.warning("%s cannot be read; what it said before stands: %r", self.path, error)
        return self.last


def last_primary(ha: Ha) -> str | None:
    """Who /sync says was primary last; without a /sync, the last lock holder that was seen here."""
    if ha.cluster.sync.leader:
        return ha.cluster.sync.leader
    return ha.old_cluster.leader.name if ha.old_cluster.leader is not None else None


def why_held(ha: Ha, moves: Moves) -> str:
    """Why this host leaves a free lock alone; "" when it need not.

    While a person has paused Patroni, that person decides. While nobody is known to have been primary
    (bootstrap), there is no move.
    """
    name = ha.state_handler.name
    if ha.is_paused():
        return ""
    if ha.sync_mode_is_active() and not ha.cluster.sync.matches(name, True):
        return "/sync does not name me"
    if ha.sync_mode_is_active() and not ha.is_quorum_commit_mode() and _by_quorum(ha.cluster.sync, name):
        return "/sync is one for a quorum: it does not prove that I have all"
    offer = ha.cluster.failover
    if offer is not None and offer.candidate == name:
        return ""
    old = last_primary(ha)
    if old is None or moves.may(old, name):
        return ""
    return f"a move from {old} to me waits for a person"


def _by_quorum(sync: Sync, name: str) -> bool:
    """Left over from mode `quorum`: a member need not have all, and nobody counts votes any more."""
    return sync.quorum > 0 and sync.leader != name


def healthiest(original: Callable[[Any], bool], book: Book) -> Callable[[Any], bool]:
    """In the place of `is_healthiest_node`, which it calls when the host may race."""
    said: list[str] = []

    def is_healthiest_node(self: Ha) -> bool:
        why = why_held(self, book.moves())
        if why and said[-1:] != [why]:
            logger.warning("%s leaves the free lock alone: %s", self.state_handler.name, why)
        said[:] = [why]
        return original(self) if not why else False

    return is_healthiest_node


def compared(original: Callable[..., bool], book: Book) -> Callable[..., bool]:
    """In the place of `_is_healthiest_node`: without the members that may not race themselves."""

    def _is_healthiest_node(
        self: Ha, members: Collection[Named], check_replication_lag: bool = True, leader: Any = None
    ) -> bool:
        old, moves = last_primary(self), book.moves()
        racing = [one for one in members if old is None or moves.may(old, one.name)]
        return original(self, racing, check_replication_lag, leader)

    return _is_healthiest_node


def install(path: Path = PATH) -> None:
    """Wraps the functions in the running Patroni. Raises ReplacedFunctionChanged or MovesUnreadable."""
    import patroni.postgresql  # noqa: F401  # pyright: ignore[reportMissingTypeStubs,reportUnusedImport]
    from patroni.ha import Ha as PatroniHa  # pyright: ignore[reportMissingTypeStubs]

    book = Book(path)
    book.moves()
    wrap(PatroniHa, "is_healthiest_node", HEALTHIEST, lambda original: healthiest(original, book))
    wrap(PatroniHa, "_is_healthiest_node", COMPARED, lambda original: compared(original, book))
