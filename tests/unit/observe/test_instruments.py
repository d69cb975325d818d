from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siren_grpc.observe.instruments import HistogramState, Metric, MetricKind, Tally, add_up

COUNTS = Metric("siren_things_total", MetricKind.COUNTER, "Things.", ("kind",))
TIMES = Metric("siren_time_seconds", MetricKind.HISTOGRAM, "Time.", (), (0.1, 1.0))


def test_an_instrument_is_the_same_whenever_it_is_asked_for() -> None:
    tally = Tally()
    tally.number(COUNTS, "a").value += 2
    tally.number(COUNTS, "a").value += 1
    assert tally.read() == {("siren_things_total", ("a",)): 3}


def test_a_value_on_a_bound_belongs_below_it() -> None:
    tally = Tally()
    for value in (0.05, 0.1, 0.5, 7.0):
        tally.histogram(TIMES).observe(value)
    assert tally.read() == {("siren_time_seconds", ()): HistogramState((2, 1, 1), 7.65)}


def test_what_does_not_fit_the_declaration_is_refused() -> None:
    tally = Tally()
    with pytest.raises(AssertionError, match="labels"):
        tally.number(COUNTS)
    with pytest.raises(AssertionError, match="histogram"):
        tally.number(TIMES)
    with pytest.raises(AssertionError, match="counter"):
        tally.histogram(COUNTS, "a")


@given(st.lists(st.lists(st.floats(0, 2)), max_size=4))
def test_processes_add_up_to_one_that_saw_everything(parts: list[list[float]]) -> None:
    whole, snapshots = Tally(), []
    for values in parts:
        part = Tally()
        for value in values:
            for tally in (part, whole):
                tally.histogram(TIMES).observe(value)
                tally.number(COUNTS, "x").value += 1
        snapshots.append(part.read())
    summed = add_up(snapshots)
    for key, value in whole.read().items():
        found = summed[key]
        if isinstance(value, HistogramState) and isinstance(found, HistogramState):
            assert found.counts == value.counts
            assert found.total == pytest.approx(value.total)
        else:
            assert found == value
