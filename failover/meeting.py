"""Whom a controller has met since it began to see the DCS without a break."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from failover.policy import Policy
from failover.view import Observation, Reach


@dataclass(slots=True)
class Meeting:
    """One controller's memory. It begins anew at a start, and when the DCS was not seen for `cut_ms`.

    While etcd had no majority nobody could say what became of a host; when it has one again, the host may
    be starting, as etcd itself was. So whoever was met before has to be met again: for so long that the
    other observers have had time to meet it too. One that is a probe ahead of them is not a quarrel.
    """

    began_ms: int | None = None
    last_ms: int = 0
    first_ms: dict[str, int] = field(default_factory=dict[str, int])  # when each host was first met

    def seen(self, began_ms: int, now_ms: int, observations: Iterable[Observation], policy: Policy) -> int:
        """The DCS was read, from `began_ms` to `now_ms`. For how long it has been seen without a break.

        A read that took long, because etcd or this process stood still, tells of the time when it began.
        """
        if self.began_ms is None or self.is_cut(now_ms, policy):
            self.began_ms = began_ms
            self.first_ms.clear()
        self.last_ms = began_ms
        for one in observations:
            if one.age_ms <= policy.fresh_ms:
                for host in one.hosts:
                    if host.reach is Reach.REACHABLE:
                        self.first_ms.setdefault(host.host, began_ms)
        return began_ms - self.began_ms

    def is_cut(self, now_ms: int, policy: Policy) -> bool:
        """Whether a read that is there now begins anew."""
        return self.began_ms is not None and now_ms - self.last_ms > policy.cut_ms

    def met(self, policy: Policy) -> frozenset[str]:
        """Who was met, by now long enough ago."""
        settled_ms = policy.window_ms + policy.fresh_ms
        return frozenset(
            host for host, first_ms in self.first_ms.items() if self.last_ms - first_ms >= settled_ms
        )
