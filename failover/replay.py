"""How much WAL a standby has received and not replayed: it replays that before it accepts writes. Pure.

A sync standby acknowledges what it has flushed, not what it has replayed. So it can have everything and be
minutes away from serving: replay is paused (by a person, by a backup tool), or a long query holds it up.
"""

from __future__ import annotations

from collections.abc import Mapping

from failover.publication import Pulse
from failover.view import Reach, View
from failover.votes import fresh

# One process replays, between 20 and 200 MB/s. At the slower end this is 3.2 s, twice what a planned handover
# may cost a request (1.5 s); a standby that follows a busy primary is some hundred KB behind.
MOST_BYTES = 64 << 20
# At the slower end 0.4 s: what a handover of 1.1 s, the usual one, leaves of the 1.5 s.
SOME_BYTES = 8 << 20


def left_bytes(view: View, pulses: Mapping[str, Pulse], host: str) -> int | None:
    """What the host still has to replay, by the newest word of who reaches it now; None: nobody knows.

    Both positions are of one answer of the host. The primary's would be of another moment: while it writes,
    a standby that has replayed everything would be behind by what was written between the two.
    `pulses`: the last word of each observer.
    """
    told = [
        (received, replayed)
        for one in fresh(view)
        if one.of(host).reach is Reach.REACHABLE
        and (received := one.of(host).received_lsn) is not None
        and (pulse := pulses.get(one.observer)) is not None
        and (detail := pulse.details.get(host)) is not None
        and (replayed := detail.replayed_lsn) is not None
    ]
    if not told:
        return None
    received, replayed = max(told)
    return max(0, received - replayed)
