"""RPO by the ring: right when idle, grows in a partition, unknown when it cannot be told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication.lsn.ring import Exposure, LsnRing, Sample


def ring(*samples: tuple[float, int], window_s: float = 100.0) -> LsnRing:
    made = LsnRing(window_s)
    for at_s, lsn in samples:
        made.add(Sample(at_s, lsn))
    return made


def test_nothing_is_known_before_the_first_sample() -> None:
    assert ring().exposure(5, 1.0) is None


def test_idle_and_all_received_is_zero_however_long() -> None:
    assert ring((0.0, 100), (1.0, 100), (2.0, 100)).exposure(100, 90.0) == Exposure(0, 0.0)


def test_it_grows_in_a_partition() -> None:
    made = ring((0.0, 100), (1.0, 150), (2.0, 200))
    assert made.exposure(100, 2.5) == Exposure(100, 1.5)
    assert made.exposure(100, 60.0) == Exposure(100, 59.0)


def test_a_remote_that_is_ahead_of_the_last_sample_lost_nothing() -> None:
    assert ring((0.0, 100)).exposure(120, 1.0) == Exposure(0, 0.0)


def test_older_than_the_ring_is_unknown_with_a_lower_bound() -> None:
    made = ring((0.0, 100), (50.0, 200), (120.0, 300), window_s=100.0)
    assert made.exposure(10, 120.0) == Exposure(290, None, 70.0)


def test_a_new_primary_that_is_behind_takes_the_lost_end_with_it() -> None:
    made = ring((0.0, 100), (1.0, 200), (2.0, 300), (3.0, 150))
    assert len(made) == 2
    assert made.exposure(150, 9.0) == Exposure(0, 0.0)
    assert made.exposure(100, 9.0) == Exposure(50, 6.0)


def test_a_clock_that_went_back_gives_no_negative_age() -> None:
    made = ring((10.0, 100), (11.0, 200), (5.0, 300))
    exposure = made.exposure(100, 5.0)
    assert exposure is not None
    assert (exposure.seconds or 0.0) >= 0.0


def test_it_is_bounded_by_time_and_by_number() -> None:
    made = LsnRing(window_s=10.0, limit=5)
    for second in range(1000):
        made.add(Sample(float(second), second))
    assert len(made) == 5
    made = LsnRing(window_s=10.0)
    for second in range(1000):
        made.add(Sample(float(second), second))
    assert len(made) == 10


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.integers(0, 2000), st.floats(0, 100))
def test_it_is_the_rule_of_the_field_notes(steps: list[int], received: int, later_s: float) -> None:
    """Compared with the rule written out: now minus the first sample above what was received."""
    lsn, samples = 0, []
    for second, step in enumerate(steps):
        lsn += step
        samples.append((float(second), lsn))
    now_s = samples[-1][0] + later_s
    made = ring(*samples, window_s=1e6)
    exposure = made.exposure(received, now_s)
    assert exposure is not None
    above = [at_s for at_s, position in samples if position > received]
    if not above:
        assert exposure == Exposure(0, 0.0)
    elif len(above) == len(samples):
        assert exposure.seconds is None
    else:
        assert exposure.seconds == pytest.approx(now_s - above[0])
    assert exposure.lag_bytes == max(0, lsn - received)
