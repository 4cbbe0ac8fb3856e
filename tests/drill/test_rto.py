"""Outages and phases, from times alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.drill.rto import (
    Gap,
    Phases,
    Reign,
    RoleSample,
    Takeover,
    disturbance,
    longest_gap,
    outage,
    phases,
    reigns,
    slowest,
    takeover_from,
)

times = st.lists(st.floats(0, 100, allow_nan=False), max_size=40)


def test_the_outage_is_from_the_last_acknowledgement_before_to_the_first_after():
    assert outage([1, 2, 9.9, 33.4, 34, 35], 10, 40) == Gap(9.9, 33.4)


def test_acknowledgements_while_the_fault_begins_to_bite_do_not_end_the_outage():
    assert outage([9.9, 10.05, 10.1, 33.4, 33.5], 10, 40) == Gap(10.1, 33.4)


def test_an_outage_that_nobody_saw_the_end_or_the_beginning_of_is_not_measured():
    assert outage([1, 2], 10, 60) is None
    assert outage([11, 12], 10, 60) is None
    assert outage([1, 70], 10, 60) is None
    assert outage([9.9, 10.05, 10.1], 10, 60) is None
    assert outage([9.9, 33, 34], 10, 90) is None


@given(times, st.floats(0, 100))
def test_an_outage_begins_no_earlier_than_the_last_acknowledgement_before_the_fault(ended, fault_at):
    gap = outage(ended, fault_at, 200)
    before = [at for at in ended if at <= fault_at]
    if gap is not None:
        assert max(before) <= gap.start_at < gap.end_at
        assert not [at for at in ended if gap.start_at < at < gap.end_at]


def test_the_slowest_stream_counts_and_one_unmeasured_stream_leaves_it_unknown():
    assert slowest({"a": Gap(1, 2), "b": Gap(1, 5)}) == Gap(1, 5)
    assert slowest({"a": Gap(1, 2), "b": None}) is None
    assert slowest({}) is None


def test_phases_add_up():
    found = phases(Takeover(0, 21, 21.5, 22.6, 23.4))
    assert found == Phases(21, 0.5, 22.6 - 21.5, 23.4 - 22.6)


@given(st.lists(st.none() | st.floats(0, 60), min_size=4, max_size=4))
def test_no_phase_is_negative_and_whole_phases_add_up_to_the_whole(moments):
    found = phases(Takeover(0.0, *moments))
    values = [found.detect_s, found.decide_s, found.promote_s, found.route_s]
    assert all(value is None or value >= 0 for value in values)
    if None not in moments:
        assert abs(sum(value for value in values if value is not None) - moments[-1]) < 1e-6


def test_a_moment_that_nobody_saw_makes_its_phases_unknown_not_zero():
    assert phases(Takeover(0, None, 21.5, 22.6, 23.4)) == Phases(None, None, 22.6 - 21.5, 23.4 - 22.6)


def test_takeover_from_what_the_probes_saw():
    samples = [
        RoleSample(-1, "dj", "primary", None),
        RoleSample(-1, "wt", "dcs", "dj"),
        RoleSample(5, "wt", "dcs", None),
        RoleSample(6, "wt", "dcs", "dj"),
        RoleSample(21, "wt", "dcs", ""),
        RoleSample(21.2, "wt", "dcs", "gg"),
        RoleSample(21.3, "gg", "standby", None),
        RoleSample(22, "gg", "primary", None),
    ]
    assert takeover_from(samples, 0, frozenset({"gg"}), 23) == Takeover(0, 21, 21.2, 22, 23)


def test_the_successor_of_a_first_loss_does_not_take_over_from_itself():
    samples = [
        RoleSample(-9, "wt", "dcs", "dj1"),
        RoleSample(-1, "wt", "dcs", "dj2"),
        RoleSample(-1, "dj2", "primary", None),
        RoleSample(0.1, "wt", "dcs", "dj2"),
        RoleSample(0.1, "dj2", "primary", None),
        RoleSample(1.0, "wt", "dcs", ""),
        RoleSample(1.1, "wt", "dcs", "gg"),
        RoleSample(1.2, "gg", "primary", None),
    ]
    assert takeover_from(samples, 0, frozenset({"dj2", "gg"}), 2) == Takeover(0, 1.0, 1.1, 1.2, 2)


def test_disturbance_is_the_longest_gap_and_unknown_without_streams():
    steady = [number / 20 for number in range(400)]
    assert disturbance({"a": steady}, 5, 15) == pytest.approx(0.05)
    stalled = [at for at in steady if not 8 < at < 10]
    assert disturbance({"a": steady, "b": stalled}, 5, 15) == pytest.approx(2.0, abs=0.11)
    assert disturbance({}, 5, 15) is None


@given(times)
def test_the_longest_gap_counts_its_ends(ended):
    gap = longest_gap(ended, 10, 90)
    assert 10 <= gap.start_at <= gap.end_at <= 90
    inside = [at for at in ended if 10 < at < 90]
    assert gap.seconds * (len(inside) + 1) >= 80 - 1e-9


def test_reigns_join_what_did_not_change():
    seen = [RoleSample(t, "a", "primary" if t < 3 else "standby", None) for t in range(6)]
    assert reigns(seen, 9) == (Reign("a", "primary", 0, 3), Reign("a", "standby", 3, 9))
