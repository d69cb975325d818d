from __future__ import annotations

import pytest

from siren_grpc.soak.flatness import Series, drift, grown_beyond, growth, not_measured, slope


def test_growth_is_counted_behind_the_warm_up():
    points = [(i, 50.0 if i < 10 else 100.0 + (i >= 90)) for i in range(100)]
    assert growth(points, since=10).percent == pytest.approx(1.0)
    assert growth(points, since=0).percent == pytest.approx(102.0)


def test_a_single_high_reading_is_no_growth():
    points = [(i, 100.0 if i != 99 else 200.0) for i in range(100)]
    assert growth(points, since=0).percent == 0


def test_a_busy_machine_is_no_drift_but_longer_steps_are():
    busy = [(i, 5.0 + 20 * (i > 50 and i % 4 != 0)) for i in range(100)]
    assert drift(busy, since=0).percent == 0
    longer = [(i, figure + (i > 50)) for i, figure in busy]
    assert drift(longer, since=0).percent == pytest.approx(20.0)


def test_a_slope_is_what_each_unit_adds_behind_the_warm_up():
    points = [(i, 900.0 if i < 100 else 1000.0 + 2.5 * i) for i in range(0, 1000, 50)]
    assert slope(points, since=100) == pytest.approx(2.5)
    series = Series()
    for at, figure in points:
        series.note("heap", at, figure)
    assert series.slopes(since=100) == {"heap": pytest.approx(2.5)}


@pytest.mark.parametrize("judge", [growth, drift, slope])
def test_too_little_to_judge(judge):
    assert judge([(0, 1.0), (1, 2.0)], since=1) is None


def test_each_kind_of_figure_is_judged_by_itself():
    series = Series()
    for at in range(20):
        series.note("memory", at, 100.0 + at)
        series.note("step", at, 5.0)
    series.note("once", 0, 1.0)
    percents = series.percents(growth, since=0)
    assert percents == {"memory": pytest.approx(17.91, abs=0.01), "step": 0.0}
    assert grown_beyond(percents, 1.0) == ["memory grew by 17.91 %"]
    assert grown_beyond(percents, 18.0) == []
    assert series.names == ["memory", "step", "once"]
    assert not_measured(series.names, percents) == [
        "the growth of once was not measured: fewer than two audits behind the warm-up"
    ]
