"""What steps of a size would take, by what other steps took."""

from __future__ import annotations

import pytest

from siren_grpc.scheduling.step_cost import StepCost


def test_between_the_sizes_measured_alone_lies_a_line() -> None:
    cost = StepCost({1: 0.010, 16: 0.025})
    assert cost.rows_per_s(1) == pytest.approx(100)
    assert cost.rows_per_s(6) == pytest.approx(6 / 0.015)
    assert cost.rows_per_s(16) == pytest.approx(640)


def test_small_steps_tell_how_much_longer_large_ones_take() -> None:
    cost = StepCost({1: 0.010, 16: 0.025})
    for _ in range(60):
        cost.note(2, 3 * 0.011)
    assert cost.rows_per_s(16) == pytest.approx(640 / 3, rel=0.01)
    for _ in range(60):
        cost.note(4, 0.013)
    assert cost.rows_per_s(16) == pytest.approx(640, rel=0.01), "what it was is forgotten"


def test_one_step_by_luck_quick_or_held_up_says_little() -> None:
    cost = StepCost({1: 0.010, 16: 0.025})
    cost.note(16, 0.001)
    assert cost.rows_per_s(16) < 1.2 * 640
    cost.note(16, 0.050)
    assert cost.rows_per_s(16) > 0.8 * 640


def test_a_batch_that_is_never_larger_and_one_whose_rows_cost_nothing() -> None:
    assert StepCost({1: 0.010}).rows_per_s(1) == pytest.approx(100)
    assert StepCost({1: 0.012, 16: 0.010}).rows_per_s(16) == pytest.approx(16 / 0.012)
