"""A scenario as data: what is done to which site, and every bound in time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of the waits and measures of a scenario, in seconds."""

    steady_s: float = 30.0  # until the steady state is seen
    steady_hold_s: float = 3.0  # how long it must hold under load
    prepare_s: float = 30.0
    bids_s: float = 20.0
    fault_proof_s: float = 10.0
    takeover_s: float = 60.0
    opening_s: float = 60.0
    rejoin_s: float = 90.0
    switchover_s: float = 40.0
    quiet_s: float = 15.0
    rto_s: float = 5.0  # a slower takeover fails the drill
    outage_s: float = 60.0  # no acknowledgement at all for longer is "wholly down for long"
    normal_gap_s: float = 0.5  # a shorter gap between acknowledgements is normal pacing
    load_s: float = 360.0  # the load ends by itself after this


@dataclass(frozen=True, slots=True)
class Scenario:
    """One scenario. `fault` is a name of `lab.faults`; its target is the primary site."""

    name: str
    title_ko: str
    title_en: str
    summary_ko: str
    summary_en: str
    fault: str
    bounds: Bounds
    official_bidding_s: int  # from the notice to the deadline: the takeover and the last bids fit in

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


SITE_LOSS = Scenario(
    name="site-loss",
    title_ko="주 센터 전원 상실",
    title_en="Loss of the whole primary site",
    summary_ko="입찰 도중 주 센터의 전원을 모두 끊고, 백업 센터에서 개찰한 뒤 주 센터로 되돌아온다.",
    summary_en="The primary site's power is cut within a tender; it is opened at the backup; then home.",
    fault="power-cut",
    bounds=Bounds(),
    official_bidding_s=40,
)
